//go:build !linux && !darwin

package listen

import (
	"errors"
	"net"
)

func peerUser(*net.UnixConn) (string, error) { return "", errors.ErrUnsupported }
