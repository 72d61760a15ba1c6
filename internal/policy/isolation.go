package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"hosier/egress/tor"
	"hosier/internal/config"
	"hosier/internal/fair"
	"hosier/socks"
)

// IsolationOf returns the isolation that the words of isolate and no-isolate ask for.
func IsolationOf(words config.Isolation) (i tor.Isolation, err error) {
	set := func(key string, list []string, on bool) error {
		for _, w := range list {
			switch w {
			case "listener":
				i.NoListener = !on
			case "client":
				i.NoClient = !on
			case "credentials":
				i.NoAuth = !on
			case "destination":
				i.Destination = on
			case "port":
				i.Port = on
			case "protocol":
				i.Protocol = on
			default:
				return fmt.Errorf("%s %s: the words are listener, client, credentials, destination, port, protocol", key, w)
			}
			if !on && slices.Contains(words.Isolate, w) {
				return fmt.Errorf("isolate %s and no-isolate %[1]s: choose one", w)
			}
		}
		return nil
	}
	if err := set("isolate", words.Isolate, true); err != nil {
		return i, err
	}
	return i, set("no-isolate", words.NoIsolate, false)
}

// intoTor records what keeps the request apart from others in Tor, and which tor it has.
func (l *Listener) intoTor(r *socks.Request, out *config.Egress, s State, t *Trace) {
	words := out.Isolation
	if l.Isolation != nil {
		words = *l.Isolation
	}
	i, err := IsolationOf(words)
	if t == nil || err != nil { // which no configuration in force has
		return
	}
	apart := strings.Join(isolationWords(i, r, t), ", ")
	member, key := l.member(i, r, out, s)
	if key != "" {
		apart += " (key " + key[:shownKey] + "…)"
	}
	t.add("isolation", "%s", apart)
	t.add("member", "%s", member)
}

// shownKey is how much of an isolation key is shown: enough to see whether two are equal, and
// not enough to be taken by a tor for the whole.
const shownKey = 8

// networkOf is what isolates a client: its address, or of IPv6 its network.
func networkOf(client netip.Addr) string {
	if network := fair.Client(client); network != client.Unmap().WithZone("") {
		return network.String() + "/64"
	}
	return client.String()
}

// isolationWords are what keeps the request from sharing a circuit.
func isolationWords(i tor.Isolation, r *socks.Request, t *Trace) (words []string) {
	add := func(on bool, format string, args ...any) {
		if on {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	add(!i.NoListener, "listener %s", r.Listener)
	add(!i.NoClient && r.Client.IsValid(), "client %s", t.show(networkOf(r.Client.Addr())))
	add(!i.NoClient && r.User != "", "user %s", r.User)
	add(!i.NoAuth, "credentials")
	add(i.Destination, "destination %s", t.show(r.Addr.Host()))
	add(i.Port, "port %s", t.show(r.Addr.Port))
	add(i.Protocol, "protocol %v", r.Version)
	if len(words) == 0 {
		words = []string{"nothing: it may share a circuit with everybody"}
	}
	return words
}

// member returns in words which tor the request has for its own, and its isolation key. Where
// that cannot be known the key is "", and the text says which tors it may be.
func (l *Listener) member(i tor.Isolation, r *socks.Request, out *config.Egress, s State) (text, key string) {
	p, err := s.Pool(out)
	if err == nil {
		err = l.unknownKey(i, r)
	}
	names := strings.TrimPrefix(p.String(), "tor ")
	if err != nil && len(p.Members) > 1 {
		return fmt.Sprintf("one of %s, chosen by the isolation key; %v", names, err), ""
	}
	if len(p.Members) == 0 {
		return "the tor that runs here", ""
	}
	text, key = (&tor.Isolated{Pool: p, Isolation: i}).Member(r)
	if err != nil {
		return text, ""
	}
	if len(p.Members) > 1 {
		text += fmt.Sprintf(", chosen by the isolation key out of %s; another one while it cannot serve", names)
	}
	return text, key
}

// unknownKey returns what of an isolation key nobody can know who only has the configuration.
func (l *Listener) unknownKey(i tor.Isolation, r *socks.Request) error {
	_, known := l.requestAddress()
	switch {
	case !i.NoListener && !known:
		return fmt.Errorf("which depends on where %s will be", l.Name)
	case !i.NoAuth && r.Auth.User != "" && r.Auth.Password == "" && !l.AsksPassword():
		return fmt.Errorf("which depends on the password that comes with %q", r.Auth.User)
	}
	return nil
}
