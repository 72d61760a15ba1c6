package socks

import (
	"encoding/binary"
	"net/netip"
	"strings"
)

// The address types of RFC 1928 section 5.
const (
	atypIPv4 = 0x01
	atypName = 0x03
	atypIPv6 = 0x04
)

// ParseMethods reads a client's greeting from the front of b. The result aliases b.
// If b is too short the error is [ErrShort] and n is the least length that could be
// enough. RFC 1928 section 3.
//
//	+----+----------+----------+
//	|VER | NMETHODS | METHODS  |
//	+----+----------+----------+
//	| 1  |    1     | 0 to 255 |
//	+----+----------+----------+
func ParseMethods(b []byte) (methods []byte, n int, err error) {
	if len(b) > 0 && Version(b[0]) != V5 {
		return nil, 1, &FormatError{GeneralFailure, "version of the greeting is not 5"}
	}
	if len(b) < 2 {
		return nil, 2, ErrShort
	}
	if n = 2 + int(b[1]); len(b) < n {
		return nil, n, ErrShort
	}
	return b[2:n], n, nil
}

// AppendMethods appends a client's greeting with at most 255 methods; it panics if
// there are more.
func AppendMethods(b []byte, methods ...Method) []byte {
	if len(methods) > 255 {
		panic("socks: more than 255 methods")
	}
	b = append(b, byte(V5), byte(len(methods)))
	for _, m := range methods {
		b = append(b, byte(m))
	}
	return b
}

// ParseMethod reads a server's choice of a method, 2 bytes, from the front of b.
// RFC 1928 section 3.
func ParseMethod(b []byte) (m Method, n int, err error) {
	if len(b) > 0 && Version(b[0]) != V5 {
		return 0, 1, &FormatError{GeneralFailure, "version of the method reply is not 5"}
	}
	if len(b) < 2 {
		return 0, 2, ErrShort
	}
	return Method(b[1]), 2, nil
}

// AppendMethod appends a server's choice of a method.
func AppendMethod(b []byte, m Method) []byte { return append(b, byte(V5), byte(m)) }

// ParseRequest5 reads a SOCKS5 request from the front of b and returns it with its
// length. If b is too short the error is [ErrShort] and n is the least length that
// could be enough. Other errors are *[FormatError]; r then has its Version and, if
// that was right, its Command, and the client awaits a reply. RFC 1928 section 4.
//
//	+----+-----+-------+------+----------+----------+
//	|VER | CMD |  RSV  | ATYP | DST.ADDR | DST.PORT |
//	+----+-----+-------+------+----------+----------+
//	| 1  |  1  | X'00' |  1   | Variable |    2     |
//	+----+-----+-------+------+----------+----------+
func ParseRequest5(b []byte) (r Request, n int, err error) {
	r.Version = V5
	if len(b) > 0 && Version(b[0]) != V5 {
		return r, 1, &FormatError{GeneralFailure, "version of the request is not 5"}
	}
	if len(b) < 4 {
		return r, 4, ErrShort
	}
	r.Command = Command(b[1])
	known := r.Command.known(V5)
	if b[2] != 0 {
		return r, 4, &FormatError{GeneralFailure, "reserved byte of the request is not 0"}
	}
	host, n, err := cutAddr(b, 3)
	if err == ErrShort {
		return r, n, err
	}
	if !known {
		return r, n, &FormatError{CommandNotSupported, "SOCKS5 has no " + r.Command.String()}
	}
	if err != nil {
		return r, n, err
	}
	if b[3] == atypName {
		r.Addr, err = ParseHost(string(host))
	} else {
		r.Addr.IP, _ = netip.AddrFromSlice(host)
		r.Literal = r.Command != ResolvePTR
	}
	r.Addr.Port = binary.BigEndian.Uint16(b[n-2:])
	return r, n, err
}

