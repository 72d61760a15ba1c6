package resolver

import (
	"net/netip"
	"sync"
	"time"
)

// Targets are the addresses that a Dialer would try for a name, in that order.
type Targets struct {
	First netip.Addr // the first that Allow allows
	More  bool       // there are others, or may be: if First does not connect, Dial may
}

// Cached returns the targets of a name for which no server has to be asked; known is false
// if one would be. The error is that of Dial. network is tcp or tcp4. It does not wait, and
// allocates nothing for a name in lower case that has an address. It panics if d.Lookup is
// neither a View nor a *Resolver.
func (d Dialer) Cached(network, host string) (t Targets, err error, known bool) {
	v := d.view()
	v4, why4, known := v.cached(host, A)
	if !known {
		return t, nil, false
	}
	var v6 []netip.Addr
	why6 := why4
	if network != "tcp4" {
		if v6, why6, known = v.cached(host, AAAA); !known {
			return t, nil, false
		}
	}
	if len(v4)+len(v6) > 0 {
		t, err = d.targets(host, v4, v6)
		return t, err, true
	}
	if err = why4.err(host); isNotFound(err) {
		err = why6.err(host)
	}
	return t, err, true
}

// view returns the View that d looks names up in.
func (d Dialer) view() View {
	if r, ok := d.Lookup.(*Resolver); ok {
		return r.For("")
	}
	return d.Lookup.(View)
}

// targets orders addresses as a race does.
func (d Dialer) targets(host string, v4, v6 []netip.Addr) (t Targets, err error) {
	lists := [2][]netip.Addr{v6, v4}
	if d.Memory.prefersIPv4() {
		lists = [2][]netip.Addr{v4, v6}
	}
	best := d.Memory.get(host)
	for _, list := range lists {
		for _, ip := range list {
			refusal := error(nil)
			if d.Allow != nil {
				refusal = d.Allow(ip)
			}
			switch {
			case refusal != nil && err == nil:
				err = refusal
			case refusal != nil:
			case !t.First.IsValid():
				t.First = ip
			case ip == best:
				t.First, t.More = ip, true
			default:
				t.More = true
			}
		}
	}
	if t.First.IsValid() {
		err = nil
	}
	return t, err
}

// absence is why there is no address: what a server answered, or what is known without.
// An error made of it is not needed for most names.
type absence struct {
	entry *entry
	local error
}

func (a absence) err(host string) error {
	if a.entry == nil {
		return a.local
	}
	_, err := a.entry.answer(host, true)
	return err
}

func (v View) cached(host string, typ Type) (addrs []netip.Addr, why absence, known bool) {
	if a, err, known := v.local(host, typ); known {
		return a.Addrs, absence{local: err}, true
	}
	if v.noCache {
		return nil, why, false
	}
	e := v.find(host, typ)
	if e == nil {
		return nil, why, false
	}
	v.r.hits.Add(1)
	return e.addrs, absence{entry: e}, true
}

// find returns the entry that ends a search for host, if all that it comes by are cached.
func (v View) find(host string, typ Type) *entry {
	if len(v.r.Servers) > 0 {
		if name, ok := canonical(host); ok {
			return v.fresh(name, typ)
		}
		return nil
	}
	all := v.r.candidates(host)
	for i, name := range all {
		if e := v.fresh(name, typ); e == nil || !e.noName || i == len(all)-1 {
			return e
		}
	}
	return nil
}

// fresh returns the entry for a name, or nil where a server has to be asked.
func (v View) fresh(name string, typ Type) *entry {
	e := v.r.cache.get(key{question{name: name, typ: typ}, v.group})
	if e == nil || !time.Now().Before(e.expires) {
		return nil
	}
	return e
}

// Find looks a name up without waiting: it calls ready once, perhaps before it returns, and
// from any goroutine, with what Cached would return then. ready must not wait. After cancel
// it is perhaps not called. Find panics if d.Lookup is neither a View nor a *Resolver.
func (d Dialer) Find(network, host string, ready func(Targets, error)) (cancel func()) {
	types, err := typesOf(network)
	if err != nil {
		ready(Targets{}, err)
		return func() {}
	}
	f, v := &finder{Dialer: d, host: host, ready: ready, awaited: len(types)}, d.view()
	var cancels [2]func()
	for i, typ := range types {
		cancels[i] = v.Ask(host, typ, func(a Answer, err error) { f.found(family{a, typ, err}) })
	}
	return func() {
		for _, cancel := range cancels[:len(types)] {
			cancel()
		}
		f.mu.Lock()
		f.done = true
		f.mu.Unlock()
	}
}

// finder waits for the families of a name.
type finder struct {
	Dialer
	host  string
	ready func(Targets, error)

	mu      sync.Mutex
	awaited int
	v4, v6  []netip.Addr
	err     error
	done    bool
}

func (f *finder) found(got family) {
	f.mu.Lock()
	f.awaited--
	switch {
	case got.err != nil && (f.err == nil || isNotFound(f.err)):
		f.err = got.err
	case got.err != nil:
	case got.typ == A:
		f.v4 = got.Addrs
	default:
		f.v6 = got.Addrs
	}
	enough := f.awaited == 0 || got.settles() || len(f.v6) > 0
	f.mu.Unlock()
	switch {
	case enough:
		f.end()
	case got.err == nil: // IPv4 is there: RFC 8305 section 3
		time.AfterFunc(resolutionDelay, f.end)
	}
}

// end calls ready, unless the other family may still have what this one lacks.
func (f *finder) end() {
	f.mu.Lock()
	t, err := Targets{}, f.err
	if len(f.v4)+len(f.v6) > 0 {
		t, err = f.targets(f.host, f.v4, f.v6)
		t.More = t.More || f.awaited > 0
	}
	refused := err != nil && f.awaited > 0 && len(f.v4)+len(f.v6) > 0
	if f.done || refused {
		f.mu.Unlock()
		return
	}
	f.done = true
	f.mu.Unlock()
	f.ready(t, err)
}
