//go:build !linux

package listen

import (
	"errors"
	"net"
	"time"
)

// DeferAccept is of Linux alone.
func DeferAccept(net.Listener, time.Duration) error { return errors.ErrUnsupported }
