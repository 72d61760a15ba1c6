package probe_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hosier/egress"
	"hosier/probe"
	"hosier/resolver"
	"hosier/socks"
)

// script is a server that does everything right, until a mutant changes one of its
// fields. It stands on package socks alone, and not on the proxy.
type script struct {
	addr   string
	out    *egress.Direct
	dns    string
	login  *probe.Login
	serves map[socks.Command]bool // BIND and UDP ASSOCIATE
	idle   time.Duration          // how long a handshake may take
	pace   time.Duration          // how many times as long its other waits are
	rounds chan struct{}          // room for connections

	// What mutants change. Hello may do all that is done with a connection; read sees
	// what came so far; say sees and changes what the server says before a tunnel.
	hello      func(*conv) bool
	read       func(*conv)
	say        func(*saying)
	verify     func(socks.Auth) error
	verifyHTTP func(a socks.Auth) error
	sneak      func(*conv, error) *socks.Request // a request to serve although there was an error
	ask        func(*conv, *socks.Request) answer
	tunnel     func(*conv, *net.TCPConn, []byte)
	udp        udpHooks

	mu    sync.Mutex
	count int
	conns map[net.Conn]struct{}
	stop  chan struct{}
	all   sync.WaitGroup
}

// conv is one conversation.
type conv struct {
	s    *script
	c    *net.TCPConn
	br   *bufio.Reader
	in   []byte // all that was read
	said int    // messages
	req  *socks.Request
	hold bool // do not hang up after the reply
	head string
}

// saying is one message of the server.
type saying struct {
	*conv
	stage  string // method, password, reply or http
	status socks.Status
	err    error
	b      []byte
	hang   bool // say nothing, and stay
	drop   bool // say nothing, and hang up
}

var errDropped = errors.New("dropped by a mutant")

// startScript serves on loopback until the test ends.
func startScript(t *testing.T, s *script) *script {
	t.Helper()
	stop, err := s.start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return s
}

// start serves on loopback until stop.
func (s *script) start() (stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.addr = l.Addr().String()
	names := new(resolver.Resolver)
	if s.dns != "" {
		server, err := resolver.ParseServer(s.dns)
		if err != nil {
			return nil, err
		}
		names.Servers = []resolver.Server{server}
	}
	s.out = &egress.Direct{Resolver: names}
	s.conns, s.stop = make(map[net.Conn]struct{}), make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[c] = struct{}{}
			s.mu.Unlock()
			s.all.Add(1)
			go s.serve(c.(*net.TCPConn))
		}
	}()
	return func() {
		l.Close()
		<-done
		close(s.stop)
		names.Close()
		s.mu.Lock()
		for c := range s.conns {
			c.Close()
		}
		s.mu.Unlock()
		s.all.Wait()
	}, nil
}

// Read is for the bufio.Reader: it shows what comes to the mutant.
func (cv *conv) Read(b []byte) (int, error) {
	n, err := cv.c.Read(b)
	cv.in = append(cv.in, b[:n]...)
	if n > 0 && cv.s.read != nil {
		cv.s.read(cv)
	}
	return n, err
}

