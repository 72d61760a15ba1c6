package socks

import (
	"errors"
	"fmt"
)

// Status is a reply code of SOCKS5. All but [Succeeded] are also errors that can be
// told apart with errors.Is.
type Status byte

// The codes of RFC 1928 section 6.
const (
	Succeeded               Status = 0x00
	GeneralFailure          Status = 0x01
	NotAllowed              Status = 0x02 // by a rule
	NetworkUnreachable      Status = 0x03
	HostUnreachable         Status = 0x04 // also: the name does not exist
	ConnectionRefused       Status = 0x05
	TTLExpired              Status = 0x06 // used for every time-out
	CommandNotSupported     Status = 0x07
	AddressTypeNotSupported Status = 0x08
)

// The extended codes of Tor's proposal 304, for onion services.
const (
	OnionNotFound         Status = 0xF0 // no descriptor
	OnionInvalid          Status = 0xF1 // a descriptor that cannot be used
	OnionIntroFailed      Status = 0xF2
	OnionRendezvousFailed Status = 0xF3
	OnionAuthMissing      Status = 0xF4 // client authorization
	OnionAuthWrong        Status = 0xF5
	OnionBadAddress       Status = 0xF6
	OnionIntroTimedOut    Status = 0xF7
)

func (s Status) String() string {
	switch s {
	case Succeeded:
		return "succeeded"
	case GeneralFailure:
		return "general failure"
	case NotAllowed:
		return "not allowed by ruleset"
	case NetworkUnreachable:
		return "network unreachable"
	case HostUnreachable:
		return "host unreachable"
	case ConnectionRefused:
		return "connection refused"
	case TTLExpired:
		return "timed out"
	case CommandNotSupported:
		return "command not supported"
	case AddressTypeNotSupported:
		return "address type not supported"
	}
	return s.onion()
}

func (s Status) onion() string {
	switch s {
	case OnionNotFound:
		return "onion service not found"
	case OnionInvalid:
		return "onion service descriptor is invalid"
	case OnionIntroFailed:
		return "onion service introduction failed"
	case OnionRendezvousFailed:
		return "onion service rendezvous failed"
	case OnionAuthMissing:
		return "onion service wants client authorization"
	case OnionAuthWrong:
		return "onion service refused the client authorization"
	case OnionBadAddress:
		return "onion address is invalid"
	case OnionIntroTimedOut:
		return "onion service introduction timed out"
	}
	return fmt.Sprintf("status %#02x", byte(s))
}

func (s Status) Error() string { return s.String() }

// Is makes [CommandNotSupported] and [AddressTypeNotSupported] match
// errors.ErrUnsupported.
func (s Status) Is(target error) bool {
	return target == errors.ErrUnsupported && (s == CommandNotSupported || s == AddressTypeNotSupported)
}

// Extended reports whether s is one of Tor's extended codes.
func (s Status) Extended() bool { return s >= OnionNotFound && s <= OnionIntroTimedOut }

// Known reports whether s is a code of RFC 1928 or one of Tor's extended codes.
func (s Status) Known() bool { return s <= AddressTypeNotSupported || s.Extended() }

// Ordinary returns the code of RFC 1928 that stands for s towards a client that
// does not know the extended codes.
func (s Status) Ordinary() Status {
	switch {
	case s == OnionBadAddress:
		return GeneralFailure
	case s.Extended():
		return HostUnreachable
	}
	return s
}
