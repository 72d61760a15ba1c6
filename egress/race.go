package egress

import (
	"context"
	"net"
	"net/netip"
	"time"
)

const (
	// attemptDelay is how long an address has to itself before the next is tried beside it
	// (RFC 8305 section 5).
	attemptDelay = 250 * time.Millisecond
	// atOnce is how many are tried beside each other: each takes a descriptor.
	atOnce = 2
	// leastAttempt is what an address gets of the time that is left, however many there are.
	leastAttempt = 2 * time.Second
)

// race connects to the first of the addresses that answers, the families in turns. The error
// is that of the first that failed.
func race(ctx context.Context, all []netip.Addr, port uint16) (net.Conn, error) {
	if len(all) == 1 {
		return connect(ctx, all[0], port, 1)
	}
	all = inTurns(all)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	var (
		results = make(chan result)
		next    = time.NewTimer(0)
		first   error
	)
	defer next.Stop()
	for underWay := 0; underWay > 0 || len(all) > 0; {
		turn := next.C
		if underWay == atOnce || len(all) == 0 {
			turn = nil
		}
		select {
		case <-turn:
			ip, left := all[0], len(all)
			all = all[1:]
			underWay++
			go func() {
				c, err := connect(ctx, ip, port, left)
				results <- result{c, err}
			}()
			next.Reset(attemptDelay)
		case r := <-results:
			underWay--
			if r.err == nil {
				go func() { // the others end with ctx
					for range underWay {
						if r := <-results; r.err == nil {
							r.conn.Close()
						}
					}
				}()
				return r.conn, nil
			}
			if first == nil {
				first = r.err
			}
			if ctx.Err() != nil {
				all = nil
			}
			next.Reset(0)
		}
	}
	return nil, first
}

// connect connects to one address, in its share of the time that ctx leaves to it and to those
// that come after it, left in all.
func connect(ctx context.Context, ip netip.Addr, port uint16, left int) (net.Conn, error) {
	var dialer net.Dialer
	if end, ok := ctx.Deadline(); ok {
		dialer.Timeout = max(time.Until(end)/time.Duration(left), leastAttempt)
	}
	// Nobody wins anything by MPTCP to an arbitrary server, and its sockets cannot be spliced.
	dialer.SetMultipathTCP(false)
	return dialer.DialContext(ctx, "tcp", netip.AddrPortFrom(ip, port).String())
}

// inTurns has IPv4 and IPv6 addresses take turns, beginning with the family of the first
// (RFC 8305 section 4).
func inTurns(all []netip.Addr) []netip.Addr {
	var families [2][]netip.Addr
	for _, ip := range all {
		f := 0
		if ip.Is4() != all[0].Is4() {
			f = 1
		}
		families[f] = append(families[f], ip)
	}
	turns := make([]netip.Addr, 0, len(all))
	for len(turns) < len(all) {
		for f := range families {
			if len(families[f]) > 0 {
				turns = append(turns, families[f][0])
				families[f] = families[f][1:]
			}
		}
	}
	return turns
}
