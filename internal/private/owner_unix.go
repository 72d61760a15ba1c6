//go:build unix

package private

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// modes are the bits of a mode that say something.
const modes fs.FileMode = 0o777

// owned returns an error if the file belongs to another user.
func owned(path string, info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) == os.Geteuid() {
		return nil
	}
	return &sharedError{path, fmt.Sprintf("it belongs to %s, and hosier runs as %s: run it as that user, or remove what it may not trust",
		userName(int(stat.Uid)), userName(os.Geteuid()))}
}

func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return "user " + u.Username
	}
	return fmt.Sprint("uid ", uid)
}
