//go:build !unix

package private

import "io/fs"

// modes is 0 where a mode says nothing.
const modes fs.FileMode = 0

func owned(string, fs.FileInfo) error { return nil }
