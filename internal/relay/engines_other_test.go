//go:build !linux

package relay

// suites lists what TestRelay runs.
func suites() []suite { return portableSuites() }
