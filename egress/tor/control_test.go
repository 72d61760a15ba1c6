package tor

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"hosier/internal/printable"
)

func parse(s string) (reply, error) {
	return readReply(textproto.NewReader(bufio.NewReader(iotest.OneByteReader(strings.NewReader(s)))))
}

func TestReadReply(t *testing.T) {
	for _, c := range []struct {
		text string
		want reply
	}{
		{"250 OK\r\n", reply{250, []string{"OK"}}},
		{"250-a=1\r\n250-b=\"2 3\"\r\n250 OK\r\n", reply{250, []string{"a=1", `b="2 3"`, "OK"}}},
		{"250+k=\r\nline 1\r\n..dot\r\n.\r\n250 OK\r\n", reply{250, []string{"k=\nline 1\n.dot", "OK"}}},
		{"250+k=\r\n.\r\n250 OK\r\n", reply{250, []string{"k=\n", "OK"}}},
		{"650 STATUS_CLIENT NOTICE X\r\n", reply{650, []string{"STATUS_CLIENT NOTICE X"}}},
		{"552 Unrecognized\n", reply{552, []string{"Unrecognized"}}},
		{"250 \r\n", reply{250, []string{""}}},
	} {
		if got, err := parse(c.text); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %+v, %v, want %+v", c.text, got, err, c.want)
		}
		for i := range len(c.text) - 2 {
			if got, err := parse(c.text[:i]); err == nil {
				t.Errorf("%q, cut after %d bytes: %+v", c.text, i, got)
			}
		}
	}
	for _, text := range []string{"", "\r\n", "250\r\n", "x50 OK\r\n", "-50 OK\r\n", "250=OK\r\n", "250-a\r\n251 OK\r\n", "250-a\r\n650 X\r\n"} {
		if got, err := parse(text); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestKeywords(t *testing.T) {
	for text, want := range map[string]map[string]string{
		``:                                 {},
		`A=1 B=two`:                        {"A": "1", "B": "two"},
		`A="x y" B="q\"\\z" C=`:            {"A": "x y", "B": `q"\z`, "C": ""},
		`NOTICE BOOTSTRAP PROGRESS=5`:      {"PROGRESS": "5"},
		`A="open`:                          {"A": "open"},
		`A="x\`:                            {"A": `x\`},
		`METHODS=COOKIE,SAFECOOKIE F="/a"`: {"METHODS": "COOKIE,SAFECOOKIE", "F": "/a"},
		`  A=1   B=2  `:                    {"A": "1", "B": "2"},
		`A="zo\303\253 \'\x" B="\9\400"`:   {"A": "zoë 'x", "B": "9400"},
		`A="\033[2J\1\r\n\342\200\256"`:    {"A": `\x1b[2J\x01\r\n\u202e`},
	} {
		if got := keywords(text); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for _, s := range []string{"", `a"b\c`, "plain", `\"`} {
		if got := keywords("K=" + quote(s))["K"]; got != s {
			t.Errorf("quoted and read again, %q is %q", s, got)
		}
	}
	if got := quote("a\r\nQUIT"); strings.ContainsAny(got, "\r\n") {
		t.Errorf("a line break gets into a command: %q", got)
	}
}

// FuzzReply feeds whatever a control port might say.
func FuzzReply(f *testing.F) {
	seeds, err := filepath.Glob("testdata/replies/*")
	if err != nil || len(seeds) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range seeds {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		text := textproto.NewReader(bufio.NewReader(bytes.NewReader(b)))
		total := 0
		for {
			r, err := readReply(text)
			if err != nil {
				break
			}
			if r.code < 0 || r.code > 999 || len(r.lines) == 0 {
				t.Fatalf("reply %+v", r)
			}
			for _, line := range r.lines {
				total += len(line)
				if line != printable.Lines(line) {
					t.Fatalf("%q", line)
				}
				keywords(line)
				parseVersion(line)
			}
		}
		if total > 4*len(b) { // an escape such as \x1b has four bytes for one
			t.Fatalf("%d bytes came out of %d", total, len(b))
		}
		var l Circuits
		l.parse(string(b))
		if len(l.Open) > maxCircuits || l.Err == nil && len(l.Open)+l.More > strings.Count(string(b), "\n")+1 {
			t.Fatalf("circuits %+v", l)
		}
		p := newPool("a:1")
		for line := range strings.Lines(string(b)) {
			p.event(p.all[0], line)
		}
		if s := p.status(p.all[0]); s.Bootstrap < -1 || s.Bootstrap > 100 {
			t.Fatalf("bootstrap %d%%", s.Bootstrap)
		}
	})
}

// say is a control port that says the text, whatever it is told.
func say(tb testing.TB, text string) string {
	return listen(tb, func(c net.Conn) {
		io.WriteString(c, text)
		io.Copy(io.Discard, c)
	})
}

func TestControlGoesWrong(t *testing.T) {
	const info = "250-PROTOCOLINFO 1\r\n250-AUTH METHODS="
	for name, c := range map[string]struct{ says, want string }{
		"hangs up":              {"HTTP/1.0 400 no\r\n", "no code"},
		"wants a password":      {info + "HASHEDPASSWORD\r\n250 OK\r\n", "wants a password"},
		"wants something else":  {info + "MAGIC\r\n250 OK\r\n", "no way to log in"},
		"has no cookie":         {info + "SAFECOOKIE COOKIEFILE=\"/no/such/file\"\r\n250 OK\r\n", "no such file"},
		"names some other file": {info + "SAFECOOKIE COOKIEFILE=\"/etc/passwd\"\r\n250 OK\r\n", "not one of 32 bytes"},
		"names a device":        {info + "SAFECOOKIE COOKIEFILE=\"/dev/zero\"\r\n250 OK\r\n", "not one of 32 bytes"},
		"never ends a line":     {"250-" + strings.Repeat("x", maxReply), "hung up"},
		"never ends a reply":    {strings.Repeat("250-x\r\n", maxLines+2), "too many lines"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := dialControl(t.Context(), say(t, c.says), "", func(string) {})
			if err == nil {
				conn.close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
	if c, err := dialControl(t.Context(), say(t, info+"NULL\r\n250 OK\r\n250 OK\r\n"), "", func(string) {}); err != nil {
		t.Errorf("no login: %v", err)
	} else {
		c.close()
	}
}

// No port is shown the contents of a file that it names, by whichever methods it offers.
func TestCookieIsNotShown(t *testing.T) {
	secret := []byte("0123456789abcdef0123456789abcdef")
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, secret, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, methods := range []string{"COOKIE", "SAFECOOKIE", "COOKIE,SAFECOOKIE", "COOKIE,HASHEDPASSWORD"} {
		var mu sync.Mutex
		var heard []string
		port := fakeControl(t, methods, file, func(command string) {
			mu.Lock()
			defer mu.Unlock()
			heard = append(heard, command)
		})
		if c, err := dialControl(t.Context(), port, "", func(string) {}); err == nil {
			c.close()
			t.Errorf("%s: a login at a port that knows no cookie", methods)
		}
		mu.Lock()
		all := strings.Join(heard, "\n")
		if strings.Contains(all, "AUTHENTICATE") || strings.Contains(strings.ToLower(all), hex.EncodeToString(secret)) {
			t.Errorf("%s: the port was sent\n%s", methods, all)
		}
		mu.Unlock()
	}
}

// The path of a cookie may have letters that tor escapes, and errors about one drive no
// terminal.
func TestCookieFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "zoë's \"dir\"")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Skip(err) // Windows has no such names
	}
	file := filepath.Join(dir, "cookie")
	cookie := []byte("0123456789abcdef0123456789abcdef")
	if err := os.WriteFile(file, cookie, 0o600); err != nil {
		t.Fatal(err)
	}
	escaped := strings.NewReplacer("ë", `\303\253`, "'", `\'`, `"`, `\"`).Replace(file)
	login := func(file string) error {
		c, err := dialControl(t.Context(), say(t, "250-AUTH METHODS=SAFECOOKIE COOKIEFILE=\""+file+"\"\r\n250 OK\r\n"+
			"250 AUTHCHALLENGE SERVERHASH=00 SERVERNONCE=00\r\n"), "", func(string) {})
		if err == nil {
			c.close()
		}
		return err
	}
	if err := login(escaped); err == nil || !strings.Contains(err.Error(), "does not know the cookie in "+file) {
		t.Errorf("%s: %v", escaped, err)
	}
	if err := login(`/no\033[2J`); !errors.Is(err, fs.ErrNotExist) || err.Error() != printable.String(err.Error()) {
		t.Errorf("%v", err)
	}
}

// What a control port says drives no terminal, wherever it stands.
func TestControlIsPrintable(t *testing.T) {
	const evil = "\x1b]0;owned\a\u009b31m\u202e\u200b\x7f\xff\r"
	r, err := parse("250+k=" + evil + "\r\n" + evil + "\r\n.\r\n250-A=\"" + evil + "\"\r\n250 " + evil + "\r\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range append(r.lines, keywords(r.lines[1])["A"]) {
		if line == "" || line != printable.Lines(line) {
			t.Errorf("%q", line)
		}
	}
	var l lines
	l.add([]byte("Jan 02 15:04:05.000 [warn] " + evil + "\n" + evil))
	if text := l.text(); text == "" || text != printable.String(text) {
		t.Errorf("a daemon says %q", text)
	}
}

// A command that is given up ends the connection: its reply must not be taken for that
// to another one.
func TestAskGivenUp(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	c := newControl(near, func(string) {})
	go c.read()
	go io.Copy(io.Discard, far)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("given up")
	cancel(why)
	if _, err := c.ask(ctx, "GETINFO version"); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	if _, err := c.ask(t.Context(), "GETINFO version"); err == nil {
		t.Error("the connection goes on")
	}
	c.close()
}

// A reply that nobody asked for, or that came too late for who did, does not hold up the end.
func TestCloseWithReply(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	c := newControl(near, func(string) {})
	go c.read()
	if _, err := io.WriteString(far, "250 OK\r\n"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	c.close()
	if took := time.Since(start); took > askTimeout/2 {
		t.Errorf("close took %v", took)
	}
}

func TestVersion(t *testing.T) {
	for text, want := range map[string]version{
		"0.4.9.11":                    {0, 4, 9, 11},
		"0.4.9.1-alpha":               {0, 4, 9, 1},
		"0.4.8.10 (git-abc)":          {0, 4, 8, 10},
		"0.4.9.11.\nThis build of...": {0, 4, 9, 11},
		"":                            {},
		"0.4":                         {},
		"0.4.9.99999999":              {},
		"x":                           {},
	} {
		if got, ok := parseVersion(text); got != want || ok != (want != version{}) {
			t.Errorf("%q: %v, %t", text, got, ok)
		}
	}
	for least, ok := range map[version]bool{{0, 4, 9, 1}: true, {0, 4, 9, 11}: true, {0, 4, 9, 12}: false, {0, 5, 0, 0}: false, {0, 4, 8, 99}: true} {
		if (version{0, 4, 9, 11}).atLeast(least[:]...) != ok {
			t.Errorf("0.4.9.11 is at least %v: %t", least, !ok)
		}
	}
	if got := fmt.Sprint(version{}); got != "" {
		t.Errorf("no version is %q", got)
	}
}
