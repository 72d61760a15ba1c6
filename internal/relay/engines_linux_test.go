package relay

import "time"

// suites lists what TestRelay runs.
func suites() []suite {
	return append(
		portableSuites(),
		suite{engine: "loops", newOne: newLoops, network: tcpNetwork()},
		suite{engine: "loops", newOne: newLoops, network: unixNetwork()},
		suite{engine: "from-task", newOne: newLoops, network: tcpNetwork(), begin: startFromTask},
		suite{engine: "plain-wait", newOne: newPlainWait, network: tcpNetwork()},
		suite{engine: "no-pipes", newOne: newWithoutPipes, network: tcpNetwork()},
	)
}

// newLoops returns an engine with more loops than there is work for, so that relays
// of one test are in different ones.
func newLoops() *Engine { return &Engine{Loops: 2} }

func newPlainWait() *Engine { return &Engine{Loops: 1, PlainWait: true} }

// newWithoutPipes returns an engine to which the kernel gives no pipes.
func newWithoutPipes() *Engine {
	e := &Engine{Loops: 1}
	e.loops.pipes.refuse = time.Now().Add(time.Hour)
	return e
}

// isHalfClosed reports whether one direction of r has ended.
func isHalfClosed(r *Relay) bool {
	w, ok := r.runner.(*wire)
	if !ok {
		return isHalfCopied(r)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ways[toServer].ended || w.ways[toClient].ended
}
