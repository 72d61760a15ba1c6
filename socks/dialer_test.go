package socks

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// client returns a Dialer that says what the client of the transcript says, over c.
func (tr *transcript) client(c net.Conn) *Dialer {
	return &Dialer{
		Proxy: proxyName, Version: tr.request.Version, Auth: tr.request.Auth,
		Forward: func(context.Context, string, string) (net.Conn, error) { return c, nil },
	}
}

// do asks as the transcript does, in words that the Dialer must replace by its own.
func (tr *transcript) do(ctx context.Context, c net.Conn) (net.Conn, Addr, error) {
	ctx, cancel := patient(ctx)
	defer cancel()
	return tr.client(c).Do(ctx, &Request{
		Version: HTTP, Command: tr.request.Command, Addr: tr.request.Addr,
		Auth: Auth{Method: UserPass, User: "not this", Password: "nor this"},
	})
}

// patient makes an error of a Dialer that would wait for ever. The hour costs no time,
// being one of a bubble.
func patient(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Hour)
}

// mirrored calls f for every transcript of a Dialer.
func mirrored(t *testing.T, f func(t *testing.T, tr *transcript)) {
	count := 0
	for _, tr := range transcripts(t) {
		if tr.dialer != "" {
			count++
			t.Run(tr.clause, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { f(t, tr) }) })
		}
	}
	if count == 0 {
		t.Error("no transcript is for a Dialer")
	}
}

// checkErr compares the error of a Dialer with the transcript's.
func (tr *transcript) checkErr(t *testing.T, err error) (failed bool) {
	t.Helper()
	code, ok := strings.CutPrefix(tr.dialer, "error ")
	if !ok {
		if err != nil {
			t.Fatal(err)
		}
		return false
	}
	want, bad := readStatus(code)
	if bad != nil {
		t.Fatal(bad)
	}
	proxy, status := (*ProxyError)(nil), Status(0)
	if !errors.As(err, &status) || status != want || errors.As(err, &proxy) {
		t.Errorf("error is %v, want status %v", err, want)
	}
	if !strings.Contains(err.Error(), proxyName) || !strings.Contains(err.Error(), tr.request.Target()) {
		t.Errorf("error names not both proxy and target: %v", err)
	}
	if unsupported := want == CommandNotSupported || want == AddressTypeNotSupported; errors.Is(err, errors.ErrUnsupported) != unsupported {
		t.Errorf("error matches ErrUnsupported: %v", !unsupported)
	}
	return true
}

func TestDialerTranscripts(t *testing.T) {
	mirrored(t, func(t *testing.T, tr *transcript) {
		for _, slow := range []bool{false, true} {
			p := &peer{after: tr.after, early: tr.early, stop: -1, slow: slow}
			if strings.HasPrefix(tr.dialer, "error") {
				p.early = nil
			}
			pipe, result := p.start(t, tr.turns)
			c, bound, err := tr.do(t.Context(), pipe)
			if !tr.checkErr(t, err) {
				if c != pipe {
					t.Fatalf("connection is %T, not the one to the proxy", c)
				}
				if want, err := readAddr(tr.dialer); err != nil || bound != want {
					t.Errorf("bound is %v, want %v (%v)", bound, want, err)
				}
				tr.talk(t, c)
			} else {
				if c != nil || bound != (Addr{}) {
					t.Errorf("got %v, %v beside the error", c, bound)
				}
				checkClosed(t, pipe)
			}
			if err := <-result; err != nil {
				t.Error(err)
			}
		}
	})
}

// talk goes on where the handshake ended: nothing of what follows the reply is missing.
func (tr *transcript) talk(t *testing.T, c net.Conn) {
	t.Helper()
	got := make([]byte, len(tr.after))
	if n, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, tr.after) {
		t.Errorf("behind the reply: got %q, %v, want %q", got[:n], err, tr.after)
	}
	if _, err := c.Write(tr.early); err != nil {
		t.Error(err)
	}
	c.Close()
}

