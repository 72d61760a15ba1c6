package daemon

import "testing"

// Whatever the limit of open files, all connections with two descriptors each and the sockets
// for lookups fit into it, and are not none.
func TestShares(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ limit, asked, conns, sockets int }{
		{1000, 0, 462, 4},
		{20000, 0, 9896, 48},
		{1 << 20, 0, 524184, 48},
		{1000, 400, 400, 4},
		{1 << 20, 1000, 1000, 48},
		{0, 0, 58, 4},        // not known
		{100, 1000, 1000, 4}, // more than there is room for, as asked
	} {
		conns, sockets := shares(c.limit, c.asked)
		if conns != c.conns || sockets != c.sockets {
			t.Errorf("shares(%d, %d) = %d, %d, want %d, %d", c.limit, c.asked, conns, sockets, c.conns, c.sockets)
		}
	}
}
