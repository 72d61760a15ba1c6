package daemon

import (
	"log/slog"
	"sync"
	"time"

	"hosier/proxy"
	"hosier/socks"
)

// newsPause is the least time between two lines that the same egress does not work, for
// one that fails every other request.
const newsPause = time.Minute

// news decides which changes of an egress's state are logged: one line when it stops
// working, and one when it works again. The zero value is that of one that works.
type news struct {
	mu    sync.Mutex
	down  bool
	since time.Time // of the last time that it was down
}

// failed reports whether this failure is worth a line.
func (n *news) failed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down || time.Since(n.since) < newsPause {
		return false
	}
	n.down, n.since = true, time.Now()
	return true
}

// works reports whether this success is worth a line, and how long the egress was down.
func (n *news) works() (after time.Duration, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.down {
		return 0, false
	}
	n.down = false
	return time.Since(n.since), true
}

// judge returns what is to be called when a request has shown whether x works. One that
// stands alone is asked whatever it did before, so there is no time for which it is passed
// over. A pool of tors logs its members by itself.
func (l *routes) judge(x *liveEgress, alone bool) func(until time.Time, err error) {
	d := l.generation.daemon
	return func(until time.Time, err error) {
		if alone && err != nil {
			until = time.Now().Add(brokenTime)
		}
		x.judged(until)
		if x.pool == nil {
			x.news.tell(d.log, x.name, err, func() string {
				// An error of an egress names no client and no target, but may quote a proxy.
				return d.telemetry.Redactor().Reason(&proxy.Session{Request: new(socks.Request), Err: err})
			})
		}
	}
}

// tell logs what is news. The error is nil if the egress works.
func (n *news) tell(log *slog.Logger, egress string, err error, reason func() string) {
	if err != nil {
		if n.failed() {
			log.Warn("egress does not work", "egress", egress, "reason", reason())
		}
		return
	}
	if after, ok := n.works(); ok {
		log.Info("egress works again", "egress", egress, "after", after.Round(time.Second))
	}
}