// ask asks as the transcript does, by way of the method that is meant for it.
func (tr *transcript) ask(ctx context.Context, d *Dialer) (got, want any, c net.Conn, err error) {
	ctx, cancel := patient(ctx)
	defer cancel()
	answer, _ := readAddr(tr.dialer)
	switch a := tr.request.Addr; tr.request.Command {
	case Connect:
		c, err = d.DialContext(ctx, "tcp", a.String())
	case Resolve:
		want = answer.IP
		got, err = d.Resolve(ctx, a.Host())
	case ResolvePTR:
		want = answer.Name
		got, err = d.ResolvePTR(ctx, a.IP)
	}
	return got, want, c, err
}

// TestDialerMethods asks by way of DialContext, Resolve and ResolvePTR.
func TestDialerMethods(t *testing.T) {
	mirrored(t, func(t *testing.T, tr *transcript) {
		if c := tr.request.Command; c == Bind || c == Associate {
			return // there is only Do
		}
		p := &peer{after: tr.after, early: tr.early, stop: -1}
		if strings.HasPrefix(tr.dialer, "error") {
			p.early = nil
		}
		pipe, result := p.start(t, tr.turns)
		got, want, c, err := tr.ask(t.Context(), tr.client(pipe))
		if !tr.checkErr(t, err) {
			if got != want {
				t.Errorf("got %v, want %v", got, want)
			}
			if c != nil {
				tr.talk(t, c)
			}
		}
		if c == nil {
			checkClosed(t, pipe)
		}
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}

// TestDialerHangUp has a proxy that hangs up after each of its bytes. Once it has sent the
// code of a failure, that is the answer.
func TestDialerHangUp(t *testing.T) {
	mirrored(t, func(t *testing.T, tr *transcript) {
		for n := range tr.sent(false) {
			p := &peer{stop: n, hangUp: true}
			pipe, result := p.start(t, tr.turns)
			c, bound, err := tr.do(t.Context(), pipe)
			proxy := (*ProxyError)(nil)
			switch {
			case tr.failsBy(n):
				tr.checkErr(t, err)
			case !errors.As(err, &proxy) || proxy.Proxy != proxyName || !errors.Is(err, io.ErrUnexpectedEOF):
				t.Errorf("after %d bytes: %v", n, err)
			case proxy.Asked != (n >= tr.sentBeforeReply()):
				t.Errorf("after %d bytes: Asked is %t", n, proxy.Asked)
			}
			if c != nil || bound != (Addr{}) {
				t.Errorf("after %d bytes: %v, %v beside the error", n, c, bound)
			}
			checkClosed(t, pipe)
			if err := <-result; err != nil {
				t.Error(err)
			}
		}
	})
}

// sentBeforeReply is how many bytes the proxy sends before its reply.
func (tr *transcript) sentBeforeReply() int {
	return len(tr.sent(false)) - len(tr.turns[len(tr.turns)-1].bytes)
}

// failsBy reports whether the code of a failure is among the first n bytes of the proxy.
func (tr *transcript) failsBy(n int) bool {
	return strings.HasPrefix(tr.dialer, "error") && n >= tr.sentBeforeReply()+2
}

// TestDialerSilence has a proxy that falls silent after each of its bytes. Greeting and
// login have ten seconds, the rest of a failure has one, and a reply has no limit but that
// of the context.
func TestDialerSilence(t *testing.T) {
	mirrored(t, func(t *testing.T, tr *transcript) {
		for _, noDeadlines := range []bool{false, true} {
			for n := range tr.sent(false) {
				pipe, result := (&peer{stop: n}).start(t, tr.turns)
				conn := net.Conn(pipe)
				if noDeadlines {
					conn = deaf{pipe}
				}
				began := time.Now()
				c, _, err := tr.do(t.Context(), conn)
				took := time.Since(began)
				limit, proxy := time.Hour, (*ProxyError)(nil)
				switch {
				case tr.failsBy(n):
					limit = restTimeout
					tr.checkErr(t, err)
				case n < tr.sentBeforeReply():
					limit = greetTimeout
					if !errors.As(err, &proxy) || proxy.Asked || !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("after %d bytes: %v", n, err)
					}
				default:
					if errors.As(err, &proxy) || !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("after %d bytes: %v", n, err)
					}
				}
				// What the peer plays takes a millisecond a message.
				if c != nil || took < limit || took > limit+time.Second/10 {
					t.Errorf("after %d bytes: %v, %v after %v, want %v", n, c, err, took, limit)
				}
				checkClosed(t, pipe)
				if err := <-result; err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// TestDialerDeadlineInGreeting has a context that ends before greeting and login have had
// their time. Its deadline makes that the proxy's failure; that nobody waits does not.
func TestDialerDeadlineInGreeting(t *testing.T) {
	tr := find(t, "RFC1928-s3/both-methods")
	for _, ending := range endings {
		t.Run(ending.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for n := range tr.sent(false) {
					ctx, cancel := ending.begin(t.Context())
					pipe, result := (&peer{stop: n}).start(t, tr.turns)
					_, _, err := tr.do(ctx, pipe)
					cancel()
					proxy := (*ProxyError)(nil)
					want := n < tr.sentBeforeReply() && strings.HasPrefix(ending.name, "deadline")
					if errors.As(err, &proxy) != want {
						t.Errorf("after %d bytes: %v", n, err)
					}
					<-result
				}
			})
		})
	}
}

// TestDialerBadProxy has proxies that break the protocol or refuse the login. None of
// that says anything about the target, or about what the proxy can do.
func TestDialerBadProxy(t *testing.T) {
	password := Auth{Method: UserPass, User: "foo", Password: "secret"}
	const greeting, both = "c 05 01 00", "c 05 02 00 02"
	const login = `c 01 03 "foo" 06 "secret"`
	const request5, request4 = "c 05 01 00 01 c0 00 02 01 00 50", "c 04 01 00 50 c0 00 02 01 00"
	for _, test := range []struct {
		clause  string
		version Version
		auth    Auth
		turns   []string
		login   bool // refused, else a broken protocol
	}{
		{"RFC1928-s3/version-4", V5, Auth{}, []string{greeting, "04 00"}, false},
		{"RFC1928-s3/socks4-reply", V5, Auth{}, []string{greeting, "00 5b 00*6"}, false},
		{"RFC1928-s3/http", V5, Auth{}, []string{greeting, `"HTTP/1.1 400 Bad Request\r\n\r\n"`}, false},
		{"RFC1928-s3/none-acceptable", V5, Auth{}, []string{greeting, "05 ff"}, true},
		{"RFC1928-s3/none-acceptable-of-both", V5, password, []string{both, "05 ff"}, true},
		{"RFC1928-s3/password-was-not-offered", V5, Auth{}, []string{greeting, "05 02"}, true},
		{"RFC1928-s3/gssapi-was-not-offered", V5, password, []string{both, "05 01"}, true},
		{"RFC1929-s2/refused", V5, password, []string{both, "05 02", login, "01 01"}, true},
		{"RFC1929-s2/refused-without-a-method-named", V5, Auth{User: "foo", Password: "secret"}, []string{both, "05 02", login, "01 01"}, true},
		{"RFC1929-s2/refused-with-a-user-alone", V5, Auth{User: "foo"}, []string{both, "05 02", `c 01 03 "foo" 00`, "01 01"}, true},
		{"RFC1929-s2/refused-with-ff", V5, password, []string{both, "05 02", login, "01 ff"}, true},
		{"RFC1929-s2/version-5", V5, password, []string{both, "05 02", login, "05 00"}, false},
		{"tor-p351/socks5-reply", V5, password, []string{both, "05 02", login, "05 01 00 01 00*6"}, false},
		{"RFC1928-s6/version-4", V5, Auth{}, []string{greeting, "05 00", request5, "04 00 00 01 00*6"}, false},
		{"RFC1928-s6/atyp-8", V5, Auth{}, []string{greeting, "05 00", request5, "05 00 00 08 00*6"}, false},
		{"RFC1928-s6/failure-with-atyp-8", V5, Auth{}, []string{greeting, "05 00", request5, "05 05 00 08 00*6"}, false},
		{"RFC1928-s6/succeeded-with-atyp-0", V5, Auth{}, []string{greeting, "05 00", request5, "05 00 00 00 00*6"}, false},
		{"SOCKS4/socks5-reply", V4, Auth{}, []string{request4, "05 00 00 01 00*6"}, false},
		{"SOCKS4/first-byte-1", V4, Auth{}, []string{request4, "01 5a 00*6"}, false},
		{"SOCKS4/http", V4, Auth{}, []string{request4, `"HTTP/1.1 400 Bad Request\r\n\r\n"`}, false},
	} {
		t.Run(test.clause, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var turns []turn
				for _, line := range test.turns {
					said, client := strings.CutPrefix(line, "c ")
					turns = append(turns, turn{client, mustWire(t, said)})
				}
				tr := &transcript{request: &Request{Version: test.version, Command: Connect, Addr: Addr{IP: ip4, Port: 80}, Auth: test.auth}}
				pipe, result := (&peer{stop: -1}).start(t, turns)
				c, _, err := tr.do(t.Context(), pipe)
				proxy, format := (*ProxyError)(nil), (*FormatError)(nil)
				if c != nil || !errors.As(err, &proxy) || proxy.Proxy != proxyName {
					t.Fatalf("got %v, %v", c, err)
				}
				if errors.Is(err, ErrAuth) != test.login || errors.As(err, &format) == test.login {
					t.Errorf("got %v", err)
				}
				if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("error matches too much: %v", err)
				}
				if strings.Contains(err.Error(), "secret") {
					t.Errorf("error has the password: %v", err)
				}
				checkClosed(t, pipe)
				<-result // what the proxy could not say any more does not matter
			})
		})
	}
}

