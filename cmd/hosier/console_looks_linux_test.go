package main

import (
	"context"
	"flag"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"hosier/internal/debiantest"
)

var screenshotsAfter = flag.Duration("screenshots-after", 0, "with -update-screenshots: let the console's hosier run for so long, so that its charts have something")

// consolePages are what there is to look at, and how high their pictures are.
var consolePages = []struct {
	name, path    string
	height, phone int64
}{
	{"overview", "", 1100, 1900},
	{"connections", "connections", 790, 1500},
	{"egresses", "egresses", 1400, 1500},
	{"rules", "rules?url=https%3A%2F%2Fgit.office.example%2F&user=ann&listener=", 800, 1500},
	{"leaks", "leaks", 620, 1100},
	{"failures", "failures", 700, 1500},
	{"config", "config", 1000, 1400},
}

// TestConsoleLooks looks at each page of the console in each way: nothing is wider than the
// screen, and axe-core finds nothing serious.
func TestConsoleLooks(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	axe := axeCore(t)
	if *updateScreenshots {
		s.play(t, *screenshotsAfter)
	}
	browser := debiantest.Chromium(t, nil)
	s.signIn(t, patiently(t, browser))
	for _, page := range consolePages {
		for i, l := range looks {
			t.Run(page.name+"/"+l.name, func(t *testing.T) {
				browser := patiently(t, browser)
				if i == 0 || *updateScreenshots { // else what is open changes with the screen
					path := page.path
					if page.name == "rules" {
						path += url.QueryEscape(s.lan)
					}
					s.visit(t, browser, l.width, l.dark, path)
				}
				if *updateScreenshots {
					height := page.height
					if l.name == "phone" {
						height = page.phone
					}
					inBrowser(t, browser, look(wide(l.width), height, l.dark))
					if page.name == "egresses" && l.name != "phone" {
						inBrowser(t, browser, chromedp.Evaluate[chromedp.Void](`document.querySelector("details").open = true`))
					}
					takeScreenshot(t, browser, "console-"+page.name+"-"+l.name+".png")
				}
				judge(t, browser, l.width, l.dark, axe)
			})
		}
	}
}

// wide is the width of pictures: the console's tables have more in them than the page.
func wide(width int64) int64 {
	if width > 500 {
		return 1280
	}
	return width
}

// visit opens a page, and waits until it shows what goes on.
func (s *scene) visit(t *testing.T, browser context.Context, width int64, dark bool, path string) {
	t.Helper()
	inBrowser(t, browser, look(wide(width), 900, dark))
	if strings.Contains(browse(t, browser, s.url+path), "hunter2") {
		t.Error("the page has a password")
	}
	if path != "config" {
		awaitPage(t, browser, `document.getElementById("state").dataset.state == "live"`)
	}
}

// judge looks at the page that is open.
func judge(t *testing.T, browser context.Context, width int64, dark bool, axe string) {
	t.Helper()
	inBrowser(t, browser, chromedp.Evaluate[chromedp.Void](`for (const d of document.querySelectorAll("details")) d.open = true`))
	for _, w := range []int64{width, wide(width)} {
		inBrowser(t, browser, look(w, 900, dark))
		if got := inBrowser(t, browser, chromedp.Evaluate[int64]("document.documentElement.scrollWidth")); got > w {
			t.Errorf("the page is %d wide, the screen %d", got, w)
		}
	}
	accessible(t, browser, axe, dark)
}

// play lets the scene go on.
func (s *scene) play(t *testing.T, d time.Duration) {
	t.Logf("playing for %v", d)
	s.traffic(t, time.Now().Add(d))
}
