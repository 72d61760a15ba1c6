package proxy

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"

	"hosier/socks"
)

// statusFor returns the status with which the request is answered that err ended: the one
// place where an error becomes a code.
func (p *Policy) statusFor(r *socks.Request, err error) socks.Status {
	status := statusOf(err)
	if status == socks.TTLExpired && isLookup(r.Command) {
		status = socks.HostUnreachable // a lookup has this one failure (Tor's socks-extensions)
	}
	if !p.ExtendedErrors || r.Command != socks.Connect {
		return status.Ordinary()
	}
	return status
}

func isLookup(c socks.Command) bool { return c == socks.Resolve || c == socks.ResolvePTR }

// statusOf maps errors to codes. The order matters: a failure of another proxy says
// nothing about the target whatever it wraps, a failure of a DNS server nothing about a
// connection, and what failed for want of descriptors here nothing about a name.
func statusOf(err error) socks.Status {
	if err == nil {
		return socks.Succeeded // before what follows is allocated
	}
	var (
		proxy  *socks.ProxyError
		status socks.Status
		dns    *net.DNSError
		addr   *net.AddrError
		errno  syscall.Errno
	)
	switch {
	case errors.As(err, &proxy), errors.Is(err, ErrFull):
		return socks.GeneralFailure
	case errors.Is(err, ErrLimit):
		return socks.NotAllowed
	case errors.As(err, &status) && status != socks.Succeeded:
		if !status.Known() { // another proxy's own, which no client could read
			return socks.GeneralFailure
		}
		return status
	case errors.Is(err, errors.ErrUnsupported):
		return socks.CommandNotSupported
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return socks.GeneralFailure
	case errors.As(err, &dns):
		if dns.IsTimeout {
			return socks.TTLExpired
		}
		return socks.HostUnreachable
	case errors.As(err, &addr): // a name without an address of the family asked for
		return socks.HostUnreachable
	case errors.As(err, &errno) && statusOfErrno(errno) != socks.GeneralFailure:
		return statusOfErrno(errno)
	case isTimeout(err):
		return socks.TTLExpired
	}
	return socks.GeneralFailure
}

func isTimeout(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	timeout := net.Error(nil)
	return errors.As(err, &timeout) && timeout.Timeout()
}
