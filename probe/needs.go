package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"hosier/socks"
)

// need is something that a check cannot do without.
type need int

const (
	needTarget need = iota
	needIPv6
	needName
	needDNS
	needSOCKS4
	needSOCKS4A
	needSOCKS5
	needHTTP
	needResolve
	needResolve4
	needPTR
	needBind
	needUDP
	needPassword
	needAnyPassword
	needLogin
	needGuarded
	needAnonymous
)

// The needs of the checks of a login, as [Check.Needs] words them.
const (
	NeedsLogin = "a login (--user)"
	NeedsGuard = "a proxy that serves nobody without a login"
)

func (n need) String() string {
	return [...]string{
		"a target that the proxy reaches", "a target on IPv6", "a name that leads to the target (--name)",
		"probe's DNS server (--dns-listen)", "SOCKS4", "SOCKS4A", "SOCKS5", "HTTP CONNECT",
		"RESOLVE", "RESOLVE over SOCKS4A", "RESOLVE_PTR", "BIND", "UDP ASSOCIATE",
		"user name and password", "a proxy that believes every password", NeedsLogin,
		NeedsGuard, "a proxy that serves without a login",
	}[n]
}

// Why Run could not begin.
var (
	errLogin   = errors.New("it serves nobody without a login: give it with --user")
	errNoLogin = errors.New("it chose no login (00) where only user name and password (02) was offered: leave --user out")
	errTargets = errors.New("it connects to none of the targets")
)

// detect finds out which needs are met. It believes what the proxy claims: whether the
// claim holds is for the checks.
func (p *prober) detect(ctx context.Context) error {
	p.unmet = make(map[need]string)
	p.detectGiven()
	var mu sync.Mutex
	var all sync.WaitGroup
	var codes []string
	reached := false
	found := make(map[need]string)
	for n, f := range p.detectors() {
		all.Add(1)
		go func() {
			defer all.Done()
			r := p.exchange(ctx, 2*p.cfg.Timeout, f)
			mu.Lock()
			defer mu.Unlock()
			if r.Outcome != Passed {
				found[n] = r.Reason
			}
			if isDialect(n) {
				reached = reached || r.Outcome == Passed && r.Note == ""
				codes = append(codes, r.Note)
			}
		}()
	}
	all.Wait()
	for n, why := range found {
		if p.unmet[n] == "" {
			p.unmet[n] = why
		}
	}
	p.derive()
	for _, err := range []error{errLogin, errNoLogin} {
		if p.unmet[needSOCKS5] == err.Error() {
			return fmt.Errorf("proxy %s: %w", p.cfg.Proxy, err)
		}
	}
	if said := strings.Join(slices.DeleteFunc(codes, func(s string) bool { return s == "" }), ", "); !reached && said != "" {
		return fmt.Errorf("proxy %s: %w (%s): is the address of the targets, %v, forbidden there? --target names others",
			p.cfg.Proxy, errTargets, said, p.targets.host(false))
	}
	return nil
}

func isDialect(n need) bool {
	return n == needSOCKS4 || n == needSOCKS5 || n == needHTTP
}

// detectGiven looks at what the person gave.
func (p *prober) detectGiven() {
	host := p.targets.host(false)
	if !host.IsValid() {
		host = p.targets.host(true)
		p.unmet[needTarget] = "the targets have no IPv4 address"
	}
	if !p.targets.host(true).IsValid() {
		p.unmet[needIPv6] = "the targets have no IPv6 address"
	}
	if p.cfg.Login == nil {
		p.unmet[needLogin] = "no login was given (--user)"
	}
	if p.cfg.DNS == nil {
		p.unmet[needDNS] = "probe serves no DNS (--dns-listen, and point the proxy's resolver at it)"
	}
	p.unmet[needName] = fmt.Sprintf("no name leads to %v (--name HOST=%v)", host, host)
	for _, n := range p.cfg.Names {
		if n.IP == host {
			delete(p.unmet, needName)
		}
	}
}

