package probe

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// kind is what a target does with who connects to it.
type kind string

const (
	echoes  kind = "echo"     // sends all back
	silent  kind = "silent"   // reads, and says nothing
	greets  kind = "greeter"  // says hello first, then as silent
	resets  kind = "reset"    // resets the connection at the first byte
	closes  kind = "closer"   // says hello, ends its side, and still reads
	counts  kind = "counter"  // reads up to the end, then sends as many bytes back
	departs kind = "departer" // says hello and hangs up
	refuses kind = "refused"  // a port on which nobody listens
	packets kind = "packets"  // UDP: sends every packet back
)

// hello is what a target says that speaks first.
const hello = "hello from hosier probe\n"

// sighting is what a target saw.
type sighting struct {
	Conns int              // connections, or UDP packets
	Bytes int              // that came, of all of them
	Data  []byte           // the first of them
	Ends  int              // connections whose other side ended
	Peers []netip.AddrPort // who connected
}

const (
	maxSeen     = 64 << 10        // bytes that a target remembers
	maxConns    = 64              // connections of one target
	targetLimit = 2 * time.Minute // how long one connection to a target may last
)

// target is one open target, for one exchange.
type target struct {
	addr  netip.AddrPort
	seen  func() (sighting, error)
	close func()
}

// targets is the far side.
type targets interface {
	open(k kind, v6 bool) (*target, error)
	host(v6 bool) netip.Addr // where targets are; invalid if there is none of that family
	close()
}

// localTargets are targets of this process.
type localTargets struct{ v4, v6 netip.Addr }

func newLocalTargets(host netip.Addr) *localTargets {
	t := &localTargets{v4: host}
	if host.Is6() {
		return &localTargets{v6: host}
	}
	if l, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		l.Close()
		t.v6 = netip.IPv6Loopback()
	}
	return t
}

func (l *localTargets) close() {}

func (l *localTargets) host(v6 bool) netip.Addr {
	if v6 {
		return l.v6
	}
	return l.v4
}

func (l *localTargets) open(k kind, v6 bool) (*target, error) {
	ip := l.host(v6)
	if !ip.IsValid() {
		return nil, errors.New("this host has no address of that family")
	}
	w, err := openWitness(k, ip)
	if err != nil {
		return nil, err
	}
	return &target{addr: w.addr, seen: func() (sighting, error) { return w.sighting(), nil }, close: w.close}, nil
}

// witness is one listener and what it saw.
type witness struct {
	kind   kind
	addr   netip.AddrPort
	l      net.Listener
	packet net.PacketConn
	done   sync.WaitGroup

	mu    sync.Mutex
	saw   sighting
	conns map[net.Conn]struct{}
	shut  bool
}

func openWitness(k kind, ip netip.Addr) (*witness, error) {
	w := &witness{kind: k, conns: make(map[net.Conn]struct{})}
	at := netip.AddrPortFrom(ip, 0).String()
	var err error
	switch k {
	case packets:
		if w.packet, err = net.ListenPacket("udp", at); err != nil {
			return nil, err
		}
		w.addr = netip.MustParseAddrPort(w.packet.LocalAddr().String())
		w.done.Add(1)
		go w.servePackets()
		return w, nil
	case echoes, silent, greets, resets, closes, counts, departs, refuses:
	default:
		return nil, fmt.Errorf("there is no target of kind %q", k)
	}
	if w.l, err = net.Listen("tcp", at); err != nil {
		return nil, err
	}
	w.addr = netip.MustParseAddrPort(w.l.Addr().String())
	if k == refuses {
		return w, w.vacate(ip)
	}
	w.done.Add(1)
	go w.serve()
	return w, nil
}

// vacate makes the address one that refuses: the near end of a connection, on which
// nobody listens and which nobody else can get meanwhile.
func (w *witness) vacate(ip netip.Addr) error {
	c, err := net.Dial("tcp", w.addr.String())
	if err != nil {
		w.l.Close()
		return err
	}
	far, err := w.l.Accept()
	if err != nil {
		c.Close()
		w.l.Close()
		return err
	}
	w.addr = netip.AddrPortFrom(ip, uint16(c.LocalAddr().(*net.TCPAddr).Port))
	w.conns[c], w.conns[far] = struct{}{}, struct{}{}
	return nil
}

func (w *witness) sighting() sighting {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.saw
	s.Data = append([]byte(nil), s.Data...)
	s.Peers = append([]netip.AddrPort(nil), s.Peers...)
	return s
}

func (w *witness) close() {
	if w.l != nil {
		w.l.Close()
	}
	if w.packet != nil {
		w.packet.Close()
	}
	w.mu.Lock()
	w.shut = true
	for c := range w.conns {
		c.Close()
	}
	w.mu.Unlock()
	w.done.Wait()
}

func (w *witness) serve() {
	defer w.done.Done()
	for {
		c, err := w.l.Accept()
		if err != nil {
			return
		}
		w.mu.Lock()
		full := w.shut || len(w.conns) >= maxConns
		w.saw.Conns++
		if ap, err := netip.ParseAddrPort(c.RemoteAddr().String()); err == nil && len(w.saw.Peers) < maxConns {
			w.saw.Peers = append(w.saw.Peers, ap)
		}
		if !full {
			w.conns[c] = struct{}{}
			w.done.Add(1)
		}
		w.mu.Unlock()
		if full {
			c.Close()
			continue
		}
		go w.serveConn(c.(*net.TCPConn))
	}
}

func (w *witness) serveConn(c *net.TCPConn) {
	defer w.done.Done()
	defer func() {
		c.Close()
		w.mu.Lock()
		delete(w.conns, c)
		w.mu.Unlock()
	}()
	c.SetDeadline(time.Now().Add(targetLimit))
	switch w.kind {
	case greets, closes, departs:
		io.WriteString(c, hello)
	}
	switch w.kind {
	case departs:
		return
	case closes:
		c.CloseWrite()
	}
	n := w.read(c)
	if w.kind == counts {
		c.Write(noise(n))
	}
	c.CloseWrite()
}

// read takes what comes, up to its end, and returns how much that was.
func (w *witness) read(c *net.TCPConn) (total int) {
	buf := make([]byte, 32<<10)
	for {
		n, err := c.Read(buf)
		w.mu.Lock()
		w.saw.Bytes += n
		w.saw.Data = append(w.saw.Data, buf[:min(n, maxSeen-len(w.saw.Data))]...)
		if err != nil {
			w.saw.Ends++
		}
		w.mu.Unlock()
		if total += n; err != nil {
			return min(total, maxTaken/2)
		}
		switch w.kind {
		case echoes:
			if _, err := c.Write(buf[:n]); err != nil {
				return total
			}
		case resets:
			c.SetLinger(0)
			c.Close()
			return total
		}
	}
}

func (w *witness) servePackets() {
	defer w.done.Done()
	buf := make([]byte, 64<<10)
	for {
		n, from, err := w.packet.ReadFrom(buf)
		if err != nil {
			return
		}
		w.mu.Lock()
		w.saw.Conns++
		w.saw.Bytes += n
		w.saw.Data = append(w.saw.Data, buf[:min(n, maxSeen-len(w.saw.Data))]...)
		w.mu.Unlock()
		w.packet.WriteTo(buf[:n], from)
	}
}
