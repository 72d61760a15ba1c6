package rules

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hosier/socks"
)

// The worlds of the property tests are small, so that rules and requests meet often.
var (
	someNames     = []string{"example", "a.example", "b.a.example", "badexample", "A.Example.", "onion", someOnion, "x." + someOnion, "lan"}
	someDests     = append([]string{".example", ".a.example", ".onion", "*", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "0.0.0.0/0", "::/0", "fd00::/8"}, someNames...)
	someIPs       = []string{"10.1.2.3", "10.1.9.9", "10.9.9.9", "192.0.2.1", "::ffff:10.1.2.3", "fd00::1", "2001:db8::1", "fe80::1%eth0"}
	somePrefixes  = []string{"10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "::/0", "fe80::/10"}
	someUsers     = []string{"alice", "bob"}
	someListeners = []string{"lan", "dmz"}
	somePorts     = []string{"80", "443", "1-100", "101-443", "80-443", "1-65535"}
	someCommands  = []string{"connect", "bind", "associate", "resolve", "resolve-ptr"}
	someWays      = []string{"direct", "tor", "tor2", "office"}
)

// genRule draws a rule as the line that parseRule reads.
func genRule(t *rapid.T, label string) string {
	var fields []string
	add := func(key string, values []string) {
		if rapid.IntRange(0, 2).Draw(t, label+key+"?") == 0 {
			n := rapid.IntRange(1, 3).Draw(t, label+key+"#")
			list := rapid.SliceOfN(rapid.SampledFrom(values), n, n).Draw(t, label+key)
			fields = append(fields, key+"="+strings.Join(list, ","))
		}
	}
	add("from", somePrefixes)
	add("user", someUsers)
	add("by", someListeners)
	add("do", someCommands)
	add("port", somePorts)
	if rapid.IntRange(0, 5).Draw(t, label+"to?") > 0 {
		list := rapid.SliceOfN(rapid.SampledFrom(someDests), 1, 3).Draw(t, label+"to")
		fields = append(fields, "to="+strings.Join(list, ","))
	}
	if rapid.IntRange(0, 3).Draw(t, label+"refuse?") == 0 {
		return strings.Join(append(fields, "refuse"), " ")
	}
	list := rapid.SliceOfNDistinct(rapid.SampledFrom(someWays), 1, 3, rapid.ID).Draw(t, label+"via")
	return strings.Join(append(fields, "via="+strings.Join(list, ",")), " ")
}

func genRules(t *rapid.T) []string {
	n := rapid.IntRange(0, 6).Draw(t, "rules")
	lines := make([]string, n)
	for i := range lines {
		lines[i] = genRule(t, fmt.Sprintf("rule%d ", i))
	}
	if rapid.Bool().Draw(t, "else?") {
		list := rapid.SliceOfNDistinct(rapid.SampledFrom(someWays), 1, 2, rapid.ID).Draw(t, "else")
		lines = append(lines, "else="+strings.Join(list, ","))
	}
	return lines
}

func genRequest(t *rapid.T) (string, *socks.Request) {
	r := &socks.Request{Version: socks.V5}
	r.Command = commands[rapid.SampledFrom(someCommands).Draw(t, "command")]
	if rapid.Bool().Draw(t, "by name?") && r.Command != socks.ResolvePTR {
		r.Addr.Name = rapid.SampledFrom(someNames).Draw(t, "name")
	} else {
		r.Addr.IP = netip.MustParseAddr(rapid.SampledFrom(someIPs).Draw(t, "ip"))
	}
	r.Addr.Port = rapid.SampledFrom([]uint16{80, 443, 22, 101}).Draw(t, "port")
	r.User = rapid.SampledFrom(append([]string{""}, someUsers...)).Draw(t, "user")
	if rapid.Bool().Draw(t, "client?") {
		r.Client = netip.AddrPortFrom(netip.MustParseAddr(rapid.SampledFrom(someIPs).Draw(t, "client")), 5000)
	}
	return rapid.SampledFrom(someListeners).Draw(t, "listener"), r
}

// naive decides by the text of the rules, as slowly and plainly as it can be said. With an
// address it asks as if the client had named that beside the name.
func naive(lines []string, listener string, r *socks.Request, name string, ip netip.Addr) (at int, via []string) {
	for i, line := range lines {
		if list, ok := strings.CutPrefix(line, "else="); ok {
			return i, strings.Split(list, ",")
		}
		ok := true
		for field := range strings.FieldsSeq(line) {
			key, value, _ := strings.Cut(field, "=")
			one := false
			for v := range strings.SplitSeq(value, ",") {
				switch key {
				case "from":
					one = one || naiveIn(v, r.Client.Addr())
				case "user":
					one = one || r.User == v
				case "by":
					one = one || listener == v
				case "do":
					one = one || commands[v] == r.Command
				case "port":
					from, to, isRange := strings.Cut(v, "-")
					if !isRange {
						to = from
					}
					var a, b int
					fmt.Sscan(from, &a)
					fmt.Sscan(to, &b)
					lookup := r.Command == socks.Resolve || r.Command == socks.ResolvePTR
					one = one || !lookup && a <= int(r.Addr.Port) && int(r.Addr.Port) <= b
				case "to":
					one = one || naiveName(v, name) || naiveIn(v, ip)
				case "via":
					one, via = true, strings.Split(value, ",")
				case "refuse":
					one, via = true, nil
				}
			}
			ok = ok && one
		}
		if ok {
			return i, via
		}
	}
	return len(lines), nil
}

func naiveName(dest, name string) bool {
	dest, name = strings.TrimSuffix(strings.ToLower(dest), "."), strings.TrimSuffix(strings.ToLower(name), ".")
	return name != "" && (dest == "*" || dest == name || dest[0] == '.' && strings.HasSuffix("."+name, dest))
}

func naiveIn(dest string, ip netip.Addr) bool {
	p, err := netip.ParsePrefix(dest)
	if one, e := netip.ParseAddr(dest); e == nil {
		p, err = one.Prefix(one.BitLen())
	}
	return err == nil && ip.IsValid() && p.Contains(ip.Unmap().WithZone(""))
}

func isTorWay(way string) bool { return strings.HasPrefix(way, "tor") }

func TestDecideAgreesWithReference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		lines := genRules(t)
		listener, r := genRequest(t)
		at, via := naive(lines, listener, r, r.Addr.Name, r.Addr.IP)
		onion := strings.HasSuffix("."+strings.TrimSuffix(r.Addr.Name, "."), ".onion")
		if onion {
			via = slices.DeleteFunc(via, func(w string) bool { return !isTorWay(w) })
		}
		d := setOf(t, lines).Decide(listener, r)
		if d.at != at || !slices.Equal(d.Via, via) || (d.Err != nil) != (len(via) == 0) {
			t.Fatalf("got rule %d, %v, %v; the reference says %d, %v", d.at, d.Via, d.Err, at, via)
		}
		if onion && slices.ContainsFunc(d.Via, func(w string) bool { return !isTorWay(w) }) {
			t.Fatalf("an onion name goes via %v", d.Via)
		}

		ip := netip.MustParseAddr(rapid.SampledFrom(someIPs).Draw(t, "dialled"))
		explicit, err := d.Judge(ip)
		first, firstVia := naive(lines, listener, r, r.Addr.Name, ip)
		if r.Addr.IP.IsValid() {
			first, firstVia = naive(lines, listener, r, "", ip)
		}
		want := len(via) > 0 && (first >= at || len(firstVia) > 0 && firstVia[0] == "direct")
		if (err == nil) != want || err != nil && explicit {
			t.Fatalf("Judge says %v, %v; the reference says %v by rule %d", explicit, err, want, first)
		}
		if err != nil && d.Err == nil && !errors.Is(err, socks.NotAllowed) {
			t.Fatalf("Judge says %v", err)
		}
		alone, aloneVia := naive(lines, listener, r, "", ip)
		wantExplicit := want && len(aloneVia) > 0 && aloneVia[0] == "direct" && naiveNames(lines[alone], ip)
		if explicit != wantExplicit {
			t.Fatalf("Judge says explicit %v; the reference says %v by rule %d", explicit, wantExplicit, alone)
		}
	})
}

