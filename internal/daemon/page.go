package daemon

import (
	"slices"

	"hosier/internal/config"
	"hosier/internal/page"
	"hosier/internal/policy"
	"hosier/internal/rules"
	"hosier/proxy"
	"hosier/socks"
)

// page returns the page for lost HTTP clients of a listener.
func (g *generation) page(l *config.Listener, check *page.Check) *page.Page {
	own := &page.Page{Listener: g.pageListener(l), Check: check, Login: proxy.Login}
	if len(l.ProxyFrom) == 0 { // or the client is not who is connected
		own.Program = g.daemon.leaks.Program
	}
	return own
}

// pageListener returns the properties of a listener that pages show.
func (g *generation) pageListener(l *config.Listener) page.Listener {
	has := func(word string) bool { return len(l.Dialects) == 0 || slices.Contains(l.Dialects, word) }
	return page.Listener{
		Dialects: page.Dialects{SOCKS4: has("socks4"), SOCKS5: has("socks5"), CONNECT: has("connect")},
		Users:    l.Users != "",
		TLS:      l.TLSCert != "",
		Rules:    g.pageRules(l),
		Names:    l.Names,
	}
}

// pageRules are the rules as a browser can follow them. What leads to direct goes past the
// proxy where that is the same: for programs of this host, with this host's DNS server.
func (g *generation) pageRules(l *config.Listener) (all []page.Rule) {
	local := policy.IsLocal(l.Address) && len(l.ProxyFrom) == 0 && len(g.config.DNS) == 0
	for _, r := range g.config.Rules.Rules() {
		if len(r.Listeners) > 0 && !slices.Contains(r.Listeners, l.Name) ||
			len(r.Commands) > 0 && !slices.Contains(r.Commands, socks.Connect) {
			continue
		}
		isDirect := len(r.Via) > 0 && !slices.ContainsFunc(r.Via, func(name string) bool {
			return g.config.Rules.Kind(name) != rules.Direct
		})
		depends := len(r.Clients) > 0 || len(r.Users) > 0 || len(r.Ports) > 0
		one := page.Rule{Direct: local && isDirect && !depends}
		for _, to := range r.To {
			one.To = append(one.To, to.String())
		}
		all = append(all, one)
	}
	return all
}
