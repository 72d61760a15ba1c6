package page

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"hosier/internal/debiantest"
)

// evaluate runs FindProxyForURL for each URL in a JavaScript engine where every function
// that a browser has for such files ends the test, whether it looks names up or not.
const evaluate = `
const vm = require("node:vm");
const results = JSON.parse(require("node:fs").readFileSync(0)).map(({Script, Hosts}) => {
  const world = {};
  for (const name of ["dnsResolve", "dnsResolveEx", "isResolvable", "isResolvableEx", "isInNet", "isInNetEx", "myIpAddress",
    "myIpAddressEx", "localHostOrDomainIs", "isPlainHostName", "dnsDomainIs", "shExpMatch", "sortIpAddressList", "alert"])
    world[name] = () => { throw new Error(name + " was called"); };
  vm.createContext(world);
  vm.runInContext(Script, world);
  return Hosts.map((text) => {
    [, world.scheme, world.host] = /^(?:(\w+):\/\/)?([^]*)$/.exec(text);
    return vm.runInContext("FindProxyForURL((scheme || 'https') + '://' + host + '/', host)", world);
  });
});
process.stdout.write(JSON.stringify(results));
`

// run is a script, and the hosts that it is asked about, for https:// if they do not say.
type run struct {
	Script string
	Hosts  []string
}

// evaluateAll returns what each script says about each of its hosts.
func evaluateAll(t *testing.T, runs ...run) (results [][]string) {
	t.Helper()
	node := debiantest.Program(t, "node", "nodejs")
	input, err := json.Marshal(runs)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(node, "-e", evaluate)
	cmd.Stdin = bytes.NewReader(input)
	out, err := cmd.Output()
	if err != nil {
		if e := (*exec.ExitError)(nil); errors.As(err, &e) {
			t.Fatalf("%v: %s", err, e.Stderr)
		}
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &results); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return results
}

func proxiesOf(t *testing.T, script []byte, hosts ...string) []string {
	t.Helper()
	return evaluateAll(t, run{string(script), hosts})[0]
}

// The ways to the proxy, best first, and no DIRECT behind them.
func TestPACWays(t *testing.T) {
	for _, tt := range []struct {
		name string
		Listener
		query, want, plain string // plain is for http://
	}{
		{"all", Listener{Dialects: everything}, "", "SOCKS5 A; PROXY A", "SOCKS5 A"},
		{"all, for old programs", Listener{Dialects: everything}, "socks", "SOCKS5 A; SOCKS A; PROXY A", "SOCKS5 A; SOCKS A"},
		{"SOCKS5", Listener{Dialects: Dialects{SOCKS5: true}}, "", "SOCKS5 A", "SOCKS5 A"},
		{"SOCKS4", Listener{Dialects: Dialects{SOCKS4: true}}, "", "PROXY A", "PROXY A"}, // which fails, and leaks nothing
		{"SOCKS4, for old programs", Listener{Dialects: Dialects{SOCKS4: true}}, "socks", "SOCKS A", "SOCKS A"},
		{"CONNECT", Listener{Dialects: Dialects{CONNECT: true}}, "socks", "PROXY A", "PROXY A"},
		{"users", Listener{Dialects: everything, Users: true}, "socks", "PROXY A", "PROXY A"},
		{"TLS", Listener{Dialects: everything, TLS: true}, "socks", "HTTPS A", "HTTPS A"},
		{"nothing", Listener{}, "", "PROXY A", "PROXY A"},
		{"another query", Listener{Dialects: everything}, "socks=1", "SOCKS5 A; PROXY A", "SOCKS5 A"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			tt.ServePAC(w, httptest.NewRequest(http.MethodGet, "/proxy.pac?"+tt.query, nil), "[2001:db8::1]:1080")
			if got := w.Header().Get("Content-Type"); got != "application/x-ns-proxy-autoconfig" {
				t.Errorf("Content-Type is %q", got)
			}
			hosts := []string{"example.org", "10.1.2.3", "[2001:db8::2]", "intranet", "", "wss://x.onion", "ftp://x.test", "http://example.org", "HTTP://10.1.2.3"}
			for i, got := range proxiesOf(t, w.Body.Bytes(), hosts...) {
				want := tt.want
				if strings.HasPrefix(strings.ToLower(hosts[i]), "http:") {
					want = tt.plain
				}
				if want = strings.ReplaceAll(want, " A", " [2001:db8::1]:1080"); got != want {
					t.Errorf("%s: %q, want %q", hosts[i], got, want)
				}
			}
		})
	}
}