// naiveNames reports whether the rule names the address, by less than all there are.
func naiveNames(line string, ip netip.Addr) bool {
	_, list, ok := strings.Cut(" "+line, " to=")
	list, _, _ = strings.Cut(list, " ")
	return ok && slices.ContainsFunc(strings.Split(list, ","), func(dest string) bool {
		return !strings.HasSuffix(dest, "/0") && naiveIn(dest, ip)
	})
}

func setOf(t *rapid.T, lines []string) *Set {
	spec := Spec{Egresses: kinds, DefaultAt: Pos{File: "f", Line: 99}}
	for i, line := range lines {
		if list, ok := strings.CutPrefix(line, "else="); ok {
			spec.Default = strings.Split(list, ",")
			continue
		}
		r, err := parseRule(i+1, line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		spec.Rules = append(spec.Rules, r)
	}
	s, err := New(spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What a request may reach: each egress, and through direct each address, as named or not.
func access(s *Set, listener string, r *socks.Request) map[string]bool {
	all := map[string]bool{}
	d := s.Decide(listener, r)
	for _, name := range d.Via {
		all[name] = true
		for _, ip := range someIPs {
			if explicit, err := d.Judge(netip.MustParseAddr(ip)); name == "direct" && err == nil {
				all["direct to "+ip] = true
				all["direct to private "+ip] = explicit
			}
		}
	}
	return all
}

func TestRefusalAtTheTopNeverWidens(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		lines := genRules(t)
		listener, r := genRequest(t)
		top := genRule(t, "top ")
		top = top[:max(strings.LastIndex(top, "via="), strings.LastIndex(top, "refuse"))] + "refuse"
		before := access(setOf(t, lines), listener, r)
		for what, can := range access(setOf(t, append([]string{top}, lines...)), listener, r) {
			if can && !before[what] {
				t.Fatalf("with %s at the top the request may reach %s", top, what)
			}
		}
	})
}

// A rule that Problems accuses decides nothing, neither a request nor an address.
func TestProblemsAccuseNobodyWrongly(t *testing.T) {
	t.Parallel()
	accused := 0
	rapid.Check(t, func(t *rapid.T) {
		lines := genRules(t)
		s := setOf(t, lines)
		for _, p := range s.Problems() {
			accused++
			for range 20 {
				listener, r := genRequest(t)
				d := s.Decide(listener, r)
				if p.Never && d.Rule == p.Rule {
					t.Fatalf("%v decides %v, and is accused: %s", p.Rule.At, r, p.Text)
				}
				if !p.Never && d.Rule == p.Rule && d.Err == nil {
					t.Fatalf("%v leads %v to %v, and is accused: %s", p.Rule.At, r, d.Via, p.Text)
				}
				q := newQuery(listener, r)
				q.name, q.ip = "", plain(netip.MustParseAddr(rapid.SampledFrom(someIPs).Draw(t, "dialled")))
				if at := s.index.first(&q); p.Never && s.outcomes[at].rule == p.Rule {
					t.Fatalf("%v judges %v, and is accused: %s", p.Rule.At, q.ip, p.Text)
				}
			}
		}
	})
	if accused < 10 {
		t.Errorf("only %d rules were accused: the test shows nothing", accused)
	}
}

// What Proof says of onion names and of this host, against requests.
func TestProofHolds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := setOf(t, genRules(t))
		proof := strings.Join(s.Proof(), "\n")
		listener, r := genRequest(t)
		d := s.Decide(listener, r)
		direct := slices.Contains(d.Via, "direct")
		switch {
		case direct && strings.Contains(proof, "nothing connects from this host"):
		case direct && r.Addr.Name != "" && strings.Contains(proof, "no name is looked up on this host"):
		case len(d.Via) > 0 && r.Addr.IsOnion() && strings.Contains(proof, "so all are refused"):
		case len(d.Via) > 0 && d.Rule == nil && strings.Contains(proof, "requests that no rule matches are refused"):
		default:
			return
		}
		t.Fatalf("%v goes via %v by %s, but\n%s", r, d.Via, d.Where, proof)
	})
}

