//go:build linux || darwin

package listen

import (
	"os/user"
	"strconv"
)

// userName is how rules and logs know the owner of a process.
func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil && u.Username != "" {
		return u.Username
	}
	return "uid:" + id
}
