package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"hosier/internal/debiantest"
)

var updateScreenshots = flag.Bool("update-screenshots", false, "take docs/screenshots anew; hosier gets the ports 1080, 1081 and 9180 of 127.0.0.1")

const (
	screenshots   = "../../docs/screenshots"
	maxScreenshot = 192 << 10
	axeVersion    = "4.14.1"
)

// looks are the ways in which people see a page.
var looks = []struct {
	name  string
	width int64
	dark  bool
}{
	{"light", 960, false},
	{"dark", 960, true},
	{"phone", 390, false},
}

// look makes the browser show pages in one of these ways.
func look(width, height int64, dark bool) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (v chromedp.Void, err error) {
		scheme := "light"
		if dark {
			scheme = "dark"
		}
		if v, err = chromedp.EmulateViewport(width, height)(ctx, t); err != nil {
			return v, err
		}
		_, err = cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return v, err
	}
}

// TestPageLooks looks at each page in each way: nothing is wider than the screen, nothing
// is kept from loading, and axe-core finds nothing serious.
func TestPageLooks(t *testing.T) {
	t.Parallel()
	args := []string{}
	if *updateScreenshots {
		args = []string{"--listen", "127.0.0.1:1080"}
	}
	h := start(t, args...)
	axe := axeCore(t)
	lost := newBrowser(t, map[string]any{"proxy-server": "http://" + h.addr()})
	fixed := newBrowser(t, map[string]any{"proxy-pac-url": "http://" + h.addr() + "/proxy.pac"})
	for _, l := range looks {
		for _, page := range []struct {
			name    string
			height  int64
			browser context.Context
			open    func()
		}{
			{"page", 1180, fixed, func() { browse(t, fixed, "http://"+h.addr()+"/") }},
			{"page-lost", 1180, lost, func() { browse(t, lost, "http://www.example/") }},
			{"page-check", 500, fixed, func() { checkInBrowser(t, fixed, h.addr()) }},
		} {
			t.Run(page.name+"/"+l.name, func(t *testing.T) {
				inBrowser(t, page.browser, look(l.width, page.height, l.dark))
				page.open()
				if *updateScreenshots {
					takeScreenshot(t, page.browser, page.name+"-"+l.name+".png")
				}
				inBrowser(t, page.browser, chromedp.Evaluate[chromedp.Void](`for (const d of document.querySelectorAll("details")) d.open = true`))
				if width := inBrowser(t, page.browser, chromedp.Evaluate[int64]("document.documentElement.scrollWidth")); width > l.width {
					t.Errorf("the page is %d wide, the screen %d", width, l.width)
				}
				accessible(t, page.browser, axe, l.dark)
			})
		}
	}
}

func takeScreenshot(t *testing.T, browser context.Context, name string) {
	t.Helper()
	b := inBrowser(t, browser, chromedp.CaptureScreenshot())
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var small bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, img); err != nil {
		t.Fatal(err)
	}
	if small.Len() < len(b) {
		b = small.Bytes()
	}
	if len(b) > maxScreenshot {
		t.Errorf("%s has %d bytes, want at most %d", name, len(b), maxScreenshot)
	}
	if err := os.MkdirAll(screenshots, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(screenshots, name), b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// axeCore fetches the script that finds what keeps people out of a page.
func axeCore(t *testing.T) string {
	t.Helper()
	npm, dir := debiantest.Program(t, "npm", "npm"), t.TempDir()
	cmd := exec.Command(npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", dir, "axe-core@"+axeVersion)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm: %v\n%s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "node_modules/axe-core/axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// accessible fails the test for whatever axe-core holds to be serious or worse. What is dark has
// been judged light, but for its colours.
func accessible(t *testing.T, browser context.Context, axe string, dark bool) {
	t.Helper()
	options, least := `{}`, 10
	if dark {
		options, least = `{runOnly: ["color-contrast"]}`, 1
	}
	if !inBrowser(t, browser, chromedp.Evaluate[bool](`"axe" in window`)) {
		inBrowser(t, browser, chromedp.Evaluate[chromedp.Void](axe))
	}
	found := inBrowser(t, browser, chromedp.Evaluate[string](`axe.run(`+options+`).then((r) => JSON.stringify({passes: r.passes.length,
		serious: r.violations.filter((v) => v.impact == "serious" || v.impact == "critical").map((v) => v.id + ": " + v.nodes.map((n) => n.html))}))`,
		chromedp.EvalAwaitPromise))
	var result struct {
		Passes  int
		Serious []string
	}
	if err := json.Unmarshal([]byte(found), &result); err != nil {
		t.Fatal(err)
	}
	if result.Passes < least || len(result.Serious) > 0 {
		t.Errorf("axe-core finds %q, and %d things in order", result.Serious, result.Passes)
	}
}

// TestPageScripts: with scripts each line has its button, and nothing is refused; without
// them the page has all it says.
func TestPageScripts(t *testing.T) {
	h := start(t)
	browser := newBrowser(t, nil)
	var refused []string
	done := make(chan struct{})
	messages := chromedp.Console(browser)
	go func() {
		defer close(done)
		for m, err := range messages {
			if err != nil || m.Text == "enough" {
				return
			}
			refused = append(refused, m.Text)
		}
	}()
	browse(t, browser, "http://"+h.addr()+"/")
	count := func(css string) int {
		return inBrowser(t, browser, chromedp.Evaluate[int](`document.querySelectorAll("`+css+`").length`))
	}
	if lines, buttons := count(".line code"), count(".line button[aria-label]"); lines < 10 || lines != buttons {
		t.Errorf("%d lines, %d buttons", lines, buttons)
	}
	inBrowser(t, browser, chromedp.Evaluate[chromedp.Void](`
		navigator.clipboard.writeText = async (text) => { window.copied = text; };
		document.querySelector(".line button").click();`))
	copied := inBrowser(t, browser, chromedp.Poll[string](`document.getElementById("said").textContent && window.copied`))
	if want := `chromium --proxy-server="socks5://` + h.addr() + `"`; copied != want {
		t.Errorf("copied %q, want %q", copied, want)
	}
	inBrowser(t, browser, chromedp.Evaluate[chromedp.Void](`console.log("enough")`))
	<-done
	if len(refused) > 0 {
		t.Errorf("the console says %q", refused)
	}

	inBrowser(t, browser, func(ctx context.Context, t *chromedp.Target) (v chromedp.Void, err error) {
		_, err = cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return v, err
	})
	text := browse(t, browser, "http://"+h.addr()+"/")
	for _, want := range []string{"--proxy-server=", "/proxy.pac", "Open check.hosier.invalid", "systemd services"} {
		if !strings.Contains(text, want) || strings.Contains(text, "Copy") {
			t.Errorf("without scripts the page does not say %q, or has buttons: %s", want, text)
		}
	}
}
