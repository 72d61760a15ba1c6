//go:build !linux

package relay

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// eventLoops would be the event loops of an Engine. This system has none.
type eventLoops struct{}

func (e *Engine) startInLoop(*Pair) *Relay              { return nil }
func (e *Engine) startTask(*Pair) *Relay                { return nil }
func (e *Engine) acceptors(net.Listener) []net.Listener { return nil }
func (e *Engine) keep()                                 {}
func (*eventLoops) cut(error)                           {}
func (*eventLoops) stop()                               {}

func inLoopOf(net.Listener, func()) bool  { return false }
func beginTask(net.Conn, func()) bool     { return false }
func asideTask(net.Listener, func()) bool { return false }
func leaveTask(c net.Conn) net.Conn       { return c }
func inTask(net.Conn) bool                { return false }

func remoteOfTask(net.Conn) (ap netip.AddrPort, ok bool) { return ap, false }

func awaitTask(net.Conn, time.Time, func(func())) error { return errors.ErrUnsupported }

func connectTask(net.Conn, netip.AddrPort, time.Time) (net.Conn, netip.AddrPort, error) {
	return nil, netip.AddrPort{}, errors.ErrUnsupported
}

// hasUnsent would report whether a peer has not acknowledged all that it was given.
func hasUnsent(int) bool { return true }
