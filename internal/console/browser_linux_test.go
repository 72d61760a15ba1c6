package console

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"hosier/egress/tor"
	"hosier/internal/debiantest"
	"hosier/internal/telemetry"
)

// patience is how long a browser may take for something on a busy machine.
const patience = time.Minute

// newBrowser runs Debian's Chromium until the test ends.
func newBrowser(t *testing.T) context.Context {
	t.Helper()
	browser, stopWaiting := context.WithTimeout(debiantest.Chromium(t, nil), patience)
	t.Cleanup(stopWaiting)
	return browser
}

// inBrowser is a browser that has signed in to a site.
type inBrowser struct {
	*site
	t   *testing.T
	ctx context.Context
}

func newInBrowser(t *testing.T) *inBrowser {
	b := &inBrowser{newSite(t), t, newBrowser(t)}
	_, body := b.do(t, "POST", "/api/v1/signin-links", nil, "Authorization", "Bearer "+b.token)
	link, _, _ := strings.Cut(body[strings.Index(body, "http://"):], `"`)
	b.open(link)
	return b
}

func (b *inBrowser) open(url string) {
	b.t.Helper()
	if strings.HasPrefix(url, "/") {
		url = "http://" + b.at + url
	}
	if err := chromedp.Do(b.ctx, chromedp.Navigate(url)); err != nil {
		b.t.Fatalf("open %s: %v", url, err)
	}
}

// run runs a script in the page.
func (b *inBrowser) run(js string) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.Evaluate[chromedp.Void](js)); err != nil {
		b.t.Fatalf("%s: %v", js, err)
	}
}

