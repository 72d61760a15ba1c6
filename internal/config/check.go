package config

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"hosier/internal/rules"
	"hosier/resolver"
)

// draft builds a whole draft of the root, as far as mistakes allow.
func (r *reader) draft(root *node) *draft {
	d := newDraft()
	d.places = r.read(root, inTop, r.top(d))
	c := &d.config
	if r.options.Verbose {
		d.beVerbose()
	}
	r.shortListeners(d)
	for i := range c.Listeners {
		r.checkListener(&c.Listeners[i], c.Listeners[:i])
	}
	a := r.newEgressIndex(d)
	c.Rules = r.ruleSet(d, a)
	r.checkEgresses(d)
	r.checkTimes(d.policy, d.places)
	r.checkIsolation(d.isolation, d.places)
	for _, w := range d.egresses {
		r.checkIsolation(w.isolation, w.places)
	}
	r.checkLimits(d)
	return d
}

func (d *draft) beVerbose() {
	l, at := &d.config.Log, rules.Pos{File: "--verbose"}
	l.Connections, l.Reveal = true, true
	if d.log == nil {
		d.log = places{}
	}
	d.log["connections"], d.log["redact"] = at, at
}

// shortListeners adds the listeners of the short form, before those with a table.
func (r *reader) shortListeners(d *draft) {
	c := &d.config
	if len(d.listen) == 0 && len(c.Listeners) == 0 {
		d.listen = []address{{"127.0.0.1:1080", rules.Pos{File: "default"}}}
	}
	var short []Listener
	for _, one := range d.listen {
		text := r.checkAddress(one.text, one.at)
		short = append(short, Listener{Name: one.text, At: one.at, Address: text, Policy: d.policy, places: places{}})
	}
	c.Listeners = append(short, c.Listeners...)
}

// maxPath is the length of the longest path of a Unix socket on this system, in bytes.
const maxPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// checkAddress returns an address that can be listened on without a lookup; "" after a
// mistake.
func (r *reader) checkAddress(text string, at rules.Pos) string {
	const fix = `write host:port such as "127.0.0.1:1080", "unix:/path", or "systemd:NAME"`
	kind, rest, ok := strings.Cut(text, ":")
	switch {
	case !ok:
		r.fail(at, "%s is not an address; %s", shown(text), fix)
	case strings.HasPrefix(rest, "//"):
		r.fail(at, "%s: a URL is for via; %s", shown(text), fix)
	case kind == "unix" && !strings.HasPrefix(rest, "/"):
		r.fail(at, `%s: write the whole path, such as "unix:/run/hosier/socks.sock"`, shown(text))
	case kind == "systemd" && (rest == "" || strings.ContainsAny(rest, ":/ ")):
		r.fail(at, "%s: after systemd: write the FileDescriptorName= of the socket unit", shown(text))
	case kind == "unix" && len(rest) > maxPath:
		r.fail(at, "the path of a Unix socket has at most %d bytes, and %s has %d; choose a shorter one", maxPath, shown(rest), len(rest))
	case kind == "unix" || kind == "systemd":
		return text
	default:
		return r.checkTCP(text, at, fix)
	}
	return ""
}

func (r *reader) checkTCP(text string, at rules.Pos, fix string) string {
	i := strings.LastIndexByte(text, ':')
	host, port := text[:i], text[i+1:]
	_, err := netip.ParseAddrPort(text)
	n, perr := strconv.ParseUint(port, 10, 16)
	switch {
	case perr != nil:
		r.fail(at, "%s: the port is not a number from 0 to 65535; %s", shown(text), fix)
	case err == nil, host == "", host == "localhost":
		return host + ":" + strconv.FormatUint(n, 10)
	case strings.Contains(host, ":"):
		r.fail(at, `%s: put an IPv6 address in brackets before its port, such as "[::1]:1080"`, shown(text))
	default:
		r.fail(at, "%s: a name would have to be looked up; write an address of this host, or localhost", shown(text))
	}
	return ""
}

// isBeyondLoopback reports whether other hosts can reach an address; for systemd's
// sockets that is not known.
func isBeyondLoopback(address string) bool {
	if address == "" || strings.HasPrefix(address, "unix:") || strings.HasPrefix(address, "systemd:") ||
		strings.HasPrefix(address, "localhost:") {
		return false
	}
	ap, err := netip.ParseAddrPort(address)
	return err != nil || !ap.Addr().Unmap().IsLoopback()
}

