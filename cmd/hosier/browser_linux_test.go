package main

import (
	"context"
	"os"
	"testing"

	"github.com/chromedp/chromedp"
)

// newBrowser runs Debian's Chromium until the test ends, with the flags "name=value" beside
// those that keep it quiet, and returns what chromedp runs actions in, as long as patience
// lasts.
func newBrowser(tb testing.TB, flags map[string]any) context.Context {
	tb.Helper()
	return patiently(tb, sharedBrowser(tb, flags))
}

// patiently bounds what one of the tests does that share a browser.
func patiently(tb testing.TB, browser context.Context) context.Context {
	bounded, stopWaiting := context.WithTimeout(browser, patience)
	tb.Cleanup(stopWaiting)
	return bounded
}

// sharedBrowser is newBrowser without a bound.
func sharedBrowser(tb testing.TB, flags map[string]any) context.Context {
	tb.Helper()
	dir, err := os.MkdirTemp("", "hosier")
	if err != nil {
		tb.Fatal(err)
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(program(tb, "chromium", "chromium")), chromedp.UserDataDir(dir),
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

// closeBrowser ends the browser before the test does.
func closeBrowser(tb testing.TB, browser context.Context) {
	tb.Helper()
	if err := chromedp.Cancel(browser); err != nil {
		tb.Fatal(err)
	}
}

// inBrowser runs an action in the browser and returns what it comes to.
func inBrowser[T any](tb testing.TB, browser context.Context, a chromedp.Action[T]) T {
	tb.Helper()
	result, err := chromedp.Run(browser, a)
	if err != nil {
		tb.Fatal(err)
	}
	return result
}

// browse opens an address and returns what the page reads like. It asks the page in one step: a
// node that was found may be gone a moment later, such as one of Chromium's own error pages.
func browse(tb testing.TB, browser context.Context, url string) string {
	tb.Helper()
	if err := chromedp.Do(browser, chromedp.Navigate(url)); err != nil {
		tb.Fatalf("open %s: %v", url, err)
	}
	return inBrowser(tb, browser, chromedp.Evaluate[string](`document.body.innerText`))
}
