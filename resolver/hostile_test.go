package resolver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// eventually waits for a condition that another goroutine makes true.
func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !met(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

// Close may come between the making of a question and its start.
func TestCloseBeforeStart(t *testing.T) {
	r, f := fakeResolver(func(question) (records, error) { return records{ttl: time.Minute}, nil })
	x := &exchange{question: question{name: "x.test", typ: A}, limit: askLimit, servers: []*upstream{r.upstreams[r.Servers[0]]}}
	var outcome []error
	x.done = func(_ records, _ *upstream, err error) { outcome = append(outcome, err) }
	x.end(records{}, x.servers[0], net.ErrClosed)
	x.start()
	if len(outcome) != 1 || !errors.Is(outcome[0], net.ErrClosed) || f.asked[x.question] != 0 {
		t.Errorf("outcomes %v, asked %d times", outcome, f.asked[x.question])
	}
}

func TestAskAfterClose(t *testing.T) {
	r, _ := fakeResolver(func(question) (records, error) { return records{addrs: addrsOf("192.0.2.1"), ttl: time.Minute}, nil })
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := r.Lookup(within(t), "x.test", A); !errors.Is(err, net.ErrClosed) || errors.Is(err, ErrBusy) {
		t.Errorf("%v, want net.ErrClosed", err)
	}
}

// A server that resolv.conf names twice fails once.
func TestServerTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := fakeResolver(func(question) (records, error) { return records{}, RCodeError(dnsmessage.RCodeRefused) })
		r.Servers = append(r.Servers, r.Servers[0])
		begun := time.Now()
		_, err := r.Lookup(t.Context(), "x.test", A)
		if took := time.Since(begun); took != 0 || !errors.Is(err, RCodeError(dnsmessage.RCodeRefused)) {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// A server that was silent is not waited for by each question that follows, and gets another
// chance after a while.
func TestSilentServerIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, good := fakeResolver(func(question) (records, error) { return records{addrs: addrsOf("192.0.2.1"), ttl: time.Minute}, nil })
		dead := Server{Addr: netip.MustParseAddrPort("192.0.2.66:53")}
		r.Servers = append([]Server{dead}, r.Servers...)
		silent := &fake{asked: good.asked, silence: true}
		r.upstreams[dead] = &upstream{Server: dead, transport: silent}
		for i, want := range []time.Duration{raceAfter, 0, 0} {
			begun := time.Now()
			if _, err := r.Lookup(t.Context(), fmt.Sprintf("x%d.test", i), A); err != nil || time.Since(begun) != want {
				t.Errorf("%d: %v after %v, want %v", i, err, time.Since(begun), want)
			}
		}
		time.Sleep(mutedFor)
		silent.silence, silent.answer = false, good.answer
		if a, err := r.Lookup(t.Context(), "back.test", A); err != nil || a.Server != dead.String() {
			t.Errorf("%+v, %v: the first server works again", a, err)
		}
	})
}

// RFC 8767: the limit counts from the end of the answer's own time, however often it served.
func TestStaleEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f := fakeResolver(func(question) (records, error) {
			return records{addrs: addrsOf("192.0.2.1"), ttl: time.Minute}, nil
		})
		r.Stale = 10 * time.Minute
		begun := time.Now()
		if _, err := r.Lookup(t.Context(), "x.test", A); err != nil {
			t.Fatal(err)
		}
		f.answer = func(question) (records, error) { return records{}, RCodeError(dnsmessage.RCodeServerFailure) }
		for time.Since(begun) < 20*time.Minute {
			a, err := r.Lookup(t.Context(), "x.test", A)
			age := time.Since(begun)
			if wanted := age < 11*time.Minute; (err == nil) != wanted {
				t.Fatalf("after %v: %+v, %v", age, a, err)
			}
			if age >= time.Minute && err == nil && !a.Cached {
				t.Errorf("after %v: a stale answer is not cached: %+v", age, a)
			}
			time.Sleep(10 * time.Second)
		}
	})
}