// derive settles what follows from the rest.
func (p *prober) derive() {
	if p.cfg.DNS != nil && p.unmet[needDNS] == "" {
		delete(p.unmet, needName)
	}
	if why := p.unmet[needSOCKS5]; why != "" {
		for _, n := range []need{needResolve, needPTR, needBind, needUDP, needPassword, needAnyPassword, needIPv6} {
			p.unmet[n] = why
		}
	}
	if why := p.unmet[needSOCKS4]; why != "" {
		p.unmet[needSOCKS4A], p.unmet[needResolve4] = why, why
	}
	if why := p.unmet[needPassword]; why != "" {
		p.unmet[needAnyPassword] = why
	}
	if p.cfg.Login != nil {
		p.unmet[needAnonymous] = "a login was given"
	}
}

// detectors are one exchange a need. A note says that the proxy speaks the dialect, but
// refuses the target.
func (p *prober) detectors() map[need]func(*Exchange) {
	d := map[need]func(*Exchange){
		needSOCKS4:      detectSOCKS4,
		needSOCKS4A:     detectSOCKS4A,
		needSOCKS5:      detectSOCKS5,
		needHTTP:        detectHTTP,
		needIPv6:        detectIPv6,
		needResolve:     func(x *Exchange) { x.claims5(socks.Resolve, "RESOLVE") },
		needPTR:         func(x *Exchange) { x.claims5(socks.ResolvePTR, "RESOLVE_PTR") },
		needBind:        func(x *Exchange) { x.claims5(socks.Bind, "BIND") },
		needUDP:         func(x *Exchange) { x.claims5(socks.Associate, "UDP ASSOCIATE") },
		needResolve4:    detectResolve4,
		needPassword:    func(x *Exchange) { x.choosesPassword() },
		needAnyPassword: detectAnyPassword,
		needGuarded:     detectGuarded,
	}
	if p.cfg.DNS != nil {
		d[needDNS] = detectDNS
	}
	return d
}

// first reads what comes first, as far as it comes.
func (c *conn) first(n int) []byte {
	c.fill(n, c.x.soon())
	return c.rest("answer")
}

func detectSOCKS4(x *Exchange) {
	c := x.dial()
	t := x.target(silent)
	c.say("request", request4(socks.Connect, socks.AddrFrom(t.addr), "")...)
	b := c.first(8)
	switch {
	case len(b) < 2, isHTTP(b), b[1]>>4 != 5:
		x.fail("the proxy does not speak SOCKS4")
	case b[1] != 0x5A:
		x.note = fmt.Sprintf("SOCKS4 code %02X", b[1])
		x.fail("the proxy does not serve SOCKS4 (code %02X)", b[1])
	}
}

// detectSOCKS4A asks for nothing that would have to be looked up.
func detectSOCKS4A(x *Exchange) {
	c := x.dial()
	t := x.target(silent)
	c.say("request", request4(socks.Connect, socks.Addr{Name: t.addr.Addr().String(), Port: t.addr.Port()}, "")...)
	if b := c.first(8); len(b) >= 2 && b[1] == 0x5A {
		return
	}
	if x.p.unmet[needName] != "" && x.p.cfg.DNS == nil {
		x.fail("the proxy does not serve SOCKS4A with an address as the name, and there is no name")
	}
	c = x.dial()
	c.say("request", request4(socks.Connect, socks.Addr{Name: x.name(), Port: t.addr.Port()}, "")...)
	b := c.first(8)
	x.want(len(b) >= 2 && b[1] == 0x5A, "the proxy does not speak SOCKS4A")
}

// begin5 is enter for a proxy that may have no SOCKS5. Fair says that what it answered so
// far is not plainly wrong.
func (x *Exchange) begin5() (c *conn, fair bool) {
	c = x.dial()
	c.say("greeting", x.opening()[0]...)
	b := c.first(2)
	fair = len(b) == 2 && b[0] == 5 && b[1] == x.opening()[0][2].Bytes[0]
	switch {
	case len(b) < 2, isHTTP(b):
		x.fail("the proxy does not speak SOCKS5")
	case b[1] == 0 && x.p.cfg.Login != nil:
		x.fail("%v", errNoLogin)
	case b[1] == 0xFF && x.p.cfg.Login == nil:
		x.fail("%v", errLogin)
	case b[1] == 0xFF:
		x.fail("the proxy has no user name and password")
	}
	if x.p.cfg.Login != nil {
		c.say("password", x.opening()[1]...)
		b := c.first(2)
		x.want(len(b) == 2 && b[1] == 0, "the proxy refuses the login that was given")
	}
	return c, fair
}

