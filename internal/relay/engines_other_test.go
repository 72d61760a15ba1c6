//go:build !linux

package relay

// suites lists what TestRelay runs.
func suites() []suite { return portableSuites() }

// isHalfClosed reports whether one direction of r has ended.
func isHalfClosed(r *Relay) bool { return isHalfCopied(r) }
