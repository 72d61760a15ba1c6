//go:build !unix

package daemon

func monotonic() int64 { return 0 }
