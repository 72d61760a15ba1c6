package probe_test

import (
	"context"
	"io"
	"net"
	"net/netip"
	"time"

	"hosier/socks"
)

// relayBoth is a right tunnel: half-close survives, and both ends end it.
func relayBoth(client, target *net.TCPConn, early []byte) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := io.Copy(client, target); err != nil {
			client.Close()
		}
		client.CloseWrite()
	}()
	if len(early) > 0 {
		target.Write(early)
	}
	if _, err := io.Copy(target, client); err != nil {
		target.Close()
	}
	target.CloseWrite()
	<-done
}

// bind serves BIND: a first reply with the port, a second with the peer.
func (cv *conv) bind() answer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return answer{status: socks.GeneralFailure}
	}
	bound := socks.Addr{IP: netip.AddrFrom4([4]byte{127, 0, 0, 1}), Port: portOf(l.Addr())}
	return answer{bound: bound, after: func() {
		defer l.Close()
		l.(*net.TCPListener).SetDeadline(time.Now().Add(cv.s.pace * 2 * time.Second))
		peer, err := l.Accept()
		if err != nil {
			return
		}
		defer peer.Close()
		who := socks.AddrFrom(netip.MustParseAddrPort(peer.RemoteAddr().String()))
		if cv.tell(&saying{stage: "second", b: cv.req.AppendReply(nil, socks.Succeeded, who)}) != nil {
			return
		}
		if cv.s.tunnel != nil {
			cv.s.tunnel(cv, peer.(*net.TCPConn), nil)
			return
		}
		relayBoth(cv.c, peer.(*net.TCPConn), nil)
	}}
}

// udpHooks are what mutants change of UDP.
type udpHooks struct {
	pass   func(frag byte, to socks.Addr) bool // which packets to relay; whole ones if nil
	source func(socks.Addr) socks.Addr
	stay   bool // after the TCP connection has ended
	limit  int  // packets after which the TCP connection ends
}

// associate serves UDP ASSOCIATE, on one socket for the client and the targets.
func (cv *conv) associate() answer {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return answer{status: socks.GeneralFailure}
	}
	bound := socks.Addr{IP: netip.AddrFrom4([4]byte{127, 0, 0, 1}), Port: portOf(pc.LocalAddr())}
	return answer{bound: bound, after: func() {
		done := make(chan struct{})
		go func() {
			defer close(done)
			cv.relayPackets(pc)
		}()
		io.Copy(io.Discard, cv.c)
		if cv.s.udp.stay {
			time.AfterFunc(cv.s.pace*3*time.Second, func() { pc.Close() })
		} else {
			pc.Close()
		}
		<-done
	}}
}

func (cv *conv) relayPackets(pc net.PacketConn) {
	hooks := cv.s.udp
	var client net.Addr
	buf := make([]byte, 64<<10)
	for relayed := 0; ; {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		if client == nil {
			client = from
		}
		if from.String() != client.String() {
			src := socks.AddrFrom(netip.MustParseAddrPort(from.String()))
			if hooks.source != nil {
				src = hooks.source(src)
			}
			b := socks.AppendReply5(nil, 0, src)
			copy(b, []byte{0, 0, 0})
			pc.WriteTo(append(b, buf[:n]...), client)
			if relayed++; relayed == hooks.limit {
				cv.c.CloseWrite()
			}
			continue
		}
		cv.passPacket(pc, buf[:n])
	}
}

func (cv *conv) passPacket(pc net.PacketConn, b []byte) {
	_, to, n, err := socks.ParseReply5(append([]byte{5, 0, 0}, b[3:]...))
	if err != nil {
		return
	}
	frag := b[2]
	if pass := cv.s.udp.pass; pass != nil && !pass(frag, to) || pass == nil && frag != 0 {
		return
	}
	if to.Name != "" {
		ip, err := cv.s.out.Resolve(context.Background(), &socks.Request{Version: socks.V4, Addr: to})
		if err != nil {
			return
		}
		to.IP = ip
	}
	pc.WriteTo(b[n:], net.UDPAddrFromAddrPort(netip.AddrPortFrom(to.IP, to.Port)))
}
