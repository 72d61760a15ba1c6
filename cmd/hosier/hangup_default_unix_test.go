//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// hangUpAsUsual has programs that the tests start get SIGHUP, though the tests themselves may run
// under nohup: a signal that is handled here is not ignored there.
func hangUpAsUsual() { signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) }
