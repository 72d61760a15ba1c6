package socks

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
)

// The two codes of a SOCKS4 reply that are ever sent.
const (
	granted4  = 0x5A
	rejected4 = 0x5B
)

// marker4A holds the addresses that announce a name in SOCKS4A.
var marker4A = netip.PrefixFrom(netip.IPv4Unspecified(), 24)

// maxUser4 is the longest SOCKS4 user id, in bytes, as in C tor; the protocol has no limit.
const maxUser4 = 512

// ParseRequest4 reads a SOCKS4 or SOCKS4A request from the front of b and returns it
// with its length. If b is too short the error is [ErrShort] and n is the least length
// that could be enough. Other errors are *[FormatError]; r then has its Version and, if
// that was right, its Command, and the client awaits a reply. Nothing keeps b.
//
//	+----+----+----+----+----+----+----+----+----+----+....+----+  4A:  +----+....+----+
//	| VN | CD | DSTPORT |      DSTIP        | USERID       |NULL|       | HOST    |NULL|
//	+----+----+----+----+----+----+----+----+----+----+....+----+       +----+....+----+
//	  1    1       2              4           variable       1            variable   1
//
// A DSTIP of 0.0.0.x, x not 0, announces the HOST.
func ParseRequest4(b []byte) (r Request, n int, err error) {
	r.Version = V4
	if len(b) > 0 && Version(b[0]) != V4 {
		return r, 1, &FormatError{GeneralFailure, "version of the request is not 4"}
	}
	if len(b) < 9 {
		return r, 9, ErrShort
	}
	r.Command = Command(b[1])
	user, n, err := cutNUL(b, 8, maxUser4, "user id")
	if err != nil {
		return r, n, err
	}
	r.Auth.User = string(user)
	r.Addr.Port = binary.BigEndian.Uint16(b[2:4])
	ip := netip.AddrFrom4([4]byte(b[4:8]))
	if b[4]|b[5]|b[6] == 0 && b[7] != 0 {
		var host []byte
		if host, n, err = cutNUL(b, n, maxName, "host name"); err != nil {
			return r, n, err
		}
		port := r.Addr.Port
		if r.Addr, err = ParseHost(string(host)); err != nil {
			return r, n, err
		}
		r.Addr.Port = port
	} else {
		r.Addr.IP, r.Literal = ip, r.Command != ResolvePTR
	}
	switch {
	case !r.Command.known(V4):
		return r, n, &FormatError{CommandNotSupported, "SOCKS4 has no " + r.Command.String()}
	case r.Addr.IP.IsValid() && r.Addr.IP.IsUnspecified():
		return r, n, &FormatError{GeneralFailure, "address is 0.0.0.0"}
	}
	return r, n, nil
}

// cutNUL returns the bytes of b from start to the next NUL, of which there may be at
// most limit, and the length of b up to and with the NUL, or to where it had to be.
func cutNUL(b []byte, start, limit int, what string) (field []byte, n int, err error) {
	field = b[start:]
	if i := bytes.IndexByte(field, 0); i >= 0 && i <= limit {
		return field[:i], start + i + 1, nil
	}
	if len(field) > limit {
		return nil, start + limit + 1, &FormatError{GeneralFailure, what + " of a SOCKS4 request is too long"}
	}
	return nil, len(b) + 1, ErrShort
}

// AppendRequest4 appends r as a SOCKS4 request, or as SOCKS4A if it has a name. The
// user id is r.Auth.User. The error is a *[FormatError] for what SOCKS4 cannot say: an
// IPv6 address, a NUL or too many bytes in the user id or the name, other commands.
func AppendRequest4(b []byte, r *Request) ([]byte, error) {
	ip := r.Addr.IP.Unmap()
	switch {
	case !r.Command.known(V4):
		return b, &FormatError{CommandNotSupported, "SOCKS4 has no " + r.Command.String()}
	case len(r.Auth.User) > maxUser4 || strings.IndexByte(r.Auth.User, 0) >= 0:
		return b, &FormatError{GeneralFailure, "user id cannot stand in a SOCKS4 request"}
	case r.Addr.Name == "" && !ip.Is4():
		return b, &FormatError{AddressTypeNotSupported, "SOCKS4 has no IPv6"}
	case r.Addr.Name == "" && netip.PrefixFrom(ip, 24).Masked() == marker4A:
		return b, &FormatError{GeneralFailure, "SOCKS4 cannot name an address in 0.0.0.0/24"}
	case len(r.Addr.Name) > maxName || strings.IndexByte(r.Addr.Name, 0) >= 0:
		return b, &FormatError{GeneralFailure, "host name cannot stand in a SOCKS4A request"}
	}
	b = append(b, byte(V4), byte(r.Command))
	b = binary.BigEndian.AppendUint16(b, r.Addr.Port)
	if r.Addr.Name == "" {
		b = append(b, ip.AsSlice()...)
		b = append(b, r.Auth.User...)
		return append(b, 0), nil
	}
	b = append(b, 0, 0, 0, 1)
	b = append(b, r.Auth.User...)
	b = append(b, 0)
	b = append(b, r.Addr.Name...)
	return append(b, 0), nil
}

// ParseReply4 reads a SOCKS4 reply, 8 bytes, from the front of b. Every failure is
// [GeneralFailure]: SOCKS4 has no more to say. If b is too short the error is [ErrShort];
// s is then other than [Succeeded] if the code has come and is a failure.
//
// The first byte is 0. Some servers send the version of the request, 4, and C tor and
// others accept that, so it is accepted here.
//
//	+----+----+----+----+----+----+----+----+
//	| VN | CD | DSTPORT |      DSTIP        |
//	+----+----+----+----+----+----+----+----+
func ParseReply4(b []byte) (s Status, bound Addr, n int, err error) {
	if len(b) > 0 && b[0] != 0 && Version(b[0]) != V4 {
		return 0, bound, 1, &FormatError{GeneralFailure, "first byte of a SOCKS4 reply is neither 0 nor 4"}
	}
	if len(b) > 1 && b[1] != granted4 {
		s = GeneralFailure
	}
	if len(b) < 8 {
		return s, bound, 8, ErrShort
	}
	if s != Succeeded {
		return s, bound, 8, nil
	}
	bound.Port = binary.BigEndian.Uint16(b[2:4])
	bound.IP = netip.AddrFrom4([4]byte(b[4:8]))
	return Succeeded, bound, 8, nil
}

// AppendReply4 appends a SOCKS4 reply: code 5A for [Succeeded], 5B for all else. A
// bound address that is not IPv4 is told as zeros.
func AppendReply4(b []byte, s Status, bound Addr) []byte {
	code := byte(rejected4)
	if s == Succeeded {
		code = granted4
	}
	ip := bound.IP.Unmap()
	if !ip.Is4() {
		return append(b, 0, code, 0, 0, 0, 0, 0, 0)
	}
	b = binary.BigEndian.AppendUint16(append(b, 0, code), bound.Port)
	return append(b, ip.AsSlice()...)
}