// TestDialerBadAnswer has answers to RESOLVE and RESOLVE_PTR that answer something else.
func TestDialerBadAnswer(t *testing.T) {
	for _, test := range []struct {
		clause, request, reply string
		ask                    func(context.Context, *Dialer) (any, error)
	}{
		{
			"tor-s2/name-for-resolve", `05 f0 00 03 01 "a" 00 00`, `05 00 00 03 01 "b" 00 00`,
			func(ctx context.Context, d *Dialer) (any, error) { return d.Resolve(ctx, "a") },
		},
		{
			"tor-s2/address-for-resolve-ptr", "05 f1 00 01 c0 00 02 01 00 00", "05 00 00 01 c0 00 02 01 00 00",
			func(ctx context.Context, d *Dialer) (any, error) { return d.ResolvePTR(ctx, ip4) },
		},
		{
			"tor-s2/empty-name-for-resolve-ptr", "05 f1 00 01 c0 00 02 01 00 00", "05 00 00 03 00 00 00",
			func(ctx context.Context, d *Dialer) (any, error) { return d.ResolvePTR(ctx, ip4) },
		},
	} {
		t.Run(test.clause, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pipe, result := (&peer{stop: -1}).start(t, []turn{
					{true, mustWire(t, "05 01 00")},
					{false, mustWire(t, "05 00")},
					{true, mustWire(t, test.request)},
					{false, mustWire(t, test.reply)},
				})
				ctx, cancel := patient(t.Context())
				defer cancel()
				got, err := test.ask(ctx, (&transcript{request: &Request{Version: V5}}).client(pipe))
				if proxy := (*ProxyError)(nil); !errors.As(err, &proxy) || proxy.Proxy != proxyName {
					t.Errorf("got %v, %v", got, err)
				}
				checkClosed(t, pipe)
				if err := <-result; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestDialerRefuses has what cannot be said: no connection is made for it.
func TestDialerRefuses(t *testing.T) {
	long, ctx := strings.Repeat("x", 256), t.Context()
	do := func(r Request) func(*Dialer) error {
		return func(d *Dialer) error { _, _, err := d.Do(ctx, &r); return err }
	}
	dial := func(network, address string) func(*Dialer) error {
		return func(d *Dialer) error { _, err := d.DialContext(ctx, network, address); return err }
	}
	resolve := func(name string) func(*Dialer) error {
		return func(d *Dialer) error { _, err := d.Resolve(ctx, name); return err }
	}
	web := Addr{IP: ip4, Port: 80}
	for _, test := range []struct {
		clause  string
		d       Dialer
		ask     func(*Dialer) error
		refusal error // that it matches
	}{
		{"names/nul", Dialer{}, do(Request{Command: Connect, Addr: Addr{Name: "a\x00b", Port: 80}}), GeneralFailure},
		{"names/256-bytes", Dialer{}, do(Request{Command: Connect, Addr: Addr{Name: long, Port: 80}}), GeneralFailure},
		{"names/none", Dialer{}, do(Request{Command: Connect}), GeneralFailure},
		{"names/nul-by-DialContext", Dialer{}, dial("tcp", "a\x00b:80"), GeneralFailure},
		{"names/256-bytes-by-DialContext", Dialer{}, dial("tcp", long+":80"), GeneralFailure},
		{"names/empty-by-DialContext", Dialer{}, dial("tcp", ":80"), GeneralFailure},
		{"names/nul-by-Resolve", Dialer{}, resolve("a\x00b"), GeneralFailure},
		{"names/256-bytes-by-Resolve", Dialer{}, resolve(long), GeneralFailure},
		{"names/empty-by-Resolve", Dialer{}, resolve(""), GeneralFailure},
		{"net/port", Dialer{}, dial("tcp", "www.example"), nil},
		{"net/udp", Dialer{}, dial("udp", "192.0.2.1:53"), net.UnknownNetworkError("udp")},
		{"net/unix", Dialer{}, dial("unix", "/a:80"), net.UnknownNetworkError("unix")},
		{"SOCKS4A/nul", Dialer{Version: V4}, do(Request{Command: Connect, Addr: Addr{Name: "a\x00b", Port: 80}}), GeneralFailure},
		{"SOCKS4A/256-bytes", Dialer{Version: V4}, do(Request{Command: Connect, Addr: Addr{Name: long, Port: 80}}), GeneralFailure},
		{"SOCKS4/ipv6", Dialer{Version: V4}, dial("tcp", "[::1]:80"), errors.ErrUnsupported},
		{"SOCKS4/user-with-nul", Dialer{Version: V4, Auth: Auth{User: "a\x00b"}}, do(Request{Command: Connect, Addr: web}), GeneralFailure},
		{"SOCKS4/user-of-513-bytes", Dialer{Version: V4, Auth: Auth{User: strings.Repeat("x", 513)}}, do(Request{Command: Connect, Addr: web}), GeneralFailure},
		{"SOCKS4/udp-associate", Dialer{Version: V4}, do(Request{Command: Associate, Addr: web}), errors.ErrUnsupported},
		{"tor-s2/resolve-ptr-in-socks4", Dialer{Version: V4}, func(d *Dialer) error { _, err := d.ResolvePTR(ctx, ip4); return err }, errors.ErrUnsupported},
		{"tor-s2/resolve-ptr-of-nothing", Dialer{}, func(d *Dialer) error { _, err := d.ResolvePTR(ctx, netip.Addr{}); return err }, GeneralFailure},
		{"RFC1929-s2/user-of-256-bytes", Dialer{Auth: Auth{Method: UserPass, User: long}}, do(Request{Command: Connect, Addr: web}), GeneralFailure},
		{"RFC1929-s2/password-of-256-bytes", Dialer{Auth: Auth{Method: UserPass, Password: long}}, do(Request{Command: Connect, Addr: web}), GeneralFailure},
	} {
		t.Run(test.clause, func(t *testing.T) {
			d := test.d
			d.Proxy = proxyName
			d.Forward = func(context.Context, string, string) (net.Conn, error) {
				t.Error("a connection is made")
				return nil, errors.New("no network here")
			}
			err := test.ask(&d)
			if err == nil || test.refusal != nil && !errors.Is(err, test.refusal) {
				t.Errorf("got %v, want %v", err, test.refusal)
			}
			if proxy := (*ProxyError)(nil); errors.As(err, &proxy) {
				t.Errorf("it is not the proxy's failure: %v", err)
			}
		})
	}
}
