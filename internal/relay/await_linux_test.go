package relay

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// A task that awaits something goes on when it is there, whoever reports it, and ends with
// its deadline or its client.
func TestAwait(t *testing.T) {
	for name, test := range map[string]struct {
		limit time.Duration
		begin func(c net.Conn, ready func())
		want  error
		late  bool // what was awaited comes after it all the same
	}{
		"at once":          {limit: patience, begin: func(_ net.Conn, ready func()) { ready() }},
		"from a goroutine": {limit: patience, begin: func(_ net.Conn, ready func()) { go ready() }},
		"later":            {limit: patience, begin: func(_ net.Conn, ready func()) { time.AfterFunc(20*time.Millisecond, ready) }},
		"never":            {limit: 20 * time.Millisecond, begin: func(net.Conn, func()) {}, want: os.ErrDeadlineExceeded},
		"too late":         {limit: 20 * time.Millisecond, begin: func(net.Conn, func()) {}, want: os.ErrDeadlineExceeded, late: true},
		"the client is closed": {limit: patience, want: net.ErrClosed, begin: func(c net.Conn, _ func()) {
			time.AfterFunc(20*time.Millisecond, func() { c.Close() })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			visit(t, func(_ *Engine, c net.Conn) {
				var late func()
				err := Await(c, time.Now().Add(test.limit), func(ready func()) {
					late = ready
					test.begin(c, ready)
				})
				if !errors.Is(err, test.want) {
					t.Errorf("error %v, want %v", err, test.want)
				}
				if test.want == net.ErrClosed {
					return
				}
				if test.late { // the task does something else by then
					go late()
				}
				// What was awaited does not disturb what comes after.
				c.SetReadDeadline(time.Now().Add(60 * time.Millisecond))
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("read ended with %v", err)
				}
				c.Write([]byte{1})
			}, func(c *net.TCPConn) { c.Read(make([]byte, 1)) })
		})
	}
}
