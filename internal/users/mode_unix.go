//go:build unix

package users

import (
	"fmt"
	"io/fs"
)

const othersWrite, othersRead fs.FileMode = 0o002, 0o004

// judgeMode says what is wrong with the permissions of the file.
func judgeMode(file string, mode fs.FileMode) (warning string, err error) {
	switch {
	case mode&othersWrite != 0:
		return "", fmt.Errorf("file of users: anybody on this host may write %s: run chmod o-rw %[1]s", file)
	case mode&othersRead != 0:
		return fmt.Sprintf("anybody on this host may read the hashes in %s: run chmod o-r %[1]s", file), nil
	}
	return "", nil
}
