package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"hosier/internal/sockstest"
)

// The names that the DNS server of a site knows. None of them means anything elsewhere,
// so a program that looks one up by itself does not get far.
const (
	webName     = "web.hosier.test"
	nowhereName = "nowhere.hosier.test"
)

// site is a web server, and the DNS server that alone knows its name. Only hosier is told
// where the DNS server is, so what that is asked, hosier asks.
type site struct {
	dns  *sockstest.DNS
	told int    // how many questions asked has seen
	addr string // IP:PORT
	port string
}

func newSite(tb testing.TB) *site {
	tb.Helper()
	server := httptest.NewServer(http.HandlerFunc(serveSite))
	tb.Cleanup(server.Close)
	s := &site{dns: sockstest.NewDNS(tb), addr: server.Listener.Addr().String()}
	_, s.port, _ = net.SplitHostPort(s.addr)
	s.dns.Set(webName, "127.0.0.1")
	return s
}

// serveSite says by which name it was reached, and gives a body back.
func serveSite(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		io.Copy(w, r.Body)
		return
	}
	io.WriteString(w, greeting(r.Host))
}

func greeting(host string) string { return "you reached " + host + "\n" }

// host is the web server's name, with its port.
func (s *site) host() string { return webName + ":" + s.port }

// start runs a hosier that asks the site's DNS server and logs each connection.
func (s *site) start(tb testing.TB, args ...string) *process {
	tb.Helper()
	return start(tb, append([]string{"--dns", s.dns.Addr, "--dns-cache", "off", "-v"}, args...)...)
}

// asked fails the test unless the DNS server was asked this since the last time, and
// nothing else. A question is written as "A www.test"; they are in alphabetical order. One
// whose answer is not needed any more may come after the reply to the client.
func (s *site) asked(tb testing.TB, want ...string) {
	tb.Helper()
	var got []string
	all := s.dns.Queries()
	for end := time.Now().Add(patience); len(all) < s.told+len(want) && time.Now().Before(end); all = s.dns.Queries() {
		time.Sleep(time.Millisecond)
	}
	for _, q := range all[s.told:] {
		got = append(got, strings.TrimPrefix(q.Type.String(), "Type")+" "+q.Name)
	}
	s.told = len(all)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		tb.Errorf("the DNS server was asked %q, want %q", got, want)
	}
}

// The questions that one connection to the web server's name leads to.
var (
	askedV4   = []string{"A " + webName}
	askedBoth = []string{"A " + webName, "AAAA " + webName}
)

// want fails the test unless the program ended well and printed this.
func (o outcome) want(tb testing.TB, stdout string) {
	tb.Helper()
	if o.code != 0 || o.stdout != stdout {
		tb.Errorf("exit code %d, output %q, want 0 and %q; it said: %s", o.code, o.stdout, stdout, o.stderr)
	}
}

// wantFailure fails the test unless the program failed with these words.
func (o outcome) wantFailure(tb testing.TB, words string) {
	tb.Helper()
	if o.code == 0 || !strings.Contains(o.stderr, words) {
		tb.Errorf("exit code %d, output %q, it said %q; want a failure that says %q", o.code, o.stdout, o.stderr, words)
	}
}
