//go:build unix

package main

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// notifyHangup sends SIGHUP to c. Without a file to read again it is what it is to every
// program, the end of its terminal, and nohup(1) has it ignored.
func notifyHangup(c chan<- os.Signal, hasFile bool) {
	if hasFile || !signal.Ignored(unix.SIGHUP) {
		signal.Notify(c, unix.SIGHUP)
	}
}

// surviveBrokenPipes has a write to a pipe without a reader fail. Go ends the program by
// SIGPIPE if that is standard output or error, unless it asks for that signal.
func surviveBrokenPipes() { signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE) }