func (s *script) serve(c *net.TCPConn) {
	defer s.all.Done()
	defer func() {
		c.Close()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	if s.rounds != nil {
		select {
		case s.rounds <- struct{}{}:
			defer func() { <-s.rounds }()
		case <-s.stop:
			return
		}
	}
	cv := &conv{s: s, c: c}
	cv.br = bufio.NewReaderSize(cv, 8<<10)
	c.SetDeadline(time.Now().Add(s.idle))
	if s.hello != nil && s.hello(cv) {
		return
	}
	r, err := cv.negotiate()
	if err != nil && s.sneak != nil {
		if sneaked := s.sneak(cv, err); sneaked != nil {
			r, err = sneaked, nil
		}
	}
	if r == nil {
		cv.leave()
		return
	}
	cv.answer(r, err)
}

func (cv *conv) negotiate() (*socks.Request, error) {
	first, err := cv.br.Peek(1)
	if err != nil {
		return nil, err
	}
	if first[0] >= 'A' && first[0] <= 'Z' {
		return cv.acceptHTTP()
	}
	return socks.Accept(cv.br, cv, cv.verify)
}

func (cv *conv) verify(a socks.Auth) error {
	switch {
	case cv.s.verify != nil:
		return cv.s.verify(a)
	case cv.s.login == nil || a.Method == socks.UserPass && a.User == cv.s.login.User && a.Password == cv.s.login.Password:
		return nil
	}
	return errors.New("login is wrong")
}

// Write is for Accept, which says the method and then the verdict on the password.
func (cv *conv) Write(b []byte) (int, error) {
	stage := "method"
	if cv.said > 0 {
		stage = "password"
	}
	return len(b), cv.tell(&saying{stage: stage, b: b})
}

// tell says something in the way that the mutant likes.
func (cv *conv) tell(e *saying) error {
	cv.said++
	e.conv = cv
	if cv.s.say != nil {
		e.b = bytes.Clone(e.b)
		cv.s.say(e)
	}
	switch {
	case e.hang:
		cv.hang()
		return errDropped
	case e.drop:
		return errDropped
	}
	_, err := cv.c.Write(e.b)
	return err
}

// hang stays until the test ends.
func (cv *conv) hang() { <-cv.s.stop }

// leave hangs up so that what was said arrives.
func (cv *conv) leave() {
	if cv.hold {
		cv.hang()
		return
	}
	cv.c.CloseWrite()
	cv.c.SetReadDeadline(time.Now().Add(cv.s.pace * time.Second))
	for buf, n := make([]byte, 32<<10), 0; n < 1<<20; {
		m, err := cv.c.Read(buf)
		if n += m; err != nil {
			return
		}
	}
}

// answer is what came of a request.
type answer struct {
	status socks.Status
	bound  socks.Addr
	conn   *net.TCPConn
	after  func() // what follows a success without a tunnel
}

func (cv *conv) answer(r *socks.Request, err error) {
	cv.req = r
	a := answer{status: statusOf(err)}
	if err == nil {
		cv.c.SetDeadline(time.Time{})
		ask := cv.serveRequest
		if cv.s.ask != nil {
			ask = func(r *socks.Request) answer { return cv.s.ask(cv, r) }
		}
		a = ask(r)
	}
	if a.conn != nil {
		defer a.conn.Close()
	}
	e := &saying{stage: "reply", status: a.status, err: err, b: r.AppendReply(nil, a.status, a.bound)}
	if r.Version == socks.HTTP {
		e.stage, e.b = "http", httpAnswer(a.status)
	}
	if cv.tell(e) != nil {
		return
	}
	early, _ := cv.br.Peek(cv.br.Buffered())
	switch {
	case a.status == socks.Succeeded && a.conn != nil && cv.s.tunnel != nil:
		cv.s.tunnel(cv, a.conn, early)
	case a.status == socks.Succeeded && a.conn != nil:
		relayBoth(cv.c, a.conn, early)
	case a.status == socks.Succeeded && a.after != nil:
		a.after()
	default:
		cv.leave()
	}
}

// serveRequest does what is asked.
func (cv *conv) serveRequest(r *socks.Request) (a answer) {
	ctx, cancel := context.WithTimeout(context.Background(), cv.s.pace*1200*time.Millisecond)
	defer cancel()
	var err error
	switch {
	case r.Command == socks.Connect:
		var c net.Conn
		c, a.bound, err = cv.s.out.Dial(ctx, r)
		a.conn, _ = c.(*net.TCPConn)
	case r.Command == socks.Resolve:
		a.bound.IP, err = cv.s.out.Resolve(ctx, r)
	case r.Command == socks.ResolvePTR:
		a.bound.Name, err = cv.s.out.ResolvePTR(ctx, r)
	case r.Command == socks.Bind && cv.s.serves[socks.Bind]:
		return cv.bind()
	case r.Command == socks.Associate && cv.s.serves[socks.Associate]:
		return cv.associate()
	default:
		err = socks.CommandNotSupported
	}
	a.status = statusOf(err)
	return a
}

func statusOf(err error) socks.Status {
	var status socks.Status
	var dns *net.DNSError
	switch {
	case err == nil:
		return socks.Succeeded
	case errors.As(err, &status):
		return status.Ordinary()
	case errors.As(err, &dns):
		return socks.HostUnreachable
	case errors.Is(err, syscall.ECONNREFUSED):
		return socks.ConnectionRefused
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EACCES):
		return socks.NetworkUnreachable
	}
	return socks.GeneralFailure
}