// A client that comes while the stale answer is given to others has it at once.
func TestStaleForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f := fakeResolver(func(question) (records, error) {
			return records{addrs: addrsOf("192.0.2.1"), ttl: time.Minute}, nil
		})
		r.Stale = time.Hour
		r.Lookup(t.Context(), "x.test", A)
		f.silence = true
		time.Sleep(2 * time.Minute)
		for i, want := range []time.Duration{staleAfter, 0} {
			begun := time.Now()
			if _, err := r.Lookup(t.Context(), "x.test", A); err != nil || time.Since(begun) != want {
				t.Errorf("%d: %v after %v, want %v", i, err, time.Since(begun), want)
			}
		}
		time.Sleep(askLimit)
	})
}

// What was asked before Flush, or of the servers of before, is not remembered, and nobody who
// comes later waits for it.
func TestFlushWhileAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := slowFake(time.Second, time.Second, map[Type]records{A: {addrs: addrsOf("192.0.2.1"), ttl: time.Minute}})
		v := r.For("")
		var answered atomic.Int32
		ask := func() { v.Ask("x.test", A, func(Answer, error) { answered.Add(1) }) }
		ask()
		time.Sleep(time.Second / 2)
		r.Flush()
		time.Sleep(time.Second / 2)
		synctest.Wait()
		if n := answered.Load(); n != 1 {
			t.Errorf("%d answers, want 1", n)
		}
		if n, _ := r.cache.size(); n != 0 {
			t.Error("an answer of before Flush is remembered")
		}
		ask()
		r.Flush()
		ask()
		time.Sleep(time.Second)
		synctest.Wait()
		if s, n := r.Stats(), answered.Load(); s.Asked != 3 || s.Coalesced != 0 || n != 3 {
			t.Errorf("%+v, %d answers", s, n)
		}
	})
}

// A resolv.conf that changes while questions are open: they are still answered, their answers
// are not remembered, and nothing of the old server is left after Close.
func TestSystemChanges(t *testing.T) {
	release := make(chan struct{})
	s := newServer(t, func(q dnsmessage.Question, _ string, n int) reply {
		if n == 1 {
			<-release
			return reply{addrs: []string{"192.0.2.1"}, ttl: 600}
		}
		return reply{addrs: []string{"192.0.2.2"}, ttl: 600}
	})
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	write := func(text string) {
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("nameserver 192.0.2.53\noptions attempts:2\n")
	r := &Resolver{NoHosts: true, resolvConf: conf, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.addr().String())
	}}
	first := make(chan Answer, 1)
	r.For("").Ask("x.test", A, func(a Answer, _ error) { first <- a })
	eventually(t, "not asked", func() bool { return s.count("x.test", A, "udp") > 0 })
	write("nameserver 192.0.2.54\noptions attempts:2 timeout:5\n")
	eventually(t, "the changed file is not read", func() bool {
		r.candidates("y.test")
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.retired) == 1
	})
	a, err := r.Lookup(within(t), "x.test", A)
	if err != nil || !slices.Equal(a.Addrs, addrsOf("192.0.2.2")) {
		t.Errorf("%+v, %v: want the answer of the new server", a, err)
	}
	close(release)
	if a := <-first; len(a.Addrs) != 1 {
		t.Errorf("%+v: the open question had no answer", a)
	}
	if a, err := r.Lookup(within(t), "x.test", A); err != nil || !a.Cached || !slices.Equal(a.Addrs, addrsOf("192.0.2.2")) {
		t.Errorf("%+v, %v: want the cached answer of the new server", a, err)
	}
	r.Close() // goleak looks for the old server's socket
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.retired) > 0 {
		t.Error("servers of before are left")
	}
}