func (r *reader) checkListener(l *Listener, before []Listener) {
	at := l.At
	if p, ok := l.places["listen"]; ok {
		at = p
	}
	for i := range before {
		if b := &before[i]; l.Address != "" && b.Address == l.Address && !strings.HasSuffix(l.Address, ":0") {
			r.fail(at, "%s is already used by line %d; remove one, or take another address", l.Address, b.At.Line)
		}
	}
	if isBeyondLoopback(l.Address) && !l.IsGuarded() {
		r.fail(at, "other hosts could reach %s, and anyone there could use it; name the clients that may with allow-client, "+
			"or have them log in with users or tls-client-ca, or listen on 127.0.0.1", l.Address)
	}
	r.checkSocket(l)
	r.checkTLS(l)
	if l.Users != "" && slices.Equal(l.Dialects, []string{"socks4"}) {
		r.fail(r.place(l, "dialects"), "SOCKS4 has no passwords, so no client could use this listener; "+
			`add a dialect, or write users = ""`)
	}
	r.checkTimes(l.Policy, l.places)
	r.checkIsolation(l.Isolation, l.places)
	r.checkFiles(l)
}

// checkFiles checks the files of a listener.
func (r *reader) checkFiles(l *Listener) {
	if _, known := r.users[l.Users]; l.Users != "" && !known && !r.unreadable[l.Users] && r.options.Users != nil {
		names, err := r.options.Users(l.Users)
		if many := Errors(nil); errors.As(err, &many) {
			r.errors = append(r.errors, many...)
		} else if err != nil {
			r.fail(r.place(l, "users"), "%v", err)
		}
		r.users[l.Users] = names
	}
	tls := l.TLSCert != "" && l.TLSKey != "" && !r.unreadable[l.TLSCert] && !r.unreadable[l.TLSKey] && !r.unreadable[l.TLSClientCA]
	if tls && r.options.TLS != nil {
		if err := r.options.TLS(l.TLSCert, l.TLSKey, l.TLSClientCA); err != nil {
			r.fail(r.place(l, "tls-cert"), "%v", err)
		}
	}
}

// place returns the position of a key of l, or of l itself if the value is a default.
func (r *reader) place(l *Listener, key string) rules.Pos {
	if at, ok := l.places[key]; ok {
		return at
	}
	return l.At
}

// checkSocket checks keys that only some kinds of sockets have.
func (r *reader) checkSocket(l *Listener) {
	if l.Address == "" {
		return
	}
	unix, systemd := strings.HasPrefix(l.Address, "unix:"), strings.HasPrefix(l.Address, "systemd:")
	if at, ok := l.places["mode"]; ok && systemd {
		r.fail(at, "systemd sets the mode of its sockets (SocketMode=); remove mode here")
	} else if ok && !unix {
		r.fail(at, "only a Unix socket has a mode; remove it, or listen on unix:/path")
	}
	if l.PeerUsers && !unix && !systemd {
		r.fail(r.place(l, "peer-users"), "only a Unix socket identifies its peer; remove peer-users, or listen on unix:/path")
	}
	if len(l.Names) > 0 && unix {
		r.fail(r.place(l, "names"), "a Unix socket is not reached by a host name; remove names, or listen on host:port")
	}
	if len(l.ProxyFrom) > 0 && unix {
		r.fail(r.place(l, "proxy-protocol-from"), "the peers of a Unix socket have no addresses; remove proxy-protocol-from, or listen on host:port")
	}
}

func (r *reader) checkTLS(l *Listener) {
	switch {
	case l.TLSCert != "" && l.TLSKey == "":
		r.fail(r.place(l, "tls-cert"), "tls-cert needs tls-key, the file of its private key")
	case l.TLSCert == "" && l.TLSKey != "":
		r.fail(r.place(l, "tls-key"), "tls-key needs tls-cert, the file of its certificate")
	case l.TLSCert == "" && l.TLSClientCA != "":
		r.fail(r.place(l, "tls-client-ca"), "client certificates need TLS; add tls-cert and tls-key")
	}
}

// checkTimes reports timeouts that never expire because another ends the connection
// first, at the position of one that is written. It tells where one of both is written.
func (r *reader) checkTimes(p Policy, at places) {
	if p.TotalTimeout == 0 {
		return
	}
	total, ok := at["total-timeout"]
	for _, one := range []struct {
		key   string
		wrong bool
	}{
		{"idle-timeout", p.IdleTimeout > p.TotalTimeout},
		{"handshake-timeout", p.HandshakeTimeout > p.TotalTimeout},
	} {
		place, here := at[one.key]
		if !here {
			place = total
		}
		if one.wrong && (here || ok) {
			r.fail(place, "%s is longer than total-timeout, which ends the connection first; shorten one or lengthen the other", one.key)
		}
	}
}

func (r *reader) checkIsolation(i *Isolation, at places) {
	if i == nil {
		return
	}
	for _, w := range i.NoIsolate {
		if slices.Contains(i.Isolate, w) {
			r.fail(at["no-isolate"], "%s is in isolate and in no-isolate; choose one", w)
		}
	}
}