const tunnelHead = "HTTP/1.1 200 OK\r\nVia: 1.1 script\r\nTor-Capabilities:\r\n\r\n"

func httpAnswer(s socks.Status) []byte {
	if s == socks.Succeeded {
		return []byte(tunnelHead)
	}
	return httpFailure(503, "Tor-Request-Failed: end/MISC\r\nTor-Capabilities:\r\n")
}

func httpFailure(code int, headers string) []byte {
	const body = "this is a SOCKS proxy\n"
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\n%sContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		code, http.StatusText(code), headers, len(body), body)
}

// acceptHTTP is the HTTP side. What is not a CONNECT is answered here.
func (cv *conv) acceptHTTP() (*socks.Request, error) {
	cv.head = cv.readHead()
	line, rest, _ := strings.Cut(cv.head, "\r\n")
	part := strings.Split(line, " ")
	whole := strings.HasSuffix(cv.head, "\r\n\r\n")
	isHTTP := len(part) == 3 && strings.HasPrefix(part[2], "HTTP/")
	var b []byte
	switch {
	case strings.Contains(rest, "Sec-Fetch-Site: cross-site"):
	case part[0] == "CONNECT" && whole && isHTTP:
		return cv.acceptConnect(part[1], rest)
	case part[0] == "CONNECT":
		b = httpFailure(431, "")
	case part[0] == "OPTIONS":
		b = []byte("HTTP/1.1 200 OK\r\nAllow: CONNECT, OPTIONS\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	case part[0] == "HEAD":
		b, _, _ = bytes.Cut(httpFailure(501, ""), []byte("\r\n\r\n"))
		b = append(b, "\r\n\r\n"...)
	case isHTTP:
		b = httpFailure(501, "")
	}
	return nil, cv.tell(&saying{stage: "http", status: socks.GeneralFailure, b: b})
}

// readHead reads up to the end of the head. For one that is not a CONNECT it waits no
// longer than a moment.
func (cv *conv) readHead() string {
	for n := 1; ; n = cv.br.Buffered() + 1 {
		b, err := cv.br.Peek(n)
		if b[0] != 'C' && n == 1 {
			cv.c.SetReadDeadline(time.Now().Add(cv.s.pace * 200 * time.Millisecond))
		}
		b, _ = cv.br.Peek(cv.br.Buffered())
		if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
			head := string(b[:i+4])
			cv.br.Discard(i + 4)
			return head
		}
		if err != nil {
			return string(b)
		}
	}
}

func (cv *conv) acceptConnect(target, headers string) (*socks.Request, error) {
	r := &socks.Request{Version: socks.HTTP, Command: socks.Connect}
	verify := cv.verify
	if cv.s.verifyHTTP != nil {
		verify = cv.s.verifyHTTP
	}
	if err := verify(basicAuth(headers)); err != nil {
		cv.tell(&saying{stage: "http", b: httpFailure(407, "Proxy-Authenticate: Basic realm=\"script\"\r\n"), err: err})
		return nil, err
	}
	var err error
	if r.Addr, err = socks.ParseAddr(target); err == nil {
		err = r.Validate()
	}
	if err == nil && strings.Contains(headers, "Tor-RPC-Target") {
		err = socks.CommandNotSupported
	}
	return r, err
}

func basicAuth(headers string) (a socks.Auth) {
	_, proof, ok := strings.Cut(headers, "Proxy-Authorization: Basic ")
	if !ok {
		return a
	}
	proof, _, _ = strings.Cut(proof, "\r\n")
	pair, _ := base64.StdEncoding.DecodeString(proof)
	a.Method = socks.UserPass
	a.User, a.Password, _ = strings.Cut(string(pair), ":")
	return a
}

func portOf(a net.Addr) uint16 {
	_, p, _ := net.SplitHostPort(a.String())
	n, _ := strconv.ParseUint(p, 10, 16)
	return uint16(n)
}