// cancel reaches the question that a search list has come to.
func TestSearchCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conf := filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(conf, []byte("nameserver 192.0.2.53\nsearch a.test b.test\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for name, cached := range map[string]bool{"asked": false, "cached": true} {
			r, f := fakeResolver(nil)
			r.Servers, r.resolvConf = nil, conf
			absent := records{noName: true, ttl: time.Minute}
			if cached {
				r.cache.put(&entry{key: key{question{name: "nas.a.test", typ: A}, ""}, records: absent, expires: time.Now().Add(time.Minute)})
			}
			f.silence = true
			cancel := r.For("").Ask("nas", A, func(Answer, error) { t.Errorf("%s: done is called after cancel", name) })
			if !cached {
				r.mu.Lock()
				var first *flight
				for first = range r.open {
				}
				r.mu.Unlock()
				first.ask.end(absent, first.ask.servers[0], nil)
			}
			cancel()
			r.mu.Lock()
			for open := range r.open {
				if len(open.waiters) > 0 {
					t.Errorf("%s: %s is still waited for", name, open.name)
				}
			}
			r.mu.Unlock()
			time.Sleep(askLimit)
			synctest.Wait()
		}
	})
}

// What an answer is worth: aliases that end nowhere, and servers that ask no other.
func TestNegative(t *testing.T) {
	q := dnsmessage.Question{Name: dnsmessage.MustNewName("x.test."), Type: A, Class: dnsmessage.ClassINET}
	ns := dnsmessage.Resource{
		Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("test."), Type: dnsmessage.TypeNS, Class: dnsmessage.ClassINET, TTL: 9},
		Body:   &dnsmessage.NSResource{NS: dnsmessage.MustNewName("ns.test.")},
	}
	alter := func(msg []byte, change func(*dnsmessage.Message)) []byte {
		var m dnsmessage.Message
		if err := m.Unpack(msg); err != nil {
			t.Fatal(err)
		}
		change(&m)
		out, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	referral := func(ra, aa bool) []byte {
		return alter(reply{}.message(0, q), func(m *dnsmessage.Message) {
			m.Authorities = append(m.Authorities, ns)
			m.RecursionAvailable, m.Authoritative = ra, aa
		})
	}
	for name, test := range map[string]struct {
		msg []byte
		ttl time.Duration
		err error
	}{
		"RFC2308-s5/SOA":                    {msg: reply{soa: 100}.message(0, q), ttl: 100 * time.Second},
		"RFC2308-s5/five minutes":           {msg: reply{soa: 9999}.message(0, q), ttl: maxNegative},
		"RFC2308-s2.1/alias, no such name":  {msg: reply{cname: "y.test", ttl: 3, soa: 100, rcode: dnsmessage.RCodeNameError}.message(0, q), ttl: 3 * time.Second},
		"RFC2308-s2.2/alias, no record":     {msg: reply{cname: "y.test", ttl: 200, soa: 100}.message(0, q), ttl: 100 * time.Second},
		"RFC2308-s2.2.1/referral":           {msg: referral(false, false), err: errReferral},
		"RFC2308-s2.2.1/referral, cached":   {msg: referral(true, false), ttl: bareTTL},
		"RFC2308-s2.2.1/of the zone itself": {msg: referral(false, true), ttl: bareTTL},
	} {
		got, _, err := parseAnswer(test.msg, question{name: "x.test", typ: A})
		if !errors.Is(err, test.err) || got.ttl != test.ttl || !got.empty() {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// Records of other types are refused, not said to be absent.
func TestOtherTypes(t *testing.T) {
	r, f := fakeResolver(func(question) (records, error) { return records{ttl: time.Minute}, nil })
	for _, name := range []string{"x.test", "localhost", "192.0.2.1"} {
		_, err := r.Lookup(within(t), name, dnsmessage.TypeTXT)
		if !errors.Is(err, errors.ErrUnsupported) || isNotFound(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(f.asked) > 0 {
		t.Errorf("asked: %v", f.asked)
	}
}

// With a search list a cached name needs no server either.
func TestCachedWithSearchList(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver 192.0.2.53\nsearch a.test b.test\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, _ := fakeResolver(func(q question) (records, error) {
		switch {
		case q.name == "nas.b.test" || q.name == "www.example.test":
			return records{addrs: addrsOf("192.0.2.1"), ttl: time.Hour}, nil
		case q.name == "none.b.test":
			return records{}, RCodeError(dnsmessage.RCodeServerFailure)
		}
		return records{noName: true, ttl: time.Hour}, nil
	})
	r.Servers, r.resolvConf = nil, conf
	defer r.Close()
	for _, lookup := range []Lookup{r, r.For("")} {
		d := Dialer{Lookup: lookup}
		for name, want := range map[string]bool{"www.example.test": true, "nas": true, "absent": false, "none": false} {
			r.Flush()
			if _, _, known := d.Cached("tcp4", name); known {
				t.Errorf("%s is known before it was asked for", name)
			}
			_, wantErr := r.LookupNetIP(within(t), "ip4", name)
			got, err, known := d.Cached("tcp4", name)
			if !known || got.First.IsValid() != want || fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Errorf("%s: %v, %v, %v; want %v", name, got, err, known, wantErr)
			}
		}
	}
}

// A large hosts file, as lists of names to block are, costs little, and one that changes
// is read beside the requests.
func TestBigHosts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	const n = 10_000
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "0.0.0.0 ads%d.example.test\n", i)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	r, _ := fakeResolver(func(question) (records, error) { return records{noName: true, ttl: time.Minute}, nil })
	r.NoHosts, r.hostsPath = false, path
	name := fmt.Sprintf("ads%d.example.test", n-1)
	if got, err := r.LookupNetIP(within(t), "ip4", name); err != nil || !slices.Equal(got, addrsOf("0.0.0.0")) {
		t.Fatal(got, err)
	}
	if names, err := r.LookupAddr(within(t), "0.0.0.0"); err != nil || len(names) != maxRecords {
		t.Errorf("%d names, %v", len(names), err)
	}

	if err := os.WriteFile(path, append(b.Bytes(), "192.0.2.5 new.test\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the changed file is not read", func() bool {
		if got, err := r.LookupNetIP(within(t), "ip4", name); err != nil || len(got) != 1 {
			t.Fatal(got, err) // meanwhile the file of before holds
		}
		got, _ := r.LookupNetIP(within(t), "ip4", "new.test")
		return slices.Equal(got, addrsOf("192.0.2.5"))
	})
	r.hosts.mu.Lock()
	//lint:ignore SA2001 waits until what reads the file has ended
	r.hosts.mu.Unlock()
}

// While one goroutine reads a file no other waits for it.
func TestWatchedDoesNotWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	var w watched[string]
	reading, release := make(chan struct{}), make(chan struct{})
	read := func(r io.Reader) string {
		b, _ := io.ReadAll(r)
		if strings.HasPrefix(string(b), "three") {
			close(reading)
			<-release
		}
		return string(b)
	}
	changes := 0
	if got := w.get(path, read, func() { changes++ }); got != "one" || changes != 0 {
		t.Errorf("%q, %d changes", got, changes)
	}
	write("three")
	w.due.Store(0)
	got := make(chan string)
	go func() { got <- w.get(path, read, func() { changes++ }) }()
	<-reading
	w.due.Store(0)
	if got := w.get(path, read, func() { t.Error("two read at once") }); got != "one" {
		t.Errorf("%q", got)
	}
	close(release)
	if got := <-got; got != "three" || changes != 1 {
		t.Errorf("%q, %d changes", got, changes)
	}
}

// The error has what each server said that was asked, and is of the kind that the last one was.
func TestVerdicts(t *testing.T) {
	refused, failed := RCodeError(dnsmessage.RCodeRefused), RCodeError(dnsmessage.RCodeServerFailure)
	for name, test := range map[string]struct {
		outcomes []error // of each server; nil is silent
		want     string
		is       error
		timeout  bool
	}{
		"one":                      {[]error{refused}, "lookup x.test on 192.0.2.1:53: the server refused the question (REFUSED)", refused, false},
		"one silent":               {[]error{nil}, "lookup x.test on 192.0.2.1:53: no answer in time", errTimeout, true},
		"two":                      {[]error{refused, failed}, "lookup x.test on 192.0.2.2:53: server failure (SERVFAIL); 192.0.2.1:53: the server refused the question (REFUSED)", failed, false},
		"the second silent":        {[]error{refused, nil}, "lookup x.test on 192.0.2.2:53: no answer in time; 192.0.2.1:53: the server refused the question (REFUSED)", errTimeout, true},
		"two silent, and a third":  {[]error{nil, nil, failed}, "", errTimeout, true},
		"descriptors and a server": {[]error{failed, syscall.EMFILE}, "lookup x.test: too many open files; 192.0.2.1:53: server failure (SERVFAIL)", syscall.EMFILE, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &Resolver{NoHosts: true, upstreams: map[Server]*upstream{}}
				for i, err := range test.outcomes {
					s := Server{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + i)}), 53)}
					f := &fake{asked: map[question]int{}, silence: err == nil, answer: func(question) (records, error) { return records{}, err }}
					r.Servers, r.upstreams[s] = append(r.Servers, s), &upstream{Server: s, transport: f}
				}
				_, err := r.Lookup(t.Context(), "x.test", A)
				if test.want != "" && fmt.Sprint(err) != test.want {
					t.Errorf("%v, want %s", err, test.want)
				}
				for _, s := range r.Servers {
					if !strings.Contains(fmt.Sprint(err), s.String()) && !errors.Is(err, syscall.EMFILE) {
						t.Errorf("%v does not name %v", err, s)
					}
				}
				timeout := net.Error(nil)
				if !errors.Is(err, test.is) || (errors.As(err, &timeout) && timeout.Timeout()) != test.timeout {
					t.Errorf("%v is of another kind", err)
				}
			})
		})
	}
}