// cutAddr finds the address and port at b[at:], which begins with an address type. It
// returns the bytes of the host alone, and the length of b up to and with the port.
func cutAddr(b []byte, at int) (host []byte, n int, err error) {
	if len(b) <= at {
		return nil, at + 1, ErrShort
	}
	start, size := at+1, 0
	switch b[at] {
	case atypIPv4:
		size = 4
	case atypIPv6:
		size = 16
	case atypName:
		if start++; len(b) < start {
			return nil, start, ErrShort
		}
		size = int(b[at+1])
	default:
		return nil, at + 1, &FormatError{AddressTypeNotSupported, "address type is not 1, 3 or 4"}
	}
	if n = start + size + 2; len(b) < n {
		return nil, n, ErrShort
	}
	return b[start : start+size], n, nil
}

// AppendRequest5 appends r as a SOCKS5 request. The error is a *[FormatError] if r has
// neither an address nor a name of 1 to 255 bytes without a NUL.
func AppendRequest5(b []byte, r *Request) ([]byte, error) {
	name := r.Addr.Name
	if !r.Addr.IP.IsValid() && (name == "" || len(name) > maxName || strings.IndexByte(name, 0) >= 0) {
		return b, &FormatError{GeneralFailure, "host name cannot stand in a SOCKS5 request"}
	}
	return appendAddr(append(b, byte(V5), byte(r.Command), 0), r.Addr), nil
}

func appendAddr(b []byte, a Addr) []byte {
	switch {
	case a.IP.Is4():
		b = append(append(b, atypIPv4), a.IP.AsSlice()...)
	case a.IP.Is6():
		b = append(append(b, atypIPv6), a.IP.AsSlice()...)
	case a.Name != "":
		b = append(append(b, atypName, byte(len(a.Name))), a.Name...)
	default:
		b = append(b, atypIPv4, 0, 0, 0, 0)
	}
	return binary.BigEndian.AppendUint16(b, a.Port)
}

// ParseReply5 reads a SOCKS5 reply from the front of b: the status and the bound
// address, which is the answer of a RESOLVE. A name in it is not judged. If b is too
// short the error is [ErrShort] and n is the least length that could be enough; s is
// then the status if that has come, and [Succeeded] if not. RFC 1928 section 6.
//
// C tor answers a failed RESOLVE with address type 0 and six bytes of zeros. That is
// read as a failure without an address.
//
//	+----+-----+-------+------+----------+----------+
//	|VER | REP |  RSV  | ATYP | BND.ADDR | BND.PORT |
//	+----+-----+-------+------+----------+----------+
//	| 1  |  1  | X'00' |  1   | Variable |    2     |
//	+----+-----+-------+------+----------+----------+
func ParseReply5(b []byte) (s Status, bound Addr, n int, err error) {
	if len(b) > 0 && Version(b[0]) != V5 {
		return 0, bound, 1, &FormatError{GeneralFailure, "version of the reply is not 5"}
	}
	if len(b) > 1 {
		s = Status(b[1])
	}
	if len(b) < 5 {
		return s, bound, 5, ErrShort
	}
	if b[3] == 0 && s != Succeeded {
		if len(b) < 10 {
			return s, bound, 10, ErrShort
		}
		return s, bound, 10, nil
	}
	host, n, err := cutAddr(b, 3)
	if err == ErrShort {
		return s, bound, n, err
	}
	if err != nil { // not what this side's own request would be owed: code 08
		return s, bound, 5, &FormatError{GeneralFailure, "address type of the reply is not 1, 3 or 4"}
	}
	if b[3] == atypName {
		bound.Name = string(host)
	} else {
		bound.IP, _ = netip.AddrFromSlice(host)
	}
	bound.Port = binary.BigEndian.Uint16(b[n-2:])
	return s, bound, n, nil
}

// AppendReply5 appends a SOCKS5 reply. A zero bound address is told as IPv4 zeros, a
// name longer than 255 bytes likewise.
func AppendReply5(b []byte, s Status, bound Addr) []byte {
	bound.IP = bound.IP.Unmap()
	if len(bound.Name) > maxName {
		bound.Name = ""
	}
	return appendAddr(append(b, byte(V5), byte(s), 0), bound)
}