// FuzzRules takes rules as the tests write them and a request; whatever they are, what
// parses decides as the reference does, onion names go to Tor, and what a rule says about
// itself parses again.
func FuzzRules(f *testing.F) {
	seeds, err := filepath.Glob("testdata/fuzz/FuzzRules/*")
	if err != nil || len(seeds) < 5 {
		f.Fatalf("%d seeds: %v", len(seeds), err)
	}
	f.Fuzz(func(t *testing.T, text, name, address, user string, command byte, port uint16) {
		var spec Spec
		spec.Egresses = kinds
		for line := range strings.SplitSeq(text, "\n") {
			r, err := parseRule(len(spec.Rules)+1, line)
			for _, d := range r.To {
				if d.kind == 0 {
					continue
				}
				if again, err := ParseDest(d.String()); err != nil || again != d {
					t.Errorf("%v parses as %v, %v", d, again, err)
				}
			}
			if err == nil && r.Refuse != (len(r.Via) > 0) {
				spec.Rules = append(spec.Rules, r)
			}
		}
		s, err := New(spec)
		if err != nil {
			return
		}
		r := &socks.Request{Version: socks.V5, Command: socks.Command(command), User: user}
		if r.Addr.IP, err = netip.ParseAddr(address); err != nil {
			if r.Addr, err = socks.ParseHost(name); err != nil {
				return
			}
		}
		r.Addr.Port = port
		d := s.Decide("lan", r)
		trail := d.Explain("")
		first := s.walk("lan", r)
		if d.at != first || len(trail) < d.at {
			t.Errorf("rule %d decides, but rule %d is the first to match; trail %q", d.at, first, trail)
		}
		if slices.ContainsFunc(d.Via, func(w string) bool { return r.Addr.IsOnion() && kinds[w] != Tor }) {
			t.Errorf("an onion name goes via %v", d.Via)
		}
		d.Judge(netip.MustParseAddr("10.1.2.3"))
		for _, p := range s.Problems() {
			if p.Never && p.Rule == d.Rule {
				t.Errorf("%v decides, and is accused: %s", p.Rule.At, p.Text)
			}
		}
		s.Proof()
	})
}

// walk looks at one rule after the other.
func (s *Set) walk(listener string, r *socks.Request) int {
	q := newQuery(listener, r)
	for i := range s.index.rules {
		rule := &s.index.rules[i]
		if rule.matches(&q) && (len(rule.To) == 0 || slices.ContainsFunc(rule.To, func(d Dest) bool {
			return d.prefix.IsValid() && d.prefix.Contains(q.ip) || d.kind != isAddress && naiveName(d.String(), q.name)
		})) {
			return i
		}
	}
	return len(s.index.rules)
}
