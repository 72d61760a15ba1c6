// Package fair divides what there is a fixed number of, such as places for connections,
// circuits under construction or hashes at once, between those who ask for it.
//
// [Client] returns the address that all of one client's addresses count as, [Shares] keeps
// the last places from a party that has most of the others, and a [Queue] has parties that
// wait take turns.
package fair

import "net/netip"

// Client returns the address that stands for a client: of IPv4 the address itself, of IPv6
// the network of 64 bits, since one that has an address there has all of them. On a single
// link, where fe80::/64 is everybody, it is the address itself. Forms of IPv4 in IPv6 and
// zones do not count. The zero Addr, of clients on Unix sockets, stays as it is.
func Client(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() || a.IsLinkLocalUnicast() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}

// Party is a client or a user. Its zero value is the client without an address.
type Party struct {
	client netip.Addr
	user   string
}

// OfClient returns the party of a client with this address.
func OfClient(a netip.Addr) Party { return Party{client: Client(a)} }

// OfUser returns the party of a user, by a name that is not empty.
func OfUser(name string) Party { return Party{user: name} }

// Shares counts what each party holds. Its zero value is empty. It has no lock of its own.
type Shares struct{ held map[Party]int }

// Admits reports whether p may have one more while this many are free. As long as more are
// free than the reserve, anyone may; of the reserve a party may have one only while it holds
// fewer than are free. So a party that came first and took all it could leaves the reserve to
// those that have little or nothing, and each of these leaves some of it to the next.
func (s *Shares) Admits(p Party, free, reserve int) bool {
	return free > reserve || s.held[p] < free
}

// Add counts one more for p.
func (s *Shares) Add(p Party) {
	if s.held == nil {
		s.held = map[Party]int{}
	}
	s.held[p]++
}

// Remove counts one less for p. A party that holds nothing stays at that.
func (s *Shares) Remove(p Party) {
	if n := s.held[p]; n > 1 {
		s.held[p] = n - 1
	} else {
		delete(s.held, p)
	}
}

// Of returns how many p holds.
func (s *Shares) Of(p Party) int { return s.held[p] }

// Parties returns how many parties hold something.
func (s *Shares) Parties() int { return len(s.held) }
