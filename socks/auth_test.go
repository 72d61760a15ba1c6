package socks

import (
	"strings"
	"testing"
)

func TestUserPass(t *testing.T) {
	auth := func(user, password string) Auth { return Auth{Method: UserPass, User: user, Password: password} }
	long := strings.Repeat("x", 255)
	userPassCodec.good(t, []good{
		{"RFC1929-s2/both", `01 03 "foo" 02 "ba"`, auth("foo", "ba"), []int{3, 6, 8}, ""},
		{"RFC1929-s2/one-byte-each", `01 01 "a" 01 "b"`, auth("a", "b"), []int{3, 4, 5}, ""},
		{"RFC1929-s2/empty-user", `01 00 02 "ba"`, auth("", "ba"), []int{3, 5}, ""},
		{"RFC1929-s2/empty-password", `01 03 "foo" 00`, auth("foo", ""), []int{3, 6}, ""},
		{"RFC1929-s2/both-empty", "01 00 00", auth("", ""), []int{3}, ""},
		{"RFC1929-s2/any-bytes", `01 02 00 ff 02 01 00`, auth("\x00\xff", "\x01\x00"), []int{3, 5, 7}, ""},
		{"RFC1929-s2/longest", `01 ff "x"*255 ff "x"*255`, auth(long, long), []int{3, 258, 513}, ""},
	})
	userPassCodec.bad(t, []bad{
		{"RFC1929-s2/version-5", "05", GeneralFailure, auth("", "")},
		{"RFC1929-s2/version-0", "00", GeneralFailure, auth("", "")},
		{"RFC1929-s2/version-2", "02", GeneralFailure, auth("", "")},
	})
	userPassCodec.badValues(t, []badValue{
		{"RFC1929-s2/user-of-256-bytes", auth(long+"x", ""), GeneralFailure},
		{"RFC1929-s2/password-of-256-bytes", auth("", long+"x"), GeneralFailure},
	})
}

func TestUserPassReply(t *testing.T) {
	userPassReplyCodec.good(t, []good{
		{"RFC1929-s2/accepted", "01 00", true, []int{2}, ""},
		{"RFC1929-s2/refused", "01 01", false, []int{2}, ""},
		{"RFC1929-s2/refused-with-2", "01 02", false, []int{2}, "01 01"},
		{"RFC1929-s2/refused-with-ff", "01 ff", false, []int{2}, "01 01"},
	})
	userPassReplyCodec.bad(t, []bad{
		{"RFC1929-s2/version-5", "05", GeneralFailure, false},
		{"RFC1929-s2/version-0", "00", GeneralFailure, false},
	})
}
