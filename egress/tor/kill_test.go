package tor

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"hosier/internal/tornet"
	"hosier/socks"
)

// home is the member that a client of the listener on loopback belongs to.
func home(p *Pool, listener string, d *socks.Dialer) *member {
	p.init()
	r := &socks.Request{Listener: listener, Client: netip.MustParseAddrPort("127.0.0.1:1"), Auth: d.Auth}
	return ranked(p.all, p.Isolation.token(p.key, r))[0]
}

const (
	streams = 50
	size    = 2 << 20 // bytes of each: more than is under way before its client reads
)

// stream is a download.
type stream struct {
	client *socks.Dialer
	home   *member
	body   io.ReadCloser
	first  []byte
}

// begin starts a download and reads the first of it.
func begin(t *testing.T, n *tornet.Network, p *Pool, listener string, i int) stream {
	s := stream{client: user(listener, fmt.Sprintf("user%d", i/2)), first: make([]byte, 1000)}
	s.home = home(p, listener, s.client)
	c, err := s.client.DialContext(t.Context(), "tcp", web(n, "www"))
	if err != nil {
		t.Errorf("stream %d: %v", i, err)
		return s
	}
	t.Cleanup(func() { c.Close() })
	r, err := request(c, fmt.Sprintf("/bytes/%d", size))
	if err == nil {
		s.body = r.Body
		_, err = io.ReadFull(r.Body, s.first)
	}
	if err != nil {
		t.Errorf("stream %d: %v", i, err)
	}
	return s
}

// finish reads the rest and returns whether all of it came.
func (s stream) finish(want [32]byte) bool {
	rest, _ := io.ReadAll(s.body)
	return sha256.Sum256(append(s.first, rest...)) == want
}

// beginAll starts all of them at once.
func beginAll(t *testing.T, n *tornet.Network, p *Pool, listener string) []stream {
	t.Helper()
	all := make([]stream, streams)
	var opening sync.WaitGroup
	for i := range all {
		opening.Go(func() { all[i] = begin(t, n, p, listener, i) })
	}
	opening.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return all
}

// finishAll reads them to their ends. It returns the users of the tor that is dead.
func finishAll(t *testing.T, all []stream, dead, alive *member) map[string]*socks.Dialer {
	t.Helper()
	whole := sha256.New()
	io.Copy(whole, tornet.Bytes(size))
	want := [32]byte(whole.Sum(nil))
	lost := map[string]*socks.Dialer{}
	var mu sync.Mutex
	var finishing sync.WaitGroup
	for i, s := range all {
		finishing.Go(func() {
			ok := s.finish(want)
			mu.Lock()
			defer mu.Unlock()
			if s.home == alive && !ok {
				t.Errorf("stream %d of the tor that lives did not arrive whole", i)
			}
			if s.home == dead {
				lost[s.client.Auth.User] = s.client
			}
		})
	}
	finishing.Wait()
	return lost
}

// One of two tors is killed under 50 open streams.
func TestKilled(t *testing.T) {
	n := tornet.ForTest(t, tornet.Options{Clients: 2})
	p := &Pool{Members: []Member{attached(n.Clients[0]), attached(n.Clients[1])}}
	run(t, p)
	address := serve(t, p)
	awaitWatched(t, p)
	all := beginAll(t, n, p, address)
	if err := n.Clients[0].Kill(); err != nil {
		t.Fatal(err)
	}
	awaitState(t, p, Out, Ready)
	lost := finishAll(t, all, p.all[0], p.all[1])
	t.Logf("%d of %d users had the tor that was killed", len(lost), streams/2)
	if len(lost) == 0 || len(lost) == streams/2 {
		t.Fatal("the streams were not spread over both tors")
	}
	for name, d := range lost {
		if got, err := get(dial(t, d, web(n, "www")), "/"); err != nil || got != tornet.Greeting {
			t.Errorf("%s while its tor is dead: %q, %v", name, got, err)
		}
	}
	if err := n.Clients[0].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitWatched(t, p)
	for _, d := range lost {
		dial(t, d, web(n, "www"))
	}
	if s := p.Status(t.Context()); s[0].Streams != len(lost) || s[1].Streams != 0 {
		t.Errorf("%d streams through the tor that came back and %d through the other, want %d and 0", s[0].Streams, s[1].Streams, len(lost))
	}
}

// With all tors gone requests fail with a code, and nothing is looked up or reached.
// Without a control port it comes back by a request that tries.
func TestAllKilled(t *testing.T) {
	n := tornet.ForTest(t, tornet.Options{Clients: 1})
	p := &Pool{Members: []Member{{SOCKS: n.Clients[0].SOCKS}}}
	d := user(serve(t, p), "ann")
	if err := attempt(t, d, web(n, "www")); err != nil {
		t.Fatal(err)
	}
	if err := n.Clients[0].Kill(); err != nil {
		t.Fatal(err)
	}
	asked := len(n.Queries())
	for range 5 {
		// The web server is there, on this host: only the way to it is not.
		if err := attempt(t, d, n.Web.String()); err == nil || !strings.Contains(err.Error(), socks.GeneralFailure.Error()) {
			t.Errorf("CONNECT by address: %v", err)
		}
		if err := attempt(t, d, web(n, "two")); err == nil {
			t.Error("CONNECT by name succeeds")
		}
		if ip, err := d.Resolve(t.Context(), "map."+tornet.Domain); err == nil {
			t.Errorf("RESOLVE: %v", ip)
		}
	}
	if got := p.status(p.all[0]).State; got != Out {
		t.Errorf("the tor that is gone is %s", got)
	}
	if n := len(n.Queries()); n != asked {
		t.Errorf("%d questions to the DNS server", n-asked)
	}
	if err := n.Clients[0].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "a request to succeed", func() bool { return attempt(t, d, web(n, "www")) == nil })
	if got := p.status(p.all[0]).State; got != Ready {
		t.Errorf("the tor that came back is %s", got)
	}
}

// A password opens the control port, a wrong one does not, and requests go on without.
func TestPassword(t *testing.T) {
	network.Get(t)
	hash, err := exec.Command("tor", "--quiet", "--hash-password", `pass "word\`).Output()
	if err != nil {
		t.Fatal(err)
	}
	n := tornet.ForTest(t, tornet.Options{Clients: 1, ClientLines: []string{
		"HashedControlPassword " + strings.TrimSpace(string(hash)), "CookieAuthentication 0",
	}})
	m := Member{SOCKS: n.Clients[0].SOCKS, Control: n.Clients[0].Control}
	for password, want := range map[string]string{`pass "word\`: "", "wrong": "tor says 515", "": "tor wants a password"} {
		m.Password = password
		p := &Pool{Members: []Member{m}}
		run(t, p)
		address := serve(t, p)
		await(t, "the control port", func() bool { s := p.Status(t.Context())[0]; return s.Circuits == "yes" || s.Error != "" })
		s := p.Status(t.Context())[0]
		if (s.Error == "") != (want == "") || !strings.Contains(s.Error, want) || s.State != Ready {
			t.Errorf("password %q: %+v, want %q", password, s, want)
		}
		if strings.Contains(s.Error, "wrong") && password == "wrong" {
			t.Errorf("the error shows the password: %s", s.Error)
		}
		if err := attempt(t, user(address, "ann"), web(n, "www")); err != nil {
			t.Errorf("password %q: %v", password, err)
		}
	}
}
