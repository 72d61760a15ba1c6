package page

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"hosier/socks"
)

// CheckName is the host that the proxy itself answers for. No DNS server can know it (RFC
// 6761 section 6.4), so who has come to it has left the name to the proxy.
const CheckName = "check.hosier.invalid"

const (
	checkTimeout = 10 * time.Second
	checkHead    = 8 << 10
	checkPeriod  = time.Hour // a link is good for one to two of these
)

// Check answers requests for CheckName, port 80, with what the proxy sees of them, and
// leads nowhere else. It is an egress of package proxy. Browsers get an answer by the link
// of a page alone: otherwise any web page could see whether it comes through this proxy.
type Check struct {
	key  [32]byte
	born time.Time
}

// NewCheck returns a Check with a key of its own.
func NewCheck() *Check {
	c := &Check{born: time.Now()}
	rand.Read(c.key[:]) // never fails
	return c
}

// IsCheck reports whether a request for the address is for the Check, and so for no other
// egress: by its name, whatever the command and the port, or a name below it.
func IsCheck(a socks.Addr) bool {
	if len(a.Name) < len(CheckName) {
		return false
	}
	name := "." + strings.ToLower(strings.TrimSuffix(a.Name, "."))
	return strings.HasSuffix(name, "."+CheckName)
}

// URL is where a browser sees whether it comes through the proxy.
func (c *Check) URL(now time.Time) string {
	return "http://" + CheckName + "/" + c.token(c.period(now))
}

// period returns the number of the period of now since c was made. A clock that is set does
// not end it.
func (c *Check) period(now time.Time) int64 { return int64(now.Sub(c.born) / checkPeriod) }

func (c *Check) token(period int64) string {
	h := hmac.New(sha256.New, c.key[:])
	fmt.Fprint(h, period)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// isLinkOf reports whether the request is for a link of this Check, by a client that takes
// the proxy for one that fetches http:// pages.
func (c *Check) isLinkOf(r *http.Request, now time.Time) bool {
	return c != nil && r.URL.Scheme == "http" && isCheckHost(r.URL.Host) && c.isLink(r.URL.Path, now)
}

func isCheckHost(host string) bool {
	return strings.TrimSuffix(strings.ToLower(host), ":80") == CheckName
}

func (c *Check) isLink(path string, now time.Time) bool {
	period := c.period(now)
	for _, p := range []int64{period, period - 1} {
		if hmac.Equal([]byte(path), []byte("/"+c.token(p))) {
			return true
		}
	}
	return false
}

// Dial returns a connection to an HTTP server that answers one request. It ends by itself
// if none comes.
func (c *Check) Dial(_ context.Context, r *socks.Request) (net.Conn, socks.Addr, error) {
	if err := Refusal(r); err != nil {
		return nil, socks.Addr{}, err
	}
	client, server := net.Pipe()
	go c.serve(server, seenOf(r))
	return client, socks.Addr{}, nil
}

// Refusal returns the error by which the Check refuses a request that is for it; nil if it
// answers.
func Refusal(r *socks.Request) error {
	switch name := strings.ToLower(strings.TrimSuffix(r.Addr.Name, ".")); {
	case r.Command != socks.Connect:
		return errNoAddress
	case name != CheckName:
		return fmt.Errorf("%s is the proxy's own, and has nothing below it: %w", CheckName, socks.HostUnreachable)
	case r.Addr.Port != 80:
		return fmt.Errorf("%s has port 80 alone: %w", CheckName, socks.ConnectionRefused)
	}
	return nil
}

var errNoAddress = fmt.Errorf("%s has no address: open http://%[1]s/ through the proxy: %w", CheckName, socks.HostUnreachable)

// Resolve refuses: the name has no address.
func (c *Check) Resolve(context.Context, *socks.Request) (netip.Addr, error) {
	return netip.Addr{}, errNoAddress
}

// ResolvePTR refuses.
func (c *Check) ResolvePTR(context.Context, *socks.Request) (string, error) {
	return "", socks.HostUnreachable
}

// seen is what the proxy sees of a request.
type seen struct {
	Dialect  string
	Isolated bool // by a user name, a password, or a header that says so
	Fetches  bool // the proxy was asked to fetch the page, which it does for no other
	CSS      template.CSS
	JS       template.JS
}

func seenOf(r *socks.Request) *seen {
	dialect := map[socks.Version]string{socks.V4: "SOCKS4A", socks.V5: "SOCKS5", socks.HTTP: "HTTP CONNECT"}[r.Version]
	a := r.Auth
	return &seen{
		Dialect: dialect, Isolated: a.User != "" || a.Password != "" || a.Isolation != "",
		CSS: template.CSS(style), JS: template.JS(script),
	}
}

// isGet reports whether the request is a GET, or asks what a GET would bring.
func isGet(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// serve answers one request, or hangs up.
func (c *Check) serve(conn net.Conn, s *seen) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(checkTimeout))
	req, err := http.ReadRequest(bufio.NewReader(io.LimitReader(conn, checkHead)))
	if err != nil {
		return
	}
	if !isCheckHost(req.Host) || !isGet(req) || req.URL.IsAbs() {
		return
	}
	a := &answer{header: http.Header{}}
	switch browser := strings.HasPrefix(req.UserAgent(), "Mozilla/"); {
	case !browser:
		protect(a.header)
		a.header.Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprint(&a.body, s)
	case c.isLink(req.URL.Path, time.Now()):
		writeHTML(a, http.StatusOK, "check", s)
	default:
		return
	}
	a.send(conn, req.Method == http.MethodHead)
}

func (s *seen) String() string {
	isolated := "no, none was sent"
	if s.Isolated {
		isolated = "yes"
	}
	return "It works: your program came through hosier.\n" +
		"dialect: " + s.Dialect + "\n" +
		"asked by: name, which nobody looked up\n" +
		"kept apart by a user name: " + isolated + "\n"
}

// answer is a response that is sent whole.
type answer struct {
	header http.Header
	body   strings.Builder
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(int)             {}
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

func (a *answer) send(w io.Writer, headOnly bool) {
	var b strings.Builder
	a.header.Set("Content-Length", strconv.Itoa(a.body.Len()))
	a.header.Set("Connection", "close")
	b.WriteString("HTTP/1.1 200 OK\r\n")
	a.header.Write(&b)
	b.WriteString("\r\n")
	if !headOnly {
		b.WriteString(a.body.String())
	}
	io.WriteString(w, b.String())
}

// checkLine is the line by which a person at a terminal sees whether the listener serves.
func (l *Listener) checkLine(at address) string {
	if at.Path != "" {
		return "curl -x socks5h://localhost" + at.Path + " http://" + CheckName + "/"
	}
	offered := l.schemes()
	if len(offered) == 0 {
		return ""
	}
	return strings.Replace(curlLine(&way{address: at, Scheme: offered[0], At: at.String(), Login: l.login()}), " URL", " http://"+CheckName+"/", 1)
}
