package socks

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// turn is what one side sends before it waits for the other.
type turn struct {
	client bool
	bytes  []byte
}

// transcript is one file of testdata/transcripts; its README says what is what.
type transcript struct {
	clause       string
	turns        []turn // both sides, the final reply included
	said         []byte // by the server before the reply
	replied      []byte // and the reply
	early, after []byte
	request      *Request
	fails        string
	refuse       string
	calls        int
	status       Status
	bound        Addr
	hasReply     bool
	written      bool   // the address was, in the place of a name
	dialer       string // "" if it is none of a Dialer
	dialerOnly   bool
}

// transcripts reads all files. That there are none is an error, lest the tests and the
// fuzz targets that stand on them silently do nothing.
func transcripts(t testing.TB) []*transcript {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "transcripts", "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	var all []*transcript
	for _, file := range files {
		tr, err := readTranscript(file)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, tr)
	}
	return all
}

func readTranscript(file string) (*transcript, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	name := strings.TrimSuffix(filepath.Base(file), ".txt")
	tr := &transcript{clause: strings.Replace(name, "_", "/", 1), calls: 1}
	var auth Auth
	for i, line := range strings.Split(string(data), "\n") {
		word, rest, _ := strings.Cut(uncomment(line), " ")
		if word == "" {
			continue
		}
		if err := tr.line(word, strings.TrimSpace(rest), &auth); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	switch {
	case tr.request != nil:
		tr.request.Auth = auth
		tr.request.Literal = literal(*tr.request) && !tr.written
	case auth != Auth{} || tr.hasReply || tr.dialer != "":
		return nil, errors.New("no request line")
	}
	return tr, nil
}

// literal is what Literal of r is if its address came in the form of one.
func literal(r Request) bool { return r.Addr.IP.IsValid() && r.Command != ResolvePTR }

// asLiteral is r as it is read when its address came in the form of one.
func asLiteral(r Request) Request {
	r.Literal = literal(r)
	return r
}

// asName is r as it is read when its address was written out in the place of a name.
func asName(r Request) Request {
	r.Literal = false
	return r
}

// uncomment cuts a comment off, which does not begin within quotes.
func uncomment(line string) string {
	quoted, escaped := false, false
	for i := range len(line) {
		switch c := line[i]; {
		case escaped:
			escaped = false
		case c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case c == '#' && !quoted:
			return strings.TrimSpace(line[:i])
		}
	}
	return strings.TrimSpace(line)
}

func (tr *transcript) line(word, rest string, auth *Auth) (err error) {
	switch word {
	case "client", "server":
		var b []byte
		if b, err = wire(rest); err == nil {
			tr.say(word == "client", b)
		}
	case "early":
		tr.early, err = wire(rest)
	case "after":
		tr.after, err = wire(rest)
	case "request":
		tr.request, err = readRequest(rest)
	case "auth":
		*auth, err = readAuth(rest)
	case "error":
		tr.fails = rest
	case "verify":
		tr.refuse = rest
	case "calls":
		tr.calls, err = strconv.Atoi(rest)
	case "reply":
		tr.hasReply = true
		status, bound, _ := strings.Cut(rest, " ")
		if tr.status, err = readStatus(status); err == nil && bound != "" {
			tr.bound, err = readAddr(bound)
		}
	case "written":
		tr.written = true
	case "dialer":
		tr.dialer = rest
	case "only":
		tr.dialerOnly = rest == "dialer"
	default:
		err = fmt.Errorf("%q is no word of a transcript", word)
	}
	return err
}

func (tr *transcript) say(client bool, b []byte) {
	if last := len(tr.turns) - 1; last >= 0 && tr.turns[last].client == client {
		tr.turns[last].bytes = append(tr.turns[last].bytes, b...)
	} else {
		tr.turns = append(tr.turns, turn{client, b})
	}
	switch {
	case client:
	case tr.hasReply:
		tr.replied = append(tr.replied, b...)
	default:
		tr.said = append(tr.said, b...)
	}
}

// sent is all that a client or a server sends.
func (tr *transcript) sent(client bool) (b []byte) {
	for _, turn := range tr.turns {
		if turn.client == client {
			b = append(b, turn.bytes...)
		}
	}
	return b
}

func readStatus(text string) (Status, error) {
	n, err := strconv.ParseUint(text, 16, 8)
	return Status(n), err
}

func readRequest(text string) (*Request, error) {
	space := strings.LastIndexByte(text, ' ')
	addr, err := readAddr(text[space+1:])
	if err != nil {
		return nil, err
	}
	for _, v := range []Version{V4, V5} {
		for c := range 256 {
			if text[:max(space, 0)] == v.String()+" "+Command(c).String() {
				return &Request{Version: v, Command: Command(c), Addr: addr}, nil
			}
		}
	}
	return nil, fmt.Errorf("no such version and command: %s", text)
}

// readAddr is not ParseAddr, which is under test.
func readAddr(text string) (Addr, error) {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return Addr{IP: ap.Addr(), Port: ap.Port()}, nil
	}
	host, port, _ := strings.Cut(text, ":")
	name := []byte(host)
	if strings.HasPrefix(host, `"`) {
		b, err := wire(host)
		if err != nil {
			return Addr{}, err
		}
		name = b
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return Addr{Name: string(name), Port: uint16(n)}, err
}

func readAuth(text string) (a Auth, err error) {
	kind, rest, _ := strings.Cut(text, " ")
	user, password := rest, `""`
	switch kind {
	case "password":
		a.Method = UserPass
		if user, password, err = cutQuoted(rest); err != nil {
			return a, err
		}
	case "id":
	default:
		return a, fmt.Errorf("%q is neither password nor id", kind)
	}
	u, err := wire(user)
	if err != nil {
		return a, err
	}
	p, err := wire(password)
	a.User, a.Password = string(u), string(p)
	return a, err
}

// cutQuoted divides what is written as "…" or "…"*N from what is behind it.
func cutQuoted(text string) (first, rest string, err error) {
	quoted, err := strconv.QuotedPrefix(text)
	if err != nil {
		return "", "", err
	}
	times, rest, ok := strings.Cut(text[len(quoted):], " ")
	if !ok {
		return "", "", fmt.Errorf("one value only: %s", text)
	}
	return quoted + times, rest, nil
}

// outcome is all that can be seen of a call of Accept.
type outcome struct {
	request *Request
	err     error
	said    []byte
	left    []byte
	calls   int
}

var errRefused = errors.New("not on the list")

// accept calls Accept with the smallest buffer it may have, and takes what it left.
func accept(r io.Reader, refuse string) (o outcome) {
	br := bufio.NewReaderSize(r, MaxMessage)
	var said bytes.Buffer
	o.request, o.err = Accept(br, &said, func(a Auth) error {
		o.calls++
		if refuse == "refuse" || refuse == "refuse-password" && a.Method == UserPass {
			return errRefused
		}
		return nil
	})
	o.said = said.Bytes()
	o.left, _ = io.ReadAll(br)
	return o
}

func text(err error) string {
	if err == nil {
		return "none"
	}
	return err.Error()
}

// same compares what can be seen of two calls.
func (o outcome) same(t *testing.T, how string, other outcome) {
	t.Helper()
	if (o.request == nil) != (other.request == nil) || o.request != nil && !reflect.DeepEqual(o.request, other.request) {
		t.Errorf("%s: request is %v, want %v", how, o.request, other.request)
	}
	if text(o.err) != text(other.err) {
		t.Errorf("%s: error is %v, want %v", how, o.err, other.err)
	}
	if !bytes.Equal(o.said, other.said) {
		t.Errorf("%s: said % x\nwant % x", how, o.said, other.said)
	}
	if !bytes.Equal(o.left, other.left) {
		t.Errorf("%s: left %q\nwant %q", how, o.left, other.left)
	}
	if o.calls != other.calls {
		t.Errorf("%s: verify was asked %d times, want %d", how, o.calls, other.calls)
	}
}
