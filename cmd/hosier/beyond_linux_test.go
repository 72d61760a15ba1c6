package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"hosier/internal/debiantest"
	"hosier/internal/sockstest"
	"hosier/internal/tcptest"
	"hosier/socks"
)

// client is a SOCKS5 client with an address of its own.
type client struct {
	proxy string
	from  string // its IP
}

// ask sends one request and returns the reply code.
func (c client) ask(tb testing.TB, command socks.Command, target string) socks.Status {
	tb.Helper()
	conn, status := c.connect(tb, command, target)
	if conn != nil {
		conn.Close()
	}
	return status
}

func (c client) connect(tb testing.TB, command socks.Command, target string) (net.Conn, socks.Status) {
	tb.Helper()
	addr, err := socks.ParseAddr(target)
	if err != nil {
		tb.Fatal(err)
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(c.from)}}
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	conn, _, err := (&socks.Dialer{Proxy: c.proxy, Forward: d.DialContext}).Do(ctx, &socks.Request{Command: command, Addr: addr})
	status := socks.Succeeded
	if err != nil && !errors.As(err, &status) {
		tb.Fatalf("%v %s: %v", command, target, err)
	}
	return conn, status
}

// reachable replaces the host of a listener on every address by one that leads to it.
func reachable(address, host string) string {
	_, port, _ := net.SplitHostPort(address)
	return net.JoinHostPort(host, port)
}

// TestBeyondLoopback is about a listener that other hosts can reach. The client here has an
// address of loopback: what counts is the listener that it came in by.
func TestBeyondLoopback(t *testing.T) {
	s := newSite(t)
	var reached atomic.Int32
	web := tcptest.Listen(t, func(net.Conn) { reached.Add(1) })
	_, port, _ := net.SplitHostPort(web)
	targets := append(notPublic(s, port), ownAddresses(t, port)...)
	h := s.start(t, "--listen", "0.0.0.0:0", "--listen", "127.0.0.1:0", "--allow-client", "127.0.0.1/32")
	outside := client{reachable(h.addr(), "127.0.0.1"), "127.0.0.1"}
	for _, target := range targets {
		t.Run(target, func(t *testing.T) {
			if got := outside.ask(t, socks.Connect, target); got != socks.NotAllowed {
				t.Errorf("CONNECT: %v, want %v", got, socks.NotAllowed)
			}
			host, _, _ := net.SplitHostPort(target)
			if net.ParseIP(host) == nil {
				if got := outside.ask(t, socks.Resolve, host+":0"); got != socks.NotAllowed {
					t.Errorf("RESOLVE: %v, want %v", got, socks.NotAllowed)
				}
			}
		})
	}
	if got := outside.ask(t, socks.ResolvePTR, "10.1.2.3:0"); got != socks.NotAllowed {
		t.Errorf("RESOLVE_PTR: %v, want %v", got, socks.NotAllowed)
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d connections reached the server on loopback", n)
	}
	inside := client{h.addrs[1], "127.0.0.1"}
	for _, target := range []string{web, "loop.hosier.test:" + port} {
		if got := inside.ask(t, socks.Connect, target); got != socks.Succeeded {
			t.Errorf("CONNECT %s by the listener on loopback: %v", target, got)
		}
	}
}

