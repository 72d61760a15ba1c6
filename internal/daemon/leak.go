package daemon

import (
	"hosier/internal/leaks"
	"hosier/proxy"
)

// judgeLeak judges a request that may carry an address where a name was possible.
func (d *Daemon) judgeLeak(m leaks.Mode, ses *proxy.Session) (leaks.Verdict, error) {
	verdict, err := d.leaks.Judge(m, ses.Request)
	if verdict.Unsafe {
		d.telemetry.Unsafe(ses)
	}
	return verdict, err
}
