// Package debiantest is for tests: the programs of Debian that they run.
package debiantest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/chromedp/chromedp"
)

// Program returns the path of a program, of this package of Debian's.
func Program(tb testing.TB, name, debian string) string {
	tb.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(tb, name, debian)
	}
	return path
}

// Missing skips the test for want of a program, but fails it where CI=true.
func Missing(tb testing.TB, what, debian string) {
	tb.Helper()
	Unable(tb, fmt.Sprintf("%s is not installed: install Debian's package %s (apt-get install %s)", what, debian, debian))
}

// Unable skips the test for a reason, but fails it where CI=true.
func Unable(tb testing.TB, why string) {
	tb.Helper()
	if os.Getenv("CI") == "true" {
		tb.Fatal(why)
	}
	tb.Skip(why)
}

// Chromium runs Debian's Chromium until the test ends, with the flags "name=value" beside those
// that keep it quiet, and returns what chromedp runs actions in.
func Chromium(tb testing.TB, flags map[string]any) context.Context {
	tb.Helper()
	path := Program(tb, "chromium", "chromium")
	dir, err := os.MkdirTemp("", "hosier")
	if err != nil {
		tb.Fatal(err)
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.UserDataDir(dir),
		chromedp.NoFirstRun, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("headless", "new"),
	}
	for _, name := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "hide-scrollbars"} {
		options = append(options, chromedp.Flag(name, true))
	}
	for name, value := range flags {
		options = append(options, chromedp.Flag(name, value))
	}
	ctx, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	tab, closeTab := chromedp.NewContext(ctx)
	tb.Cleanup(func() {
		if tab.Err() == nil {
			chromedp.Cancel(tab) // waits until nobody writes to the directory
		}
		closeTab()
		stopAllocator()
		os.RemoveAll(dir)
	})
	if err := chromedp.Do(tab); err != nil {
		tb.Fatalf("start chromium: %v", err)
	}
	return tab
}
