package rules

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"hosier/socks"
)

const someOnion = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"

// kinds are the egresses of most tests.
var kinds = map[string]Kind{"direct": Direct, "tor": Tor, "tor2": Tor, "office": Proxy}

// rule is a rule as one line: "from=10.0.0.0/8 user=a,b by=lan do=resolve to=.org port=80 via=tor",
// or with refuse or refuse=reason in the place of via.
func rule(t testing.TB, line int, text string) Rule {
	t.Helper()
	r, err := parseRule(line, text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return r
}

var commands = map[string]socks.Command{
	"connect": socks.Connect, "bind": socks.Bind, "associate": socks.Associate,
	"resolve": socks.Resolve, "resolve-ptr": socks.ResolvePTR,
}

func parseRule(line int, text string) (r Rule, err error) {
	r.At = Pos{File: "f", Line: line}
	for field := range strings.FieldsSeq(text) {
		key, value, _ := strings.Cut(field, "=")
		for v := range strings.SplitSeq(value, ",") {
			var e error
			switch key {
			case "from":
				var p netip.Prefix
				p, e = ParsePrefix(v)
				r.Clients = append(r.Clients, p)
			case "user":
				r.Users = append(r.Users, v)
			case "by":
				r.Listeners = append(r.Listeners, v)
			case "do":
				c, ok := commands[v]
				if !ok {
					e = errors.New("no command")
				}
				r.Commands = append(r.Commands, c)
			case "to":
				var d Dest
				d, e = ParseDest(v)
				r.To = append(r.To, d)
			case "port":
				var p Ports
				p, e = ParsePorts(v)
				r.Ports = append(r.Ports, p)
			case "via":
				r.Via = append(r.Via, v)
			case "refuse":
				r.Refuse, r.Reason = true, v
			default:
				e = errors.New("no such field")
			}
			err = errors.Join(err, e)
		}
	}
	return r, err
}

// set is one rule a line, and as the last "else=WAY,WAY" where there is a default.
func set(t testing.TB, text string) *Set {
	t.Helper()
	spec := Spec{Egresses: kinds, DefaultAt: Pos{File: "f", Line: 99}}
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		line = strings.TrimSpace(line)
		if list, ok := strings.CutPrefix(line, "else="); ok {
			spec.Default = strings.Split(list, ",")
		} else if line != "" {
			spec.Rules = append(spec.Rules, rule(t, i+1, line))
		}
	}
	s, err := New(spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// request is "COMMAND HOST[:PORT] [from=IP] [user=NAME] [by=LISTENER]".
func request(t testing.TB, text string) (string, *socks.Request) {
	t.Helper()
	fields := strings.Fields(text)
	r := &socks.Request{Version: socks.V5, Command: commands[fields[0]]}
	listener := "lan"
	var err error
	if hasPort(r.Command) {
		r.Addr, err = socks.ParseAddr(fields[1])
	} else {
		r.Addr, err = socks.ParseHost(fields[1])
	}
	if err != nil || r.Command == 0 {
		t.Fatalf("%s: %v", text, err)
	}
	for _, f := range fields[2:] {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "from":
			r.Client = netip.AddrPortFrom(netip.MustParseAddr(value), 5000)
		case "user":
			r.User = value
		case "by":
			listener = value
		default:
			t.Fatalf("%s: no such field", f)
		}
	}
	return listener, r
}

// outcomeText is "WHERE: WAY,WAY" or "WHERE: STATUS".
func outcomeText(d Decision) string {
	if d.Err != nil {
		var s socks.Status
		errors.As(d.Err, &s)
		return fmt.Sprintf("%s: %v", d.Where, s)
	}
	return d.Where + ": " + strings.Join(d.Via, ",")
}

func TestDecide(t *testing.T) {
	t.Parallel()
	const refused = "not allowed by ruleset"
	for _, test := range []struct{ name, rules, request, want string }{
		{"nothing at all", "", "connect a.example:80", "no rule: " + refused},
		{"no rules, one via", "else=tor", "connect a.example:80", "f:99: tor"},
		{"no rule matches", "to=b.example via=tor", "connect a.example:80", "no rule: " + refused},
		{"default is not a rule's", "to=b.example refuse\nelse=office", "connect a.example:80", "f:99: office"},
		{"first match", "to=*  via=tor\nto=a.example via=office", "connect a.example:80", "f:1: tor"},
		{"first match, index the other way", "to=a.example via=office\nto=* via=tor", "connect a.example:80", "f:1: office"},
		{"failover", "via=office,tor", "connect a.example:80", "f:1: office,tor"},
		{"refuse", "to=.example refuse=closed\nelse=tor", "connect a.example:80", "f:1: " + refused},

		{"name: case", "to=A.Example via=tor", "connect a.eXAMPLE:80", "f:1: tor"},
		{"name: dot", "to=a.example via=tor", "connect a.example.:80", "f:1: tor"},
		{"name: dot in the rule", "to=a.example. via=tor", "connect a.example:80", "f:1: tor"},
		{"name: not below", "to=example via=tor", "connect a.example:80", "no rule: " + refused},
		{"suffix: itself", "to=.example via=tor", "connect example:80", "f:1: tor"},
		{"suffix: below", "to=.example via=tor", "connect a.b.example:80", "f:1: tor"},
		{"suffix: not a longer label", "to=.example via=tor", "connect badexample:80", "no rule: " + refused},
		{"star: names", "to=* via=tor", "connect a.example:80", "f:1: tor"},
		{"star: no addresses", "to=* via=tor", "connect 192.0.2.1:80", "no rule: " + refused},

		{"address: in", "to=10.0.0.0/8 via=tor", "connect 10.255.0.1:80", "f:1: tor"},
		{"address: not in", "to=10.0.0.0/8 via=tor", "connect 11.0.0.1:80", "no rule: " + refused},
		{"address: one", "to=2001:db8::1 via=tor", "connect [2001:db8::1]:80", "f:1: tor"},
		{"address: mapped", "to=10.0.0.0/8 via=tor", "connect [::ffff:10.0.0.1]:80", "f:1: tor"},
		{"address: mapped in the rule", "to=::ffff:10.0.0.0/104 via=tor", "connect 10.0.0.1:80", "f:1: tor"},
		{"address: all of IPv6 has no IPv4", "to=::/0 via=tor", "connect 10.0.0.1:80", "no rule: " + refused},
		{"address: never by a name", "to=0.0.0.0/0,::/0 refuse\nelse=tor", "connect a.example:80", "f:99: tor"},

		{"client", "from=192.168.1.0/24 via=tor", "connect a.example:80 from=192.168.1.7", "f:1: tor"},
		{"client: mapped", "from=192.168.1.0/24 via=tor", "connect a.example:80 from=::ffff:192.168.1.7", "f:1: tor"},
		{"client: zone", "from=fe80::/10 via=tor", "connect a.example:80 from=fe80::1%eth0", "f:1: tor"},
		{"client: other", "from=192.168.1.0/24 via=tor", "connect a.example:80 from=192.168.2.7", "no rule: " + refused},
		{"client: none", "from=0.0.0.0/0,::/0 via=tor", "connect a.example:80", "no rule: " + refused},
		{"user", "user=alice,bob via=tor", "connect a.example:80 user=bob", "f:1: tor"},
		{"user: case counts", "user=alice via=tor", "connect a.example:80 user=Alice", "no rule: " + refused},
		{"user: nobody", "user=alice via=tor", "connect a.example:80", "no rule: " + refused},
		{"user: of no name", "user= via=tor", "connect a.example:80", "no rule: " + refused},
		{"listener", "by=dmz via=tor", "connect a.example:80 by=dmz", "f:1: tor"},
		{"listener: other", "by=dmz via=tor", "connect a.example:80", "no rule: " + refused},
		{"command", "do=bind,resolve via=tor", "resolve a.example", "f:1: tor"},
		{"command: other", "do=bind,resolve via=tor", "connect a.example:80", "no rule: " + refused},
		{"port: ends of a range", "port=1-79,81-82 via=tor", "connect a.example:82", "f:1: tor"},
		{"port: other", "port=1-79,81-82 via=tor", "connect a.example:80", "no rule: " + refused},
		{"port: resolve has none", "port=1-65535 via=tor", "resolve a.example", "no rule: " + refused},
		{"ptr: address", "to=10.0.0.0/8 via=tor", "resolve-ptr 10.0.0.1", "f:1: tor"},
		{"ptr: names do not match", "to=*,.example via=tor", "resolve-ptr 10.0.0.1", "no rule: " + refused},

		{"onion: filtered", "to=.onion via=office,tor,direct,tor2", "connect " + someOnion + ":80", "f:1: tor,tor2"},
		{"onion: default filtered", "else=direct,tor", "connect " + someOnion + ":80", "f:99: tor"},
		{"onion: nothing left", "via=office", "connect " + someOnion + ":80", "f:1: host unreachable"},
		{"onion: nothing left, malformed", "via=office", "connect example.ONION.:80", "f:1: onion address is invalid"},
		{"onion: top itself", "via=office,tor", "resolve onion", "f:1: tor"},
		{"onion: refused by a rule", "to=* refuse\nelse=tor", "connect " + someOnion + ":80", "f:1: " + refused},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			listener, r := request(t, test.request)
			s := set(t, test.rules)
			d := s.Decide(listener, r)
			if got := outcomeText(d); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, rules, request, ip, want string }{
		{"no rule about addresses", "else=direct", "connect a.example:80", "10.0.0.1", "allowed"},
		{"refused above", "to=10.0.0.0/8 refuse\nelse=direct", "connect a.example:80", "10.0.0.1", "refused by f:1"},
		{"refused above: other address", "to=10.0.0.0/8 refuse\nelse=direct", "connect a.example:80", "192.0.2.1", "allowed"},
		{"refused above: mapped", "to=10.0.0.0/8 refuse\nelse=direct", "connect a.example:80", "::ffff:10.0.0.1", "refused by f:1"},
		{"refused above: zone", "to=fe80::/10 refuse\nelse=direct", "connect a.example:80", "fe80::1%eth0", "refused by f:1"},
		{"refused above: other port", "to=10.0.0.0/8 port=22 refuse\nelse=direct", "connect a.example:80", "10.0.0.1", "allowed"},
		{"refused above: answer", "to=10.0.0.0/8 refuse\nelse=direct", "resolve a.example", "10.0.0.1", "refused by f:1"},
		{"refused below", "to=.example via=direct\nto=10.0.0.0/8 refuse", "connect a.example:80", "10.0.0.1", "allowed"},
		{"elsewhere above", "to=10.0.0.0/8 via=office\nelse=direct", "connect a.example:80", "10.0.0.1", "f:1 sends via office"},
		{"elsewhere first above", "to=10.0.0.0/8 via=office,direct\nelse=direct", "connect a.example:80", "10.0.0.1", "f:1 sends via office"},
		{"direct above", "to=10.0.0.0/8 via=direct\nelse=direct", "connect a.example:80", "10.0.0.1", "explicit"},
		{"direct below", "to=.example via=direct\nto=10.0.0.0/8 via=direct", "connect a.example:80", "10.0.0.1", "explicit"},
		{"direct below, for others", "to=.example via=direct\nuser=bob to=10.0.0.0/8 via=direct", "connect a.example:80", "10.0.0.1", "allowed"},
		{"direct below, refused between", "to=.example via=direct\nto=10.0.0.1 refuse\nto=10.0.0.0/8 via=direct", "connect a.example:80", "10.0.0.1", "allowed"},
		{"all addresses are not named", "to=0.0.0.0/0,* via=direct", "connect a.example:80", "10.0.0.1", "allowed"},
		{"asked by address", "to=10.0.0.0/8 via=direct", "connect 10.0.0.1:80", "10.0.0.1", "explicit"},
		{"asked by address, by default", "else=direct", "connect 10.0.0.1:80", "10.0.0.1", "allowed"},
		{"ptr", "to=10.0.0.0/8 via=direct", "resolve-ptr 10.0.0.1", "10.0.0.1", "explicit"},
		{"refused anyway", "refuse=why", "connect a.example:80", "10.0.0.1", "refused by f:1: why"},
		{"any destination above does not hide", "user=bob refuse\nto=10.0.0.0/8 refuse\nelse=direct", "connect a.example:80", "10.0.0.1", "refused by f:2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			listener, r := request(t, test.request)
			d := set(t, test.rules).Decide(listener, r)
			explicit, err := d.Judge(netip.MustParseAddr(test.ip))
			got := "allowed"
			if explicit {
				got = "explicit"
			}
			if err != nil {
				if got = err.Error(); explicit || !errors.Is(err, socks.NotAllowed) {
					t.Errorf("explicit = %v with %v", explicit, err)
				}
				if strings.Contains(got, test.ip) {
					t.Errorf("%s: the error names the address", got)
				}
			}
			if !strings.Contains(got, test.want) {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
	var zero Decision
	if _, err := zero.Judge(netip.MustParseAddr("192.0.2.1")); !errors.Is(err, socks.NotAllowed) {
		t.Errorf("zero Decision: %v", err)
	}
}

func TestZeroSetRefuses(t *testing.T) {
	t.Parallel()
	_, r := request(t, "connect a.example:80")
	var s Set
	d := s.Decide("lan", r)
	trail := d.Explain("")
	if !errors.Is(d.Err, socks.NotAllowed) || len(d.Via) > 0 || len(trail) != 1 {
		t.Errorf("got %v, %v, %q", d.Via, d.Err, trail)
	}
	if got := s.Proof(); len(got) != 1 || s.Problems() != nil || s.Kind("direct") != 0 {
		t.Errorf("got %q", got)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	at := Pos{File: "f", Line: 7}
	for want, spec := range map[string]Spec{
		"f:7: a rule has a via or refuses": {Rules: []Rule{{At: at}}},
		"one of both":                      {Rules: []Rule{{At: at, Refuse: true, Via: []string{"tor"}}}, Egresses: kinds},
		`f:7: there is no egress "tor"`:    {Rules: []Rule{{At: at, Via: []string{"tor"}}}},
		`f:7: there is no egress "x"`:      {Default: []string{"tor", "x"}, DefaultAt: at, Egresses: kinds},
	} {
		if _, err := New(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestParseDest(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"*": "*", "Example.ORG.": "example.org", ".Example.org": ".example.org", "10.0.0.0/8": "10.0.0.0/8",
		"192.0.2.1": "192.0.2.1", "2001:DB8::1": "2001:db8::1", "[2001:db8::1]": "2001:db8::1",
		"192.0.2.1/32": "192.0.2.1", "::ffff:10.0.0.0/104": "10.0.0.0/8", "::ffff:192.0.2.1": "192.0.2.1",
		"0.0.0.0/0": "0.0.0.0/0", "_dns.example": "", "a_b.example": "a_b.example",
		"": "", ".": "", "..": "", "*.example.org": "", "example.org:80": "", "https://example.org/": "",
		"10.0.0.1/8": "", "10.0.0.0/33": "", ".10.0.0.1": "", "a b": "", "fe80::1%eth0": "", "example..org": "",
		strings.Repeat("a.", 200): "",
	} {
		d, err := ParseDest(text)
		if got := ""; (err == nil) != (want != "") {
			t.Errorf("%q: %v", text, err)
		} else if err == nil {
			if got = d.String(); got != want {
				t.Errorf("%q: got %q, want %q", text, got, want)
			}
			if again, err := ParseDest(got); err != nil || again != d {
				t.Errorf("%q: %q does not parse as it was: %v", text, got, err)
			}
		}
	}
}

func TestParsePorts(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"80": "80", "8000-8999": "8000-8999", "7-7": "7", "1-65535": "1-65535",
		"": "", "0": "", "65536": "", "0-1": "", "9-8": "", "-": "", "80-": "", "-80": "", "http": "", "+80": "", "80 ": "", "1-2-3": "",
	} {
		p, err := ParsePorts(text)
		if (err == nil) != (want != "") || err == nil && p.String() != want {
			t.Errorf("%q: got %v, %v", text, p, err)
		}
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	s := set(t, `by=dmz via=tor
		from=192.168.1.0/24,10.0.0.9 via=tor
		user=alice via=tor
		do=resolve,bind via=tor
		port=25,8000-8999 via=tor
		to=10.0.0.0/8 refuse
		to=.example.net,*,example.com port=443 via=tor
		to=a.example,b.example,c.example,d.example,e.example,f.example via=tor
		to=www.example.org refuse=private
		to=.onion via=office,tor
		else=direct,office,tor`)
	for request0, want := range map[string]string{
		"connect www.example.org:80 from=192.168.2.1 user=bob": `f:1: no match: listener lan is not dmz
f:2: no match: client 192.168.2.1 is not in 192.168.1.0/24 or 10.0.0.9
f:3: no match: user bob is not alice
f:4: no match: command CONNECT is not RESOLVE or BIND
f:5: no match: port 80 is not 25 or 8000-8999
f:6: no match: www.example.org is a name, and is not looked up to compare it with 10.0.0.0/8
f:7: no match: port 80 is not 443
f:8: no match: www.example.org is not a.example, b.example, c.example, d.example or one of 2 others
f:9: matches: refused by f:9: private`,
		"resolve-ptr 192.0.2.1": `f:2: no match: a client on a Unix socket has no address
f:3: no match: the client is not authenticated as alice
f:5: no match: RESOLVE_PTR has no port
f:6: no match: 192.0.2.1 is not in 10.0.0.0/8
f:9: no match: 192.0.2.1 is an address, and www.example.org is about names
f:99: no rule matched; default: via direct, then office, then tor
direct: this host asks for the name of the address`,
		"connect b.test:80": `f:99: no rule matched; default: via direct, then office, then tor
direct: this host looks the name up, and asks f:6 about each address found
office: the name is sent to the proxy, which looks it up
tor: the name travels through Tor and is looked up at the exit`,
		"connect " + someOnion + ":80": `f:10: matches: via tor (the others are not Tor, and get no .onion name)
tor: Tor finds the onion service; there is no lookup`,
	} {
		listener, r := request(t, request0)
		d := s.Decide(listener, r)
		trail, hidden := d.Explain(""), d.Explain("[hidden]")
		text := strings.Join(hidden, "\n")
		for _, secret := range []string{r.Addr.Host(), r.Client.Addr().String(), "port 80 "} {
			if strings.Contains(text, secret) || len(hidden) != len(trail) || !strings.Contains(text, "[hidden]") && len(trail) > 2 {
				t.Errorf("%s: %q is not hidden in\n%s", request0, secret, text)
			}
		}
		for line := range strings.SplitSeq(want, "\n") {
			if !slices.Contains(trail, line) {
				t.Errorf("%s: the trail lacks\n%s\nin\n%s", request0, line, strings.Join(trail, "\n"))
			}
		}
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, rules, want string }{
		{"none", "to=a.example via=tor\nto=.example via=office\nrefuse", ""},
		{"same", "to=a.example via=tor\nto=a.example via=office", "f:2: this rule can never match: f:1 matches all"},
		{"behind everything", "via=tor\nto=a.example refuse", "f:2: this rule can never match: f:1 matches"},
		{"suffix", "to=.example via=tor\nto=a.example,b.c.example via=office", "f:2: this"},
		{"suffix itself", "to=.example via=tor\nto=example via=office", "f:2: this"},
		{"suffix below", "to=.example via=tor\nto=.a.example via=office", "f:2: this"},
		{"suffix above", "to=.a.example via=tor\nto=.example via=office", ""},
		{"star", "to=* via=tor\nto=a.example,.org,* via=office", "f:2: this"},
		{"star and addresses", "to=* via=tor\nto=a.example,10.0.0.0/8 via=office", ""},
		{"each by another", "to=a.example via=tor\nto=10.0.0.0/8 refuse\nto=10.1.0.0/16,a.example via=office", "f:3: this rule can never match: f:1 and f:2 match all"},
		{"prefix", "to=10.0.0.0/8 via=tor\nto=10.1.0.0/16,10.0.0.1 via=office", "f:2: this"},
		{"prefix above, same beginning", "to=10.0.0.0/16 via=tor\nto=10.0.0.0/8 via=office", ""},
		{"prefix above", "to=10.1.0.0/16 via=tor\nto=10.0.0.0/8 via=office", ""},
		{"client", "from=10.0.0.0/8 via=tor\nfrom=10.1.0.0/16 via=office", "f:2: this"},
		{"client wider", "from=10.1.0.0/16 via=tor\nfrom=10.0.0.0/8 via=office", ""},
		{"client, then any", "from=10.1.0.0/16 via=tor\nvia=office", ""},
		{"ports", "port=1-10,11-20 via=tor\nport=5-15 via=office", "f:2: this"},
		{"ports with a gap", "port=1-10,12-20 via=tor\nport=5-15 via=office", ""},
		{"all ports are not resolve", "port=1-65535 via=tor\nvia=office", ""},
		{"user", "user=a,b via=tor\nuser=a via=office", "f:2: this"},
		{"user more", "user=a via=tor\nuser=a,b via=office", ""},
		{"listener", "via=tor by=a,b\nby=b via=office", "f:2: this"},
		{"command", "do=connect,bind via=tor\ndo=connect via=office", "f:2: this"},
		{"ptr of names", "do=resolve-ptr to=*,.example via=tor", "f:1: this rule can never match: resolve-ptr asks about an address"},
		{"ptr of addresses", "do=resolve-ptr to=*,10.0.0.0/8 via=tor", ""},
		{"port of resolve", "do=resolve,resolve-ptr port=80 via=tor", "f:1: this rule can never match: resolve and resolve-ptr have no port"},
		{"onion elsewhere", "to=.onion," + someOnion + " via=office,direct", "f:1: .onion names go to Tor alone"},
		{"onion among others", "to=.onion,.example via=office", ""},
		{"onion refused", "to=.onion refuse", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := ""
			for _, p := range set(t, test.rules).Problems() {
				got += p.Rule.At.String() + ": " + p.Text
			}
			if !strings.HasPrefix(got, test.want) || test.want == "" && got != "" {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestProof(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, rules, want string }{
		{
			"one tor", "else=tor", `.onion names reach Tor alone: f:99 via tor
no rule looks a name up to compare it; no name is looked up on this host
nothing connects from this host itself
requests that no rule matches go via tor (f:99)`,
		},
		{
			"everything", "to=10.0.0.0/8 via=direct\nto=.lan via=direct\nto=.onion via=tor,direct\nto=* via=office,direct\nelse=office",
			`.onion names reach Tor alone: f:3 via tor; refused by f:4 and f:99
no rule looks a name up to compare it; this host looks up the names that it connects to itself, by f:2 and f:4
this host itself connects by f:1, f:2 and f:4 (if the egresses before it fail), and by nothing else
requests that no rule matches go via office (f:99), but for .onion names, which are refused`,
		},
		{
			"no tor", "to=.lan via=office", `.onion names reach Tor alone: no rule leads them to a Tor, so all are refused
no rule looks a name up to compare it; no name is looked up on this host
nothing connects from this host itself
requests that no rule matches are refused`,
		},
	} {
		if got := strings.Join(set(t, test.rules).Proof(), "\n"); got != test.want {
			t.Errorf("%s: got\n%s\nwant\n%s", test.name, got, test.want)
		}
	}
}