// A server that takes a second for each answer gets each question once, when that is known, and
// one that has become fast is soon asked again as early as any. A lost question is repeated.
func TestSlowServerIsNotFlooded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Server{Addr: netip.MustParseAddrPort("192.0.2.53:53")}
		f := &paced{after: time.Second}
		r := &Resolver{Servers: []Server{s}, NoHosts: true, upstreams: map[Server]*upstream{s: {Server: s, transport: f}}}
		n := 0
		messages := func() int {
			before := f.messages
			n++
			if _, err := r.Lookup(t.Context(), fmt.Sprintf("x%d.test", n), A); err != nil {
				t.Error(err)
			}
			return f.messages - before
		}
		if got := messages(); got != 3 { // 0, 0.3, 0.9 s
			t.Errorf("%d messages to a server of which nothing is known", got)
		}
		for range 20 {
			if got := messages(); got != 1 {
				t.Errorf("%d messages to a server that is known to be slow", got)
			}
		}
		begun := time.Now()
		f.lose = 1
		if got, took := messages(), time.Since(begun); got != 2 || took != 3*time.Second {
			t.Errorf("%d messages in %v, one of which was lost", got, took)
		}
		f.after = 10 * time.Millisecond
		for range 40 {
			messages()
		}
		begun = time.Now()
		f.lose = 1
		if got, took := messages(), time.Since(begun); got != 2 || took != raceAfter+f.after {
			t.Errorf("%d messages in %v, one of which was lost", got, took)
		}
	})
}

// paced is a transport whose server takes its time.
type paced struct {
	after          time.Duration
	messages, lose int
}

func (p *paced) ask(_ *query, done func(records, error)) func() {
	p.messages++
	if p.lose > 0 {
		p.lose--
		return func() {}
	}
	timer := time.AfterFunc(p.after, func() { done(records{addrs: addrsOf("192.0.2.1"), ttl: time.Minute}, nil) })
	return func() { timer.Stop() }
}

func (p *paced) close() {}
