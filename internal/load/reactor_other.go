//go:build !linux

package load

func newSystemReactor() (reactor, error) { return newGoroutines(), nil }
