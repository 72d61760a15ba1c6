package config

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"hosier/internal/rules"
	"hosier/socks"
)

// Names of the tables in messages.
const (
	inTop      = "at the top of the file"
	inLog      = "in [log]"
	inLimits   = "in [limits]"
	inListener = "in [listener]"
	inEgress   = "in [egress]"
	inRule     = "in [[rule]]"
)

var (
	dialects       = []string{"socks4", "socks5", "connect"}
	isolationWords = []string{"listener", "client", "credentials", "destination", "port", "protocol"}
)

// draft is a Config whose names are not resolved yet.
type draft struct {
	config    Config
	listen    []address
	policy    Policy
	isolation *Isolation
	torrc     string
	via       []ref // if no rule matches
	egresses  []*egressTable
	rules     []*rule
	places    places // of the top
	log       places
	limits    places
}

// address is a listener of the short form.
type address struct {
	text string
	at   rules.Pos
}

// topKeys returns the names of the top's keys.
func topKeys() []string {
	var names []string
	for _, k := range new(reader).top(newDraft()) {
		names = append(names, k.name)
	}
	return names
}

func newDraft() *draft {
	return &draft{
		config: Config{Drain: 30 * time.Second},
		policy: Policy{Unsafe: UnsafeWarn, HandshakeTimeout: 10 * time.Second, ConnectTimeout: 150 * time.Second},
	}
}

// top returns the keys of the top of the file. The keys of listeners come after their
// defaults. Those of listeners come after their defaults.
func (r *reader) top(d *draft) []key {
	c := &d.config
	keys := []key{
		{"listen", r.addresses(&d.listen)},
		{"via", r.refs(&d.via)},
		{"dns", r.dns(&c.DNS)},
		{"dns-stale", r.duration(&c.DNSStale)},
		{"state-dir", r.directory(&c.StateDir)},
		{"torrc", r.path(&d.torrc)},
		{"drain", r.duration(&c.Drain)},
		{"reload-drain", r.either(&c.ReloadEnd, "keep", "now")},
		{"admin", r.admin(&c.Admin)},
		{"max-conns", r.number(&c.MaxConns)},
	}
	keys = append(keys, r.isolation(&d.isolation)...)
	keys = append(keys, r.policy(&d.policy)...)
	return append(keys,
		table("log", func(n *node) { d.log = r.read(n, inLog, r.log(&c.Log)) }),
		table("limits", func(n *node) { d.limits = r.read(n, inLimits, r.limits(&c.Limits)) }),
		table("egress", r.named("egress", func(name string, e *entry) { d.egresses = append(d.egresses, r.egress(name, e)) })),
		table("listener", r.named("listener", func(name string, e *entry) {
			c.Listeners = append(c.Listeners, r.listener(name, e, d.policy))
		})),
		table("rule", func(n *node) {
			if n.kind == aList {
				for _, item := range n.items {
					d.rules = append(d.rules, r.rule(item))
				}
			} else {
				r.fail(n.at, "a rule begins with [[rule]], in two brackets, since there may be several")
			}
		}),
	)
}

// table returns a key that has others below it.
func table(name string, read func(*node)) key { return key{name, field{read: read}} }

func (r *reader) addresses(to *[]address) field {
	return field{func(n *node) {
		*to = nil
		r.list(func(n *node) {
			if r.is(n, aText, `"127.0.0.1:1080"`) {
				*to = append(*to, address{n.text, n.at})
			}
		})(n)
	}, func() string { return joined(*to, func(a address) string { return a.text }) }}
}

// policy returns the keys that listeners have, and the top as their default.
func (r *reader) policy(p *Policy) []key {
	return []key{
		{"users", r.path(&p.Users)},
		{"allow-client", r.prefixes(&p.AllowClient)},
		{"dialects", r.words(&p.Dialects, dialects)},
		{"unsafe", field{
			r.word([]string{"allow", "warn", "refuse"}, func(w string) { p.Unsafe = Unsafe(w) }),
			func() string { return string(p.Unsafe) },
		}},
		{"dns-cache", field{
			r.word([]string{"shared", "user", "off"}, func(w string) { p.DNSCache = DNSCache(w) }),
			func() string { return string(p.DNSCache) },
		}},
		{"extended-errors", r.perhaps(&p.ExtendedErrors)},
		{"defer-accept", r.boolean(&p.DeferAccept)},
		{"handshake-timeout", r.wait(&p.HandshakeTimeout)},
		{"connect-timeout", r.wait(&p.ConnectTimeout)},
		{"idle-timeout", r.duration(&p.IdleTimeout)},
		{"total-timeout", r.duration(&p.TotalTimeout)},
	}
}

// perhaps reads a boolean that may be left unset.
func (r *reader) perhaps(to **bool) field {
	return field{func(n *node) {
		var b bool
		r.boolean(&b).read(n)
		*to = &b
	}, func() string {
		if *to == nil {
			return ""
		}
		return strconv.FormatBool(**to)
	}}
}