// until waits for what a script says to be true.
func (b *inBrowser) until(js string) {
	b.t.Helper()
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[bool](js)); err != nil {
		text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.getElementById("state")?.textContent + "\n" + document.body.innerText`))
		b.t.Fatalf("it did not come so far: %s: %v; the page:\n%s", js, err, text)
	}
}

// press presses a key.
func (b *inBrowser) press(key string) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.KeyEvent(key)); err != nil {
		b.t.Fatal(err)
	}
}

// value is what a script comes to.
func (b *inBrowser) value(js string) string {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](js))
	if err != nil {
		b.t.Fatalf("%s: %v", js, err)
	}
	return v
}

// change changes what the hosier does.
func (b *inBrowser) change(f func(*fake)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(b.fake)
}

const live = `document.getElementById("state").dataset.state === "live"`

func rowOf(id int) string { return fmt.Sprintf(`document.querySelector("tr[data-key='%d']")`, id) }

// The list of connections follows what happens, without loading the page again.
func TestLiveConnections(t *testing.T) {
	b := newInBrowser(t)
	b.change(func(f *fake) { f.connections = f.connections[:6] })
	b.open("/connections?sort=-age")
	b.run(`window.same = true; window.alert = () => { window.hacked = true; }`)
	b.until(live)
	shape := `[...document.querySelectorAll("main *")].filter((e) => ["A","BDI","BUTTON","FORM","IMG","SCRIPT","TR"].includes(e.tagName)).length`
	before := b.value("String(" + shape + ")")

	b.change(func(f *fake) {
		f.connections[0].Down = 5 << 30
		f.connections = append(f.connections[:1], f.connections[2:]...) // 2 has ended
		for i, e := range evil {
			f.connections = append(f.connections, telemetry.Entry{
				ID: uint64(100 + i), Stage: "connect", Start: time.Now(), Target: e, User: e, Client: e, Egress: e, Member: e, Listener: e, Dialect: "SOCKS5", Rule: e,
			})
		}
	})
	b.until(rowOf(100) + ` !== null && ` + rowOf(2) + ` === null && ` + rowOf(1) + `.querySelector("[data-f=down]").textContent === "5 GiB"`)
	if got := b.value(rowOf(1) + `.querySelector("[data-f=down]").title`); got != "5,368,709,120 bytes" {
		t.Errorf("the title is %q", got)
	}
	for i, e := range evil {
		e = string([]rune(e)) // as JSON has it
		if got := b.value(rowOf(100+i) + `.querySelector("[data-f=target]").textContent`); got != visible(e) {
			t.Errorf("%q is shown as %q", e, got)
		}
		want := "/connections?user=" // and the name as it is
		if got := b.value(rowOf(100+i) + `.querySelector("a").getAttribute("href")`); !strings.HasPrefix(got, want) {
			t.Errorf("%q leads to %q", e, got)
		}
		if got := b.value(`new URL(` + rowOf(100+i) + `.querySelector("a").href).searchParams.get("user")`); got != e {
			t.Errorf("%q leads to %q", e, got)
		}
	}
	if got := b.value(`document.querySelector("[data-f=total]").textContent + " " + document.querySelector("[data-f=matching], [data-f=connections]").textContent`); got != "17 17" {
		t.Errorf("it says %q", got)
	}
	b.change(func(f *fake) { f.connections = f.connections[:5] })
	b.until(rowOf(100) + ` === null`)
	b.change(func(f *fake) { f.connections = append(f.connections, telemetry.Entry{ID: 200, Start: time.Now()}) })
	b.until(rowOf(200) + ` !== null`)
	if after := b.value("String(" + shape + ")"); after != before {
		t.Errorf("%s elements became %s", before, after)
	}
	b.change(func(f *fake) { f.connections = nil })
	b.until(`document.querySelector("table").hidden && !document.querySelector(".empty").hidden`)
	if b.value("String(window.same + ' ' + window.hacked)") != "true undefined" {
		t.Error("the page was loaded again, or a name was taken for a script")
	}
}

// Rows stay where they are while somebody is among them, and closing one keeps the place.
func TestLiveClosing(t *testing.T) {
	b := newInBrowser(t)
	b.open("/connections?sort=-age")
	b.run(`window.same = true`)
	b.until(live)
	b.run(rowOf(9) + `.querySelector("a").focus()`)
	b.press("\t")
	b.press("\r")
	b.until(rowOf(9) + `.querySelector("button").textContent.startsWith("Ended")`)
	b.change(func(f *fake) {
		if strings.Join(f.ended, "") != "9 " {
			t.Errorf("it was asked to end %q", f.ended)
		}
		f.connections = append(f.connections[1:], telemetry.Entry{ID: 300, Start: time.Now(), Target: "new.example:443"})
		f.connections[0].Up = 7 << 30
	})
	b.until(rowOf(2) + `.querySelector("[data-f=up]").textContent === "7 GiB"`)
	if got := b.value(`[` + rowOf(1) + `.dataset.gone, ` + rowOf(300) + `, document.activeElement.value, window.same].join()`); got != ",,9,true" {
		t.Errorf("while the focus is in a row: %q", got)
	}
	b.run(`document.activeElement.blur()`)
	b.until(rowOf(300) + ` !== null && ` + rowOf(9) + ` === null && ` + rowOf(1) + ` === null`)
}

// Pause stops the page, and nothing is lost afterwards.
func TestLivePause(t *testing.T) {
	b := newInBrowser(t)
	b.open("/failures")
	b.until(live)
	b.run(`document.getElementById("pause").click()`)
	b.until(`document.getElementById("state").textContent === "Paused" && document.getElementById("pause").getAttribute("aria-pressed") === "true"`)
	b.change(func(f *fake) {
		f.failures = append([]telemetry.Entry{{ID: 9999, End: time.Now(), Target: "late.example:1", Reason: "rule: no"}}, f.failures...)
	})
	b.run(`document.getElementById("pause").click()`)
	b.until(live + ` && document.querySelector("tbody tr").dataset.key === "9999"`)
}

// A page that nobody sees has no stream.
func TestLiveHidden(t *testing.T) {
	b := newInBrowser(t)
	b.open("/rules")
	b.until(live)
	look := func(state string) {
		b.run(`Object.defineProperty(document, "visibilityState", {value: "` + state + `", configurable: true}); document.dispatchEvent(new Event("visibilitychange"))`)
	}
	look("hidden")
	for deadline := time.Now().Add(patience); len(b.console.streams) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the stream goes on")
		}
	}
	b.run(`fetch("/api/v1/status").then(() => { window.asked = true; })`) // after whatever else was asked for
	b.until(`window.asked === true`)
	if n := len(b.console.streams); n > 0 {
		t.Errorf("%d streams are open", n)
	}
	b.change(func(f *fake) { f.rules = f.rules[:1] })
	look("visible")
	b.until(live + ` && document.querySelectorAll("tbody tr").length === 1`)
}

// Charts, bars and lists in lists follow, too.
func TestLiveOverview(t *testing.T) {
	b := newInBrowser(t)
	b.open("/")
	b.until(live)
	b.change(func(f *fake) {
		f.history[59] = telemetry.Minute{At: f.history[59].At, Connections: 4000, Failed: 3999, Down: 1 << 40}
		f.egresses[0].Tors[1].Bootstrap = 80
		f.egresses[0].Ready = false
		f.leaks.Sources = f.leaks.Sources[:1]
	})
	var want []string
	for _, c := range charts(b.history) {
		for _, s := range c.Series {
			want = append(want, s.Path)
		}
		want = append(want, c.Text)
	}
	b.until(`document.querySelector(".verdict").dataset.ready === "false"`)
	got := `[...document.querySelectorAll(".chart")].flatMap((c) => [...[...c.querySelectorAll("[data-d]")].map((p) => p.getAttribute("d")), c.querySelector("desc").textContent]).join("|")`
	b.until(fmt.Sprintf("%s === %q", got, strings.Join(want, "|")))
	b.until(`document.querySelectorAll("[data-about=egresses] progress")[1].value === 80 && document.querySelectorAll("[data-about=leaks] li").length === 1`)

	b.open("/egresses")
	b.until(live)
	b.run(`document.querySelector("details").open = true`)
	b.until(`document.querySelector("summary").innerText === "3 circuits, and 1,300 that are not shown"`)
	b.change(func(f *fake) {
		f.egresses[0].Tors[0].MoreCircuits = 0
		f.egresses[0].Tors[0].OpenCircuits = append([]tor.Circuit{{ID: "99", State: "BUILT", Path: []string{evil[0]}}}, f.egresses[0].Tors[0].OpenCircuits[1:]...)
		f.egresses[0].Tors[2] = Tor{Status: tor.Status{Name: "192.0.2.7:9050", Bootstrap: 10, Streams: 3, Error: evil[1], ErrorTime: time.Now()}}
	})
	b.until(`document.querySelector("tbody tr").dataset.key === "99" && document.querySelector("details").open &&
		document.querySelector("summary").innerText === "3 circuits"`)
	if got := b.value(`[...document.querySelectorAll("details")[0].querySelectorAll("th[scope=row]")].map((e) => e.textContent).join() + document.querySelector("td[data-f=path]").textContent`); got != "99,13,14"+evil[0] {
		t.Errorf("the circuits are %q", got)
	}
	third := `document.querySelectorAll(".tor")[2]`
	if got := b.value(`[` + third + `.querySelector("progress").value, ` + third + `.querySelector(".boot").hidden, ` + third + `.querySelector(".problem").hidden, ` + third + `.querySelector("[data-f=error]").textContent].join()`); got != "10,false,false,"+evil[1] {
		t.Errorf("the tor is %q", got)
	}
}

// A page whose session has ended says so, and asks no more.
func TestLiveSignedOut(t *testing.T) {
	b := newInBrowser(t)
	b.open("/leaks")
	b.until(live)
	b.run(`fetch("/signout", {method: "POST", headers: {"X-Csrf-Token": document.body.dataset.csrf}})`)
	b.until(`document.getElementById("state").textContent.startsWith("Signed out")`)
}

// No page is wider than the screen, whatever the names, and no browser refuses part of it.
func TestPagesFit(t *testing.T) {
	b := newInBrowser(t)
	for _, width := range []int64{390, 700, 1200} {
		if err := chromedp.Do(b.ctx, chromedp.EmulateViewport(width, 900)); err != nil {
			t.Fatal(err)
		}
		for _, target := range allPages {
			b.open(target)
			b.run(`for (const d of document.querySelectorAll("details")) d.open = true`)
			if got := b.value(`String(document.documentElement.scrollWidth)`); got != fmt.Sprint(width) {
				t.Errorf("%s is %s wide, the screen %d", target, got, width)
			}
			if got := b.value(`String(getComputedStyle(document.querySelector(".skip")).position)`); got != "absolute" {
				t.Errorf("%s has no style", target)
			}
		}
	}
}
