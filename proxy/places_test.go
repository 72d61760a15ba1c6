package proxy_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"hosier/internal/sockstest"
	"hosier/proxy"
	"hosier/socks"
)

// clients has the connections that begin be those of whom it is set to.
type clients struct {
	now atomic.Pointer[netip.AddrPort]
}

func (c *clients) are(address string) {
	ap := netip.AddrPortFrom(netip.MustParseAddr(address), 4321)
	c.now.Store(&ap)
}

func (c *clients) identify(_ context.Context, ses *proxy.Session, _ net.Conn) error {
	ses.Client = *c.now.Load()
	return nil
}

// await waits until what is true that others bring about.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not in a minute", what)
		}
	}
}

// Those who are refused and say nothing keep no place, and only a few are kept to be told so.
func TestRefusedKeepNoPlace(t *testing.T) {
	const most, silent = 20, 100
	w := sockstest.NewWorld(t)
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %v", secure), func(t *testing.T) {
			var who clients
			bad := netip.MustParseAddr("192.0.2.1")
			s := &proxy.Server{MaxConns: most}
			s.Policy.Identify = who.identify
			s.Policy.Admit = func(ses *proxy.Session) error {
				if ses.Client.Addr() == bad {
					return proxy.ErrLimit
				}
				return nil
			}
			if secure {
				s.Policy.Prepare = func(ctx context.Context, ses *proxy.Session, c net.Conn) (net.Conn, error) {
					if ses.Client.Addr() == bad {
						t.Error("a handshake was begun with one who is refused")
					}
					secure := tls.Server(c, serverTLS(t))
					return secure, secure.HandshakeContext(ctx)
				}
			}
			address := sockstest.Serve(t, s, w.Direct())
			who.are(bad.String())
			ended := make(chan struct{}, silent)
			for range silent {
				c := connect(t, address)
				go func() {
					io.Copy(io.Discard, c)
					ended <- struct{}{}
				}()
			}
			wait := silent - 32 // the others have some seconds to say what they want
			if secure {
				wait = silent
			}
			for range wait {
				<-ended
			}
			who.are("192.0.2.2")
			for range most / 2 {
				raw := connect(t, address)
				c := net.Conn(raw)
				if secure {
					c = tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
				}
				c.Write(join([]byte{5, 1, 0}, connect5("echo.test", w.Echo)))
				if got := make([]byte, 4); !readIs(c, got, 5, 0, 5, 0) {
					t.Fatalf("another client got % x", got)
				}
			}
		})
	}
}

func readIs(c net.Conn, got []byte, want ...byte) bool {
	_, err := io.ReadFull(c, got)
	return err == nil && string(got) == string(want)
}

// Neither one client, by whatever names, nor one user, from whatever addresses, takes all
// places; and what ended counts no longer.
func TestSharesOfPlaces(t *testing.T) {
	const most, forOne = 64, 60
	w := sockstest.NewWorld(t)
	for name, next := range map[string]func(who *clients, i int) (user string){
		"a client with many users": func(who *clients, i int) string { who.are("192.0.2.1"); return fmt.Sprint(i) },
		"an IPv6 network":          func(who *clients, i int) string { who.are(fmt.Sprintf("2001:db8::%x", i)); return fmt.Sprint(i) },
		"a user with many clients": func(who *clients, i int) string { who.are(fmt.Sprintf("198.51.100.%d", i)); return "ann" },
		"clients that say nothing": func(who *clients, i int) string { who.are("192.0.2.1"); return "" },
	} {
		t.Run(name, func(t *testing.T) {
			var who clients
			s := &proxy.Server{MaxConns: most, Policy: proxy.Policy{
				Identify: who.identify,
				Verify:   func(_ *proxy.Session, a socks.Auth) (string, error) { return a.User, nil },
			}}
			address := sockstest.Serve(t, s, w.Direct())
			login := func(user string) (client, byte) {
				c := connect(t, address)
				c.send(join([]byte{5, 1, 2, 1, byte(len(user))}, []byte(user), []byte{1, 'x'}, connect5("echo.test", w.Echo)))
				c.expect([]byte{5, 2, 1, 0, 5})
				code := make([]byte, 1)
				io.ReadFull(c, code)
				return c, code[0]
			}
			for round := range 2 {
				var held []client
				for i := range forOne {
					user := next(&who, i)
					if user == "" {
						held = append(held, connect(t, address))
						await(t, "the silent one to be there", func() bool { return s.Open() == i+1 })
						continue
					}
					c, code := login(user)
					if code != 0 {
						t.Fatalf("round %d, connection %d of %d got %d", round, i, forOne, code)
					}
					held = append(held, c)
				}
				user := next(&who, forOne)
				if user == "" {
					user = "bob"
				}
				if c, code := login(user); code != 1 {
					t.Errorf("round %d: one more got %d", round, code)
				} else {
					c.Close()
				}
				who.are("203.0.113.9")
				c, code := login("another")
				if code != 0 {
					t.Errorf("round %d: another got %d", round, code)
				}
				for _, c := range append(held, c) {
					c.Close()
				}
				await(t, "all to end", func() bool { return s.Open() == 0 })
				if n := s.Stages(); n != (proxy.Stages{}) {
					t.Errorf("of nothing there are %+v", n)
				}
			}
		})
	}
}