func TestPACRules(t *testing.T) {
	const through = "SOCKS5 127.0.0.1:1080; PROXY 127.0.0.1:1080"
	direct := func(to ...string) Rule { return Rule{To: to, Direct: true} }
	other := func(to ...string) Rule { return Rule{To: to} }
	for _, tt := range []struct {
		name   string
		rules  []Rule
		direct string // hosts
		other  string
	}{
		{
			"none", nil, "localhost LOCALHOST a.localhost localhost. 127.0.0.1 127.9.9.9 [::1] ::1",
			"example.org xlocalhost localhost.evil.test 127.0.0.1.evil.test 128.0.0.1 10.127.0.0.1 1270.0.0.1 [::2] 0.0.0.0",
		},
		{"name", []Rule{direct("a.test")}, "a.test A.TEST a.test.", "b.a.test xa.test a.test.b a,test"},
		{"below", []Rule{direct(".a.test")}, "a.test b.a.test c.b.a.test.", "xa.test a.testx b.a.test.c test"},
		{"prefix", []Rule{direct("10.0.0.0/8")}, "10.0.0.0 10.255.255.255", "11.0.0.0 9.255.255.255 10.0.0 10.0.0.0.0 10.a.b.c 110.0.0.0"},
		{"one address", []Rule{direct("192.0.2.1")}, "192.0.2.1", "192.0.2.2 192.0.2.10 1.192.0.2"},
		{"high bits", []Rule{direct("255.255.255.0/24", "128.0.0.0/2")}, "255.255.255.255 191.255.255.255 128.0.0.0", "255.255.254.255 192.0.0.0 127.255"},
		{"IPv6 goes through", []Rule{direct("2001:db8::/32", "fe80::1")}, "", "[2001:db8::1] 2001:db8::1 [fe80::1]"},
		{"first wins", []Rule{other("b.a.test"), direct(".a.test")}, "a.test c.a.test", "b.a.test"},
		{"first wins, by address", []Rule{other("10.1.0.0/16"), direct("10.0.0.0/8")}, "10.2.0.0 10.0.255.255", "10.1.2.3"},
		{"everything stops it", []Rule{direct("a.test"), other(), direct("b.test")}, "a.test", "b.test"},
		{"any name stops it", []Rule{direct("a.test"), other("*"), direct("b.test", "10.0.0.0/8")}, "a.test", "b.test 10.1.1.1"},
		{"direct everything is not for browsers", []Rule{direct()}, "", "a.test 10.1.1.1"},
		{"direct any name is not for browsers", []Rule{direct("*")}, "", "a.test"},
		{"an address rule above names", []Rule{other("10.0.0.0/8"), direct(".lan", "192.0.2.0/24")}, "192.0.2.7", "a.lan 10.1.1.1"},
		{"odd names", []Rule{direct(`"+alert(1)+"`, "</script>", "a\nb", "\u2028")}, "", "a b alert"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := Listener{Dialects: everything, Rules: tt.rules}
			hosts, wantDirect := strings.Fields(tt.direct+" "+tt.other), len(strings.Fields(tt.direct))
			for i, got := range proxiesOf(t, l.pac("127.0.0.1:1080", false), hosts...) {
				want := through
				if i < wantDirect {
					want = "DIRECT"
				}
				if got != want {
					t.Errorf("%s: %q, want %q", hosts[i], got, want)
				}
			}
		})
	}
}