// isolation returns the keys isolate and no-isolate. Either one replaces both of the top.
// Whoever writes one of them says it all.
func (r *reader) isolation(to **Isolation) []key {
	words := func(part func(*Isolation) *[]string) field {
		return field{func(n *node) {
			if *to == nil {
				*to = &Isolation{}
			}
			r.words(part(*to), isolationWords).read(n)
		}, func() string {
			if *to == nil {
				return ""
			}
			return joined(*part(*to), itself)
		}}
	}
	return []key{
		{"isolate", words(func(i *Isolation) *[]string { return &i.Isolate })},
		{"no-isolate", words(func(i *Isolation) *[]string { return &i.NoIsolate })},
	}
}

func (r *reader) log(l *Log) []key {
	redact := !l.Reveal
	return []key{
		{"format", r.either(&l.JSON, "text", "json")},
		{"level", r.either(&l.Debug, "info", "debug")},
		{"redact", field{func(n *node) {
			r.boolean(&redact).read(n)
			l.Reveal = !redact
		}, func() string { return strconv.FormatBool(!l.Reveal) }}},
		{"connections", r.boolean(&l.Connections)},
	}
}

func (r *reader) limits(l *Limits) []key {
	return []key{
		{"conns-per-client", r.number(&l.ConnsPerClient)},
		{"conns-per-user", r.number(&l.ConnsPerUser)},
		{"new-conns-per-second", r.number(&l.NewConnsPerSecond)},
		{"bytes-per-second", r.size(&l.BytesPerSecond)},
	}
}

// named reads [what.NAME], each with its own table.
func (r *reader) named(what string, one func(name string, e *entry)) func(*node) {
	return func(n *node) {
		if !r.is(n, aTable, "["+what+".NAME], and its keys below") {
			return
		}
		for _, e := range n.entries {
			switch {
			case !isName(e.name):
				r.fail(e.at, "%s is not a valid NAME in [%s.NAME]; write 1 to 60 letters, digits, - and _", shown(e.name), what)
			case e.value.kind != aTable:
				r.fail(e.at, "%s is not a table; write [%s.NAME], and %[1]s below", e.name, what)
			default:
				one(e.name, e)
			}
		}
	}
}

func isName(s string) bool {
	return s != "" && len(s) <= 60 && strings.TrimLeft(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

func (r *reader) listener(name string, e *entry, def Policy) Listener {
	l := Listener{Name: name, At: e.at, Policy: def}
	l.places = r.read(e.value, inListener, r.listenerKeys(&l))
	if _, ok := l.places["listen"]; !ok {
		r.fail(e.at, `[listener.%s] has no address; write listen = "127.0.0.1:1080"`, name)
	}
	return l
}

func (r *reader) listenerKeys(l *Listener) []key {
	keys := []key{
		{"listen", textField(&l.Address, func(n *node) {
			if r.is(n, aText, `"127.0.0.1:1080", and another [listener.NAME] for another address`) {
				l.Address = r.checkAddress(n.text, n.at)
			}
		})},
		{"mode", r.mode(&l.Mode)},
		{"peer-users", r.boolean(&l.PeerUsers)},
		{"tls-cert", r.path(&l.TLSCert)},
		{"tls-key", r.path(&l.TLSKey)},
		{"tls-client-ca", r.path(&l.TLSClientCA)},
		{"proxy-protocol-from", r.prefixes(&l.ProxyFrom)},
		{"names", listOf(r, &l.Names, "gateway.lan", parseHostName, itself)},
	}
	keys = append(keys, r.isolation(&l.Isolation)...)
	return append(keys, r.policy(&l.Policy)...)
}

// parseHostName returns the host name in lower case, without the dot at its end.
func parseHostName(text string) (string, error) {
	ascii, err := rules.ToASCII(text)
	if err != nil {
		return "", err
	}
	a, err := socks.ParseHost(ascii)
	if err != nil || a.Name == "" {
		return "", errors.New(`write a host name such as "gateway.lan", without a port; addresses need not be listed`)
	}
	return strings.ToLower(strings.TrimSuffix(a.Name, ".")), nil
}

func (r *reader) mode(to *fs.FileMode) field {
	return field{func(n *node) {
		if !r.is(n, aText, `it in quotes, such as "0660"`) {
			return
		}
		m, err := strconv.ParseUint(n.text, 8, 32)
		if err != nil || m == 0 || m > 0o777 {
			r.fail(n.at, `%s is not a file mode; write one such as "0660": read and write for owner and group`, shown(n.text))
			return
		}
		*to = fs.FileMode(m)
	}, func() string {
		if *to == 0 {
			return ""
		}
		return fmt.Sprintf("%04o", uint32(*to))
	}}
}

func (r *reader) egress(name string, e *entry) *egressTable {
	w := &egressTable{name: name, at: e.at}
	w.places = r.read(e.value, inEgress, r.egressKeys(w))
	switch _, ok := w.places["via"]; {
	case name == "direct" || name == "tor":
		r.fail(e.at, "%s is a built-in egress; give this one another name", name)
	case !ok:
		r.fail(e.at, `[egress.%s] has no via; write via = "socks5://HOST:PORT", another egress, or a list of names`, name)
	}
	return w
}

func (r *reader) egressKeys(w *egressTable) []key {
	return append([]key{{"via", r.refs(&w.via)}, {"torrc", r.path(&w.torrc)}}, r.isolation(&w.isolation)...)
}