func detectSOCKS5(x *Exchange) {
	c, fair := x.begin5()
	t := x.target(silent)
	c.say("request", request5(socks.Connect, socks.AddrFrom(t.addr))...)
	if b := c.first(10); fair && len(b) >= 2 && b[1] != 0 {
		x.note = fmt.Sprintf("SOCKS5 code %02X", b[1])
	}
}

func detectIPv6(x *Exchange) {
	c, _ := x.begin5()
	t := x.targetOf(silent, true)
	c.say("request", request5(socks.Connect, socks.AddrFrom(t.addr))...)
	b := c.first(10)
	x.want(len(b) >= 2 && b[1] == 0, "the proxy reaches no IPv6 target")
}

func detectHTTP(x *Exchange) {
	c := x.dial()
	t := x.target(silent)
	c.say("request", x.connectRequest(connectHTTP(), socks.AddrFrom(t.addr))...)
	b := c.first(16)
	if len(b) < 12 || string(b[:5]) != "HTTP/" || string(b[9:12]) == "501" || string(b[9:12]) == "405" {
		x.fail("the proxy does not speak HTTP CONNECT")
	}
	if b[9] != '2' {
		x.note = "HTTP code " + string(b[9:12])
	}
}

// claims5 reports whether the proxy says that it has the command. RESOLVE and RESOLVE_PTR
// are asked about addresses: of the first it is the answer, of the second the name may be
// missing, which is not to say that the command is.
func (x *Exchange) claims5(cmd socks.Command, what string) {
	c, _ := x.begin5()
	a := socks.Addr{IP: netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	if cmd == socks.Bind {
		a.Port = 9
	}
	c.say("request", request5(cmd, a)...)
	b := c.first(10)
	switch {
	case len(b) < 2:
		x.fail("the proxy does not answer %s", what)
	case cmd == socks.ResolvePTR && b[1] == 4:
	case b[1] != 0:
		x.fail("the proxy does not support %s (code %02X)", what, b[1])
	}
}

func detectResolve4(x *Exchange) {
	c := x.dial()
	c.say("request", request4(socks.Resolve, socks.Addr{IP: netip.AddrFrom4([4]byte{127, 0, 0, 1})}, "")...)
	b := c.first(8)
	x.want(len(b) >= 2 && b[1] == 0x5A, "the proxy does not support RESOLVE over SOCKS4")
}

func (x *Exchange) choosesPassword() *conn {
	c := x.dial()
	c.say("greeting", greeting(2)...)
	b := c.first(2)
	x.want(len(b) == 2 && b[1] == 2, "the proxy does not take user names and passwords")
	return c
}

func detectAnyPassword(x *Exchange) {
	c := x.choosesPassword()
	c.say("password", password(x.p.token(), x.p.token())...)
	b := c.first(2)
	x.want(len(b) == 2 && b[1] == 0, "the proxy judges passwords")
}

// detectGuarded is met where a login is known and clients without one are turned away.
func detectGuarded(x *Exchange) {
	if x.p.cfg.Login == nil {
		x.fail("no login was given (--user)")
	}
	c := x.dial()
	c.say("greeting", greeting(0)...)
	b := c.first(2)
	x.want(len(b) < 2 || b[1] == 0xFF, "the proxy serves clients without a login, too")
}

// detectDNS makes the proxy look a name up and sees whether the question arrives. Every
// dialect is tried at once, for the proxy may have but one.
func detectDNS(x *Exchange) {
	name := x.dnsName(records{a: []netip.Addr{x.p.targets.host(false)}})
	t := x.target(silent)
	a := socks.Addr{Name: name, Port: t.addr.Port()}
	c := x.dial()
	c.say("greeting", x.opening()[0]...)
	if b := c.first(2); len(b) == 2 && b[1] != 0xFF {
		if len(x.opening()) > 1 {
			c.say("password", x.opening()[1]...)
			c.first(2)
		}
		c.say("request", request5(socks.Connect, a)...)
	}
	for _, d := range []dialect{socks4a(), connectHTTP()} {
		c := x.dial()
		c.say("request", x.connectRequest(d, a)...)
	}
	for end := time.Now().Add(x.p.cfg.Timeout); len(x.p.cfg.DNS.seen(name)) == 0; {
		if !time.Now().Before(end) || !x.pause(5*time.Millisecond) {
			x.fail("the proxy never asked probe's DNS server, %s: point its resolver there", x.p.cfg.DNS.Addr())
		}
	}
}
