package leaks

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

const (
	rememberAnswer = 10 * time.Minute
	maxAnswers     = 512 // of one client
	maxAsking      = 512 // clients
)

// answers records the addresses that each client got as answers. The bound per client
// keeps one that asks much from displacing others. Its zero value is empty.
type answers struct {
	mu      sync.Mutex
	clients recent[netip.Addr, *recent[netip.Addr, struct{}]]
}

func (a *answers) add(client, ip netip.Addr, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	of, ok := a.clients.get(client, now)
	if !ok {
		of = &recent[netip.Addr, struct{}]{}
	}
	of.put(ip, struct{}{}, maxAnswers, now)
	a.clients.put(client, of, maxAsking, now)
}

func (a *answers) has(client, ip netip.Addr, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	of, ok := a.clients.get(client, now)
	if ok {
		_, ok = of.get(ip, now)
	}
	return ok
}

// recent is a map that drops its oldest entries. Its zero value is empty.
type recent[K comparable, V any] struct {
	at    map[K]*list.Element
	order list.List // of stamped[K, V], the oldest at the front
}

type stamped[K comparable, V any] struct {
	key   K
	value V
	put   time.Time
}

func (m *recent[K, V]) get(key K, now time.Time) (value V, ok bool) {
	at := m.at[key]
	if at == nil {
		return value, false
	}
	s := at.Value.(stamped[K, V])
	return s.value, now.Sub(s.put) < rememberAnswer
}

func (m *recent[K, V]) put(key K, value V, most int, now time.Time) {
	if m.at == nil {
		m.at = map[K]*list.Element{}
	}
	if at := m.at[key]; at != nil {
		m.remove(at)
	}
	for old := m.order.Front(); old != nil; old = m.order.Front() {
		if len(m.at) < most && now.Sub(old.Value.(stamped[K, V]).put) < rememberAnswer {
			break
		}
		m.remove(old)
	}
	m.at[key] = m.order.PushBack(stamped[K, V]{key, value, now})
}

func (m *recent[K, V]) remove(at *list.Element) {
	delete(m.at, m.order.Remove(at).(stamped[K, V]).key)
}
