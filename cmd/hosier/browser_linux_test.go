package main

import (
	"context"
	"testing"

	"github.com/chromedp/chromedp"

	"hosier/internal/debiantest"
)

// newBrowser is debiantest.Chromium for as long as patience lasts.
func newBrowser(tb testing.TB, flags map[string]any) context.Context {
	tb.Helper()
	return patiently(tb, debiantest.Chromium(tb, flags))
}

// patiently bounds what one of the tests does that share a browser.
func patiently(tb testing.TB, browser context.Context) context.Context {
	bounded, stopWaiting := context.WithTimeout(browser, patience)
	tb.Cleanup(stopWaiting)
	return bounded
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
