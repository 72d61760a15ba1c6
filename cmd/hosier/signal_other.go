//go:build !unix

package main

import "os"

// notifyHangup has no signal to send: hosier reload does the same.
func notifyHangup(chan<- os.Signal, bool) {}

// surviveBrokenPipes has nothing to do: there is no SIGPIPE.
func surviveBrokenPipes() {}
