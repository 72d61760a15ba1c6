//go:build !linux

package load

import "runtime"

// system names the operating system.
func system() string { return runtime.GOOS + " " + runtime.GOARCH }
