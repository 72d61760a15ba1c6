package resolver

import (
	"net/netip"
	"sync"
	"time"
)

// Memory holds which address worked where another did not, for the names used last, and
// whether IPv6 works at all. A nil Memory holds nothing; the zero value is ready, and safe for
// concurrent use.
//
// It has two generations of at most so many entries, the elder of which is dropped when the
// younger is full.
type Memory struct {
	mu           sync.Mutex
	young, elder map[string]remembered
	ipv4Until    time.Time // IPv6 failed where IPv4 worked
}

type remembered struct {
	addr  netip.Addr
	until time.Time
}

const (
	memorySize = 1024
	memoryLife = 10 * time.Minute
)

// get returns the address that worked, or the zero one.
func (m *Memory) get(host string) netip.Addr {
	if m == nil {
		return netip.Addr{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	found, ok := m.young[host]
	if !ok {
		found, ok = m.elder[host]
	}
	if !ok || time.Now().After(found.until) {
		return netip.Addr{}
	}
	return found.addr
}

func (m *Memory) put(host string, a netip.Addr) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.young == nil || len(m.young) >= memorySize {
		m.young, m.elder = make(map[string]remembered), m.young
	}
	m.young[host] = remembered{a, time.Now().Add(memoryLife)}
}

func (m *Memory) prefersIPv4() bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now().Before(m.ipv4Until)
}

func (m *Memory) preferIPv4(prefer bool) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ipv4Until = time.Time{}
	if prefer {
		m.ipv4Until = time.Now().Add(preferIPv4For)
	}
}