// What the script says is what the rules say, read slowly; and where it says more than one
// way, DIRECT is none of them.
func TestPACAgreesWithReference(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	hosts := []string{"a.test", "b.a.test", "xa.test", "test", "10.1.2.3", "10.9.9.9", "192.0.2.1", "0.0.0.0", "255.255.255.255"}
	var all [][]Rule
	var runs []run
	for range 500 {
		var rules []Rule
		for range random.IntN(6) {
			r := Rule{Direct: random.IntN(2) == 0}
			for range 1 + random.IntN(3) {
				r.To = append(r.To, pick("a.test", ".a.test", "b.a.test", ".test", "10.0.0.0/8", "10.1.0.0/16", "192.0.2.1", "255.0.0.0/8", "::/0"))
			}
			rules = append(rules, r)
		}
		l := Listener{Dialects: everything, Rules: rules}
		all, runs = append(all, rules), append(runs, run{string(l.pac("127.0.0.1:1080", true)), hosts})
	}
	for i, results := range evaluateAll(t, runs...) {
		for j, got := range results {
			if want := naiveDirect(all[i], hosts[j]); (got == "DIRECT") != want || !want && strings.Contains(got, "DIRECT") {
				t.Fatalf("%s: %q, want direct %v, by %+v", hosts[j], got, want, all[i])
			}
		}
	}
}

func naiveDirect(rules []Rule, host string) bool {
	ip, err := netip.ParseAddr(host)
	for i, r := range rules {
		if slices.ContainsFunc(r.To, func(to string) bool {
			p, isPrefix := parsePrefix(to)
			return isPrefix && err == nil && p.Contains(ip) ||
				!isPrefix && err != nil && (to == host || to[0] == '.' && strings.HasSuffix("."+host, to))
		}) {
			judged := slices.ContainsFunc(rules[:i], func(above Rule) bool {
				return !above.Direct && slices.ContainsFunc(above.To, func(to string) bool { _, is := parsePrefix(to); return is })
			})
			return r.Direct && (err == nil || !judged)
		}
	}
	return false
}

// What a browser wants of the proxy's own port it asks that for: the rules of a listener for
// other hosts do not lead there.
func TestPACOfItself(t *testing.T) {
	for _, tt := range []struct {
		Listener
		address, host string
		direct        bool
	}{
		{Listener{Dialects: everything}, "192.0.2.1:1080", "http://192.0.2.1:1080", true},
		{Listener{Dialects: everything}, "192.0.2.1:1080", "http://192.0.2.1:1081", false},
		{Listener{Dialects: everything}, "192.0.2.1:1080", "https://192.0.2.1:1080", false},
		{Listener{Dialects: everything}, "192.0.2.1:1080", "http://192.0.2.1:10801", false},
		{Listener{Dialects: everything}, "[2001:db8::1]:1080", "http://[2001:db8::1]:1080", true},
		{Listener{Dialects: everything, TLS: true}, "192.0.2.1:1080", "https://192.0.2.1:1080", true},
		{Listener{Dialects: everything, TLS: true}, "192.0.2.1:1080", "http://192.0.2.1:1080", false},
	} {
		if got := proxiesOf(t, tt.pac(tt.address, false), tt.host); (got[0] == "DIRECT") != tt.direct {
			t.Errorf("%s, of the file of %s: %s", tt.host, tt.address, got[0])
		}
	}
}

// The file is for every listener address, and always a whole program.
func TestPACIsScript(t *testing.T) {
	l := Listener{Dialects: everything, Rules: []Rule{{To: []string{".a.test", "10.0.0.0/8"}, Direct: true}}}
	for _, address := range []string{"127.0.0.1:1080", "[::1]:1", "localhost:65535"} {
		if got := proxiesOf(t, l.pac(address, false), "b.test"); got[0] != fmt.Sprintf("SOCKS5 %s; PROXY %[1]s", address) {
			t.Errorf("%s: %q", address, got)
		}
	}
}
