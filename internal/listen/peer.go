//go:build linux || darwin

package listen

import (
	"net"
	"os/user"
	"strconv"
)

// peerUser returns the owner of the program at the other end.
func peerUser(c *net.UnixConn) (string, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return "", err
	}
	var uid uint32
	var uerr error
	if err := raw.Control(func(fd uintptr) { uid, uerr = peerUID(int(fd)) }); err != nil {
		return "", err
	}
	if uerr != nil {
		return "", uerr
	}
	return userName(uid), nil
}

// userName is how rules and logs know the owner of a process.
func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil && u.Username != "" {
		return u.Username
	}
	return "uid:" + id
}
