package socks

// The version of RFC 1929's sub-negotiation, and its two results.
const (
	authVersion  = 0x01
	authAccepted = 0x00
	authRefused  = 0x01
)

// ParseUserPass reads a client's user name and password from the front of b. Either
// may be empty, as C tor allows. If b is too short the error is [ErrShort] and n is
// the least length that could be enough. RFC 1929 section 2.
//
//	+----+------+----------+------+----------+
//	|VER | ULEN |  UNAME   | PLEN |  PASSWD  |
//	+----+------+----------+------+----------+
//	| 1  |  1   | 0 to 255 |  1   | 0 to 255 |
//	+----+------+----------+------+----------+
func ParseUserPass(b []byte) (a Auth, n int, err error) {
	a.Method = UserPass
	if len(b) > 0 && b[0] != authVersion {
		return a, 1, &FormatError{GeneralFailure, "version of the password message is not 1"}
	}
	if len(b) < 3 {
		return a, 3, ErrShort
	}
	ulen := int(b[1])
	if n = 3 + ulen; len(b) < n {
		return a, n, ErrShort
	}
	plen := int(b[2+ulen])
	if n += plen; len(b) < n {
		return a, n, ErrShort
	}
	both := string(b[2:n]) // one allocation
	a.User, a.Password = both[:ulen], both[ulen+1:]
	return a, n, nil
}

// AppendUserPass appends a client's user name and password. The error is a
// *[FormatError] if either has more than 255 bytes.
func AppendUserPass(b []byte, a Auth) ([]byte, error) {
	if len(a.User) > 255 || len(a.Password) > 255 {
		return b, &FormatError{GeneralFailure, "user name or password is longer than 255 bytes"}
	}
	b = append(b, authVersion, byte(len(a.User)))
	b = append(b, a.User...)
	b = append(b, byte(len(a.Password)))
	return append(b, a.Password...), nil
}

// ParseUserPassReply reads a server's verdict on a password, 2 bytes, from the front
// of b. RFC 1929 section 2: any status but 0 is a refusal.
func ParseUserPassReply(b []byte) (accepted bool, n int, err error) {
	if len(b) > 0 && b[0] != authVersion {
		return false, 1, &FormatError{GeneralFailure, "version of the password reply is not 1"}
	}
	if len(b) < 2 {
		return false, 2, ErrShort
	}
	return b[1] == authAccepted, 2, nil
}

// AppendUserPassReply appends a server's verdict on a password.
func AppendUserPassReply(b []byte, accepted bool) []byte {
	if accepted {
		return append(b, authVersion, authAccepted)
	}
	return append(b, authVersion, authRefused)
}
