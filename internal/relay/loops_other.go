//go:build !linux

package relay

// eventLoops would be the event loops of an Engine. This system has none.
type eventLoops struct{}

func (e *Engine) startInLoop(*Pair) *Relay { return nil }
func (*eventLoops) cut(error)              {}
func (*eventLoops) stop()                  {}
