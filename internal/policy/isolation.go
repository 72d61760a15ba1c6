package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"hosier/egress/tor"
	"hosier/internal/config"
	"hosier/internal/fair"
	"hosier/socks"
)

// IsolationOf returns the isolation that the keys isolate and no-isolate describe.
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

// intoTor records which properties isolate the request in Tor, and which tor it gets.
func (l *Listener) intoTor(r *socks.Request, out *config.Egress, s State, t *Trace) {
	words := out.Isolation
	if l.Isolation != nil {
		words = *l.Isolation
	}
	i, err := IsolationOf(words)
	if t == nil || err != nil { // err: not in a checked configuration
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

// shownKey is how many digits of an isolation key are shown: enough to compare two keys,
// too few to send to a tor.
const shownKey = 8

// networkOf returns what isolates a client: its address, or its /64 if that is IPv6.
func networkOf(client netip.Addr) string {
	if network := fair.Client(client); network != client.Unmap().WithZone("") {
		return network.String() + "/64"
	}
	return client.String()
}

// isolationWords lists the properties that keep the request from sharing a circuit.
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
		words = []string{"none: it may share a circuit with any other request"}
	}
	return words
}

// member describes the tor that the request gets, and returns its isolation key. If that
// is not known the key is "", and the text lists the tors that it may be.
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

// unknownKey returns an error that names the part of the isolation key that the
// configuration alone does not determine.
func (l *Listener) unknownKey(i tor.Isolation, r *socks.Request) error {
	_, known := l.requestAddress()
	switch {
	case !i.NoListener && !known:
		return fmt.Errorf("which depends on where %s will be", l.Name)
	case !i.NoAuth && r.Version != socks.V4 && r.Auth.User != "" && r.Auth.Password == "" && !l.AsksPassword():
		return errors.New("which depends on the password that comes with the user name") // no log shows that name
	}
	return nil
}