// A connection counts for the user that its client has shown to be at last, and for nobody
// once it has ended.
func TestShareFollowsTheUser(t *testing.T) {
	const most = 32 // of which 2 are the reserve
	w := sockstest.NewWorld(t)
	var who clients
	var users atomic.Pointer[[2]string] // of the peer and of a certificate
	s := &proxy.Server{MaxConns: most, Policy: proxy.Policy{
		Identify: func(ctx context.Context, ses *proxy.Session, c net.Conn) error {
			ses.User = users.Load()[0]
			return who.identify(ctx, ses, c)
		},
		Prepare: func(_ context.Context, ses *proxy.Session, c net.Conn) (net.Conn, error) {
			ses.User = users.Load()[1]
			return c, nil
		},
	}}
	address := sockstest.Serve(t, s, w.Direct())
	served := 0
	serve := func(peer, certificate string) (client, byte) {
		served++
		who.are(fmt.Sprintf("192.0.2.%d", served))
		users.Store(&[2]string{peer, certificate})
		c := connect(t, address)
		c.send(join([]byte{5, 1, 0}, connect5("echo.test", w.Echo)))
		c.expect([]byte{5, 0, 5})
		code := make([]byte, 1)
		io.ReadFull(c, code)
		return c, code[0]
	}
	for range most {
		c, _ := serve("ann", "bob")
		c.Close()
		await(t, "the connection to end", func() bool { return s.Open() == 0 })
	}
	for i := range most - 2 {
		serve(fmt.Sprint(i), fmt.Sprint(i))
	}
	if _, code := serve("ann", "ann"); code != 0 {
		t.Errorf("a user without connections got %d, and none of the last places", code)
	}
}

// Those who are refused when their request is known are answered, and bounded as well.
func TestRefusedUsersAreBounded(t *testing.T) {
	const most, many = 64, 180
	w := sockstest.NewWorld(t)
	var next atomic.Uint32
	s := &proxy.Server{MaxConns: most, Policy: proxy.Policy{
		Identify: func(_ context.Context, ses *proxy.Session, _ net.Conn) error {
			n := next.Add(1)
			ses.Client = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)}), 1)
			return nil
		},
		Verify: func(_ *proxy.Session, a socks.Auth) (string, error) { return a.User, nil },
	}}
	address := sockstest.Serve(t, s, w.Direct())
	var peak atomic.Int64
	codes := make(chan byte, many)
	for range many {
		go func() {
			code := []byte{0xFF}
			defer func() { codes <- code[0] }()
			c := connect(t, address)
			c.send(join([]byte{5, 1, 2, 1, 3}, []byte("ann"), []byte{1, 'x'}, connect5("echo.test", w.Echo)))
			c.expect([]byte{5, 2, 1, 0, 5})
			io.ReadFull(c, code)
			n := int64(s.Open())
			for old := peak.Load(); n > old && !peak.CompareAndSwap(old, n); old = peak.Load() {
			}
		}()
	}
	granted := 0
	for range many {
		switch <-codes {
		case 0:
			granted++
		case 1:
		default:
			t.Error("neither granted nor refused")
		}
	}
	if n := peak.Load(); n > most+32+1 || granted == 0 || granted == many { // each loop may accept one at a time
		t.Errorf("%d were open at once, %d were granted", n, granted)
	}
}

// Connections whose clients are not known yet count for nobody, and cannot be all.
func TestUnidentifiedAreBounded(t *testing.T) {
	const most = 8
	w := sockstest.NewWorld(t)
	closed := make(chan *proxy.Session, 2*most)
	s := &proxy.Server{MaxConns: most, Closed: func(ses *proxy.Session) { closed <- ses }}
	s.Policy.Identify = func(_ context.Context, ses *proxy.Session, c net.Conn) error {
		_, err := io.ReadFull(c, make([]byte, 1))
		return err
	}
	address := sockstest.Serve(t, s, w.Direct())
	var waiting []client
	for range most / 2 {
		waiting = append(waiting, connect(t, address))
	}
	await(t, "those to be there", func() bool { return s.Open() == most/2 })
	connect(t, address).expectEnd()
	if ses := <-closed; !errors.Is(ses.Err, proxy.ErrFull) {
		t.Errorf("one more: %v", ses.Err)
	}
	for range 2 { // each makes room
		c := waiting[0]
		waiting = append(waiting[1:], connect(t, address))
		c.send(join([]byte{'x', 5, 1, 0}, connect5("echo.test", w.Echo)))
		c.expect([]byte{5, 0, 5, 0})
	}
}

// A TLS client of a listener without TLS is known by its first byte.
func TestTLSClient(t *testing.T) {
	closed := make(chan *proxy.Session, 1)
	s := &proxy.Server{Closed: func(ses *proxy.Session) { closed <- ses }}
	c := connect(t, sockstest.Serve(t, s, &sockstest.Egress{}))
	c.send([]byte{0x16})
	if ses := <-closed; !errors.Is(ses.Err, proxy.ErrTLS) {
		t.Errorf("ended with %v", ses.Err)
	}
}
