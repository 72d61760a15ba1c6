package telemetry

import (
	"errors"
	"io"
	"syscall"

	"hosier/proxy"
	"hosier/socks"
)

// failed reports whether a connection came to nothing: its request was refused or failed,
// or there was none though the client wanted something of a proxy. It did not if it got the
// page or its options, or left before it had said anything, as those do that look whether
// the port is open.
func failed(ses *proxy.Session) bool {
	if ses.Request != nil {
		return ses.Status != socks.Succeeded
	}
	for _, end := range []error{proxy.ErrPage, proxy.ErrOptions, io.EOF, syscall.ECONNRESET} {
		if errors.Is(ses.Err, end) {
			return false
		}
	}
	return true
}