// checkEgresses checks keys that only some kinds of egresses have, and that such an
// egress exists.
func (r *reader) checkEgresses(d *draft) {
	has := func(ok func(*Egress) bool) bool {
		for i := range d.config.Egresses {
			if ok(&d.config.Egresses[i]) {
				return true
			}
		}
		return false
	}
	if len(d.via)+len(d.rules) == 0 && len(d.egresses) > 0 {
		r.fail(d.egresses[0].at, "nothing leads to any [egress], so all requests would be refused; "+
			"write via = %q at the top of the file, or rules", d.egresses[0].name)
	}
	if len(r.errors) > 0 {
		return // an egress with a mistake could be the one
	}
	if r.file != "" && d.saysNothing() {
		r.fail(r.pos(0), "%s where requests go, and hosier connects directly only if that is written; "+
			`write via = "direct", "tor" or another egress at the top of the file`, d.silence())
		return
	}
	isDirect := func(e *Egress) bool { return e.Via.Kind() == rules.Direct }
	isTor := func(e *Egress) bool { return e.Via.Kind() == rules.Tor }
	isSpawned := func(e *Egress) bool { return spawns(e.Via) }
	for _, one := range []struct {
		key  string
		ok   bool
		text string
	}{
		{"dns", has(isDirect), "only direct looks names up on this host, and no egress is direct, so this server would never be asked; remove it"},
		{"dns-stale", has(isDirect), "only direct looks names up on this host, and no egress is direct, so no answer would be cached; remove it"},
		{"isolate", has(isTor), "only an egress through Tor has circuits, and there is none; remove it"},
		{"no-isolate", has(isTor), "only an egress through Tor has circuits, and there is none; remove it"},
		{"torrc", has(isSpawned), `it is for a tor that hosier starts, and there is none; write via = "tor+spawn://", or remove it`},
	} {
		if at, there := d.places[one.key]; there && !one.ok {
			r.fail(at, "%s: %s", one.key, one.text)
		}
	}
	for i := range d.config.Listeners {
		if l := &d.config.Listeners[i]; l.Isolation != nil && !has(isTor) {
			r.fail(l.At, "isolate and no-isolate of [listener.%s]: only an egress through Tor has circuits, and there is none; remove them", l.Name)
		}
	}
}

// saysNothing reports whether the file does not say where requests go.
func (d *draft) saysNothing() bool { return len(d.via)+len(d.egresses)+len(d.rules) == 0 }

// silence begins the message about a file that does not say where requests go. One
// without any key was most likely truncated, or never written. One without any key was
// most likely cut short, or never written.
func (d *draft) silence() string {
	for _, at := range d.places {
		if at.Line > 0 {
			return "the file does not say"
		}
	}
	return "the file is empty but for comments, so it does not say"
}

// checkLimits reports limits that another one makes void.
func (r *reader) checkLimits(d *draft) {
	l, most := d.config.Limits, d.config.MaxConns
	if most > 0 && l.ConnsPerClient > most {
		r.fail(d.limits["conns-per-client"], "%d for one client is more than max-conns, %d for all; lower it", l.ConnsPerClient, most)
	}
	if most > 0 && l.ConnsPerUser > most {
		r.fail(d.limits["conns-per-user"], "%d for one user is more than max-conns, %d for all; lower it", l.ConnsPerUser, most)
	}
	users := func(l Listener) bool { return l.HasUsers() }
	if l.ConnsPerUser > 0 && !slices.ContainsFunc(d.config.Listeners, users) {
		r.fail(d.limits["conns-per-user"], "no listener has users, so this has no effect; remove it, or add users")
	}
}

// dns reads one server or a list of them.
func (r *reader) dns(to *[]resolver.Server) field {
	return field{func(n *node) {
		*to = nil
		r.list(func(n *node) {
			if !r.is(n, aText, `"192.0.2.53"`) {
				return
			}
			server, err := resolver.ParseServer(n.text)
			if err != nil {
				r.fail(n.at, `%s: not a DNS server: %v; write an address such as "192.0.2.53", "192.0.2.53:5353" or "tls://192.0.2.53#dns.example"`, shown(n.text), err)
				return
			}
			*to = append(*to, server)
		})(n)
	}, func() string { return joined(*to, resolver.Server.String) }}
}

func (r *reader) admin(to *string) field {
	return textField(to, func(n *node) {
		if !r.is(n, aText, `"127.0.0.1:9180" or "unix:/run/hosier/admin.sock"`) {
			return
		}
		if strings.HasPrefix(n.text, "systemd:") {
			r.fail(n.at, "the admin listener is host:port or unix:/path")
			return
		}
		*to = r.checkAddress(n.text, n.at)
		if isBeyondLoopback(*to) {
			r.fail(n.at, "other hosts could reach %s, and the admin listener has no users; write 127.0.0.1:PORT or unix:/path", n.text)
		}
	})
}
