package main

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"hosier/internal/tcptest"
)

// clients are open connections to hosier that say nothing.
type clients []net.Conn

func openClients(tb testing.TB, n int, address string) (all clients) {
	tb.Helper()
	for range n {
		c, err := dial(address)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { c.Close() })
		all = append(all, c)
	}
	return all
}

func (all clients) close() {
	for _, c := range all {
		c.Close()
	}
}

// exchange sends what and reads as many bytes, which the other side must echo.
func exchange(tb testing.TB, c net.Conn, what string) {
	tb.Helper()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte(what)); err != nil {
		tb.Fatal(err)
	}
	if err := (pattern{[]byte(what), make([]bool, len(what))}).read(c); err != nil {
		tb.Fatal(err)
	}
}

// TestOutOfDescriptors gives hosier fewer descriptors than it has clients, twice. It says
// so once: a shortage that comes back at once is the same one.
func TestOutOfDescriptors(t *testing.T) {
	const limit, tries = 40, 6
	echo := tcptest.Listen(t, tcptest.Echo)
	w := newWatch(t)
	h := startUnder(t, append(w.wrapper, "sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$@"`, limit), "sh"),
		"--max-conns", "1000", "--handshake-timeout", "1h")
	relay := connectThrough(t, h.addr(), echo)
	exchange(t, relay, "before")
	for range 2 {
		before := w.count(t, "accept4(", "EMFILE")
		crowd := openClients(t, 2*limit, h.addr())
		await(t, "a few tries to accept", func() bool { return w.count(t, "accept4(", "EMFILE") >= before+tries })
		// One that accepted again without a pause would by now have tried thousands of times.
		if got := w.count(t, "accept4(", "EMFILE") - before; got > 50*tries {
			t.Errorf("tried to accept %d times, and so spins", got)
		}
		exchange(t, relay, "during")
		crowd.close()
		exchange(t, connectThrough(t, h.addr(), echo), "after")
		if got := strings.Count(h.log.String(), "accepting pauses until connections end: raise the limit of open files"); got != 1 {
			t.Errorf("said %d times that accepting pauses:\n%s", got, h.log.String())
		}
	}
}

// count returns how many system calls so far had all these words in them.
func (w *watch) count(tb testing.TB, words ...string) (n int) {
	tb.Helper()
next:
	for _, line := range w.lines(tb) {
		for _, word := range words {
			if !strings.Contains(line, word) {
				continue next
			}
		}
		n++
	}
	return n
}