// notPublic returns targets that clients from elsewhere must not reach: addresses, and
// names that lead to such, which the site's DNS server then knows.
func notPublic(s *site, port string) []string {
	targets := []string{
		"127.0.0.1:" + port, "0.0.0.0:" + port, "127.8.8.8:" + port, "[::ffff:127.0.0.1]:" + port,
		"10.1.2.3:80", "172.16.1.1:80", "192.168.1.1:80", "100.64.1.1:80",
		"169.254.169.254:80", "169.254.1.1:80", "192.0.0.192:80", "224.0.0.1:80", "255.255.255.255:80",
	}
	names := map[string]string{
		"loop.hosier.test": "127.0.0.1", "mapped.hosier.test": "::ffff:127.0.0.1", "any.hosier.test": "0.0.0.0",
		"private.hosier.test": "10.1.2.3", "two.hosier.test": "10.1.2.3 192.168.1.1", "metadata.hosier.test": "169.254.169.254",
	}
	if hasIPv6() {
		targets = append(targets, "[::1]:"+port, "[::]:"+port, "[64:ff9b::7f00:1]:"+port, "[fd00::1]:80", "[fe80::1]:80", "[fd00:ec2::254]:80")
		names["six.hosier.test"], names["local6.hosier.test"], names["both.hosier.test"] = "::1", "fd00::1", "127.0.0.1 ::1"
	}
	for name, addrs := range names {
		s.dns.Set(name, strings.Fields(addrs)...)
		targets = append(targets, name+":"+port)
	}
	return targets
}

// ownAddresses returns those of this machine that other hosts know, with the port.
func ownAddresses(tb testing.TB, port string) (all []string) {
	tb.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		tb.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			all = append(all, net.JoinHostPort(n.IP.String(), port))
		}
	}
	return all
}

// TestAllowClient is about clients that no --allow-client names: they are refused before
// anything is looked up for them.
func TestAllowClient(t *testing.T) {
	s := newSite(t)
	h := s.start(t, "--listen", "0.0.0.0:0", "--listen", "127.0.0.1:0", "--allow-client", "127.0.0.8/30", "--allow-client", "127.0.0.3")
	proxy := reachable(h.addr(), "127.0.0.1")
	for from, allowed := range map[string]bool{
		"127.0.0.1": false, "127.0.0.2": false, "127.0.0.3": true, "127.0.0.4": false,
		"127.0.0.7": false, "127.0.0.8": true, "127.0.0.11": true, "127.0.0.12": false,
	} {
		t.Run(from, func(t *testing.T) {
			c := client{proxy, from}
			want, asked := socks.NotAllowed, []string(nil)
			if allowed { // and then there is no such name
				want, asked = socks.HostUnreachable, []string{"A " + nowhereName, "AAAA " + nowhereName}
			}
			for _, command := range []socks.Command{socks.Connect, socks.Resolve} {
				if got := c.ask(t, command, nowhereName+":80"); got != want {
					t.Errorf("%v: %v, want %v", command, got, want)
				}
				s.asked(t, asked...)
			}
			if got := (client{h.addrs[1], from}).ask(t, socks.Connect, s.addr); got != socks.Succeeded {
				t.Errorf("CONNECT by the listener on loopback: %v", got)
			}
		})
	}
}

