//go:build !unix

package main

import "os"

// notifyHangup has no signal to send: hosier reload does the same.
func notifyHangup(chan<- os.Signal) {}

func monotonic() int64 { return 0 }
