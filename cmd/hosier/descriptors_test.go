package main

import "testing"

// Whatever the limit of open files, all connections with two descriptors each and all lookups
// with one more fit into it, and are not none.
func TestShares(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ limit, asked, conns, lookups int }{
		{1000, 0, 452, 32},
		{20000, 0, 9812, 311},
		{1 << 20, 0, 522208, 4096},
		{1000, 400, 400, 136},
		{1 << 20, 1000, 1000, 4096},
		{0, 0, 48, 32},        // not known
		{100, 1000, 1000, 32}, // more than there is room for, as asked
	} {
		conns, lookups := shares(c.limit, c.asked)
		if conns != c.conns || lookups != c.lookups {
			t.Errorf("shares(%d, %d) = %d, %d, want %d, %d", c.limit, c.asked, conns, lookups, c.conns, c.lookups)
		}
	}
}