// TestPublicTargets has a network to itself, in which addresses of every kind exist, and another
// one beside it. A client from elsewhere comes to the public ones there, and to none that is
// this host's.
func TestPublicTargets(t *testing.T) {
	enterNewNetwork(t,
		"link set lo up",
		"address add 9.9.9.9/32 dev lo",     // this host's own
		"route add local 9.9.8.0/24 dev lo", // so, too, without being an address of an interface
		"route add local 10.0.0.0/8 dev lo",
		"route add local 169.254.169.254 dev lo",
		"route add local 168.63.129.16 dev lo",
		"link add near type veth peer name far",
		"address add 8.8.4.1/24 dev near",
		"link set near up",
	)
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	where := func(c net.Conn) {
		io.WriteString(c, c.LocalAddr().(*net.TCPAddr).IP.String())
	}
	tcptest.Serve(t, l, where)
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	tcptest.Serve(t, listenBeside(t, "0.0.0.0:"+port, "far", "address add 8.8.4.4/24 dev far", "link set far up"), where)
	dns := sockstest.NewDNS(t)
	dns.Set("public.hosier.test", "8.8.4.4")
	dns.Set("mixed.hosier.test", "10.0.0.1", "8.8.4.4")
	dns.Set("private.hosier.test", "10.0.0.1")
	dns.Set("own.hosier.test", "9.9.8.7")
	h := start(t, "--dns", dns.Addr, "--listen", "0.0.0.0:0", "--listen", "127.0.0.1:0", "--allow-client", "127.0.0.1")
	outside := client{reachable(h.addr(), "127.0.0.1"), "127.0.0.1"}
	inside := client{h.addrs[1], "127.0.0.1"}
	for _, tt := range []struct{ host, outside, inside string }{
		{"8.8.4.4", "8.8.4.4", "8.8.4.4"},
		{"public.hosier.test", "8.8.4.4", "8.8.4.4"},
		{"mixed.hosier.test", "8.8.4.4", "10.0.0.1"},
		{"private.hosier.test", "", "10.0.0.1"},
		{"10.0.0.1", "", "10.0.0.1"},
		{"169.254.169.254", "", "169.254.169.254"},
		{"9.9.9.9", "", "9.9.9.9"},
		{"9.9.8.7", "", "9.9.8.7"},
		{"168.63.129.16", "", "168.63.129.16"},
		{"own.hosier.test", "", "9.9.8.7"},
		{"127.0.0.1", "", "127.0.0.1"},
	} {
		if got := outside.reach(t, net.JoinHostPort(tt.host, port)); got != tt.outside {
			t.Errorf("a client from elsewhere that asks for %s reaches %q, want %q", tt.host, got, tt.outside)
		}
		if got := inside.reach(t, net.JoinHostPort(tt.host, port)); got != tt.inside {
			t.Errorf("a client on loopback that asks for %s reaches %q, want %q", tt.host, got, tt.inside)
		}
	}
}

// reach returns the address that the server says it was reached at, "" if the client is
// refused by a rule.
func (c client) reach(tb testing.TB, target string) string {
	tb.Helper()
	conn, status := c.connect(tb, socks.Connect, target)
	switch {
	case status == socks.NotAllowed:
		return ""
	case status != socks.Succeeded:
		return status.String()
	}
	defer conn.Close()
	text, err := io.ReadAll(conn)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := netip.ParseAddr(string(text)); err != nil {
		tb.Fatalf("the server said %q", text)
	}
	return string(text)
}

// enterNewNetwork puts the goroutine of this test into a network namespace of its own, in
// which the ip program then carries out the commands. The sockets it makes and the
// programs it starts are in there. The system ends the namespace with the last of them.
func enterNewNetwork(t *testing.T, commands ...string) {
	t.Helper()
	ip := debiantest.Program(t, "ip", "iproute2")
	runtime.LockOSThread() // for good: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("this test must be root, to make a network of its own: %v", err)
	}
	for _, command := range commands {
		if out, err := exec.Command(ip, strings.Fields(command)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", command, err, out)
		}
	}
}

// listenBeside listens in another new network, which gets the interface and then carries out the
// commands.
func listenBeside(t *testing.T, address, device string, commands ...string) net.Listener {
	t.Helper()
	ip := debiantest.Program(t, "ip", "iproute2")
	var (
		threads = make(chan int)
		moved   = make(chan struct{})
		opened  = make(chan net.Listener)
	)
	go func() {
		defer close(opened)
		defer close(threads)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		threads <- unix.Gettid()
		<-moved
		for _, command := range commands {
			if out, err := exec.Command(ip, strings.Fields(command)...).CombinedOutput(); err != nil {
				t.Errorf("ip %s: %v: %s", command, err, out)
				return
			}
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Error(err)
			return
		}
		opened <- l
	}()
	if out, err := exec.Command(ip, "link", "set", device, "netns", strconv.Itoa(<-threads)).CombinedOutput(); err != nil {
		t.Errorf("ip link set: %v: %s", err, out)
	}
	close(moved)
	l := <-opened
	if l == nil {
		t.FailNow()
	}
	return l
}
