package proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"strconv"
	"strings"
	texttemplate "text/template"
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
	//go:embed page.txt
	pageText string

	htmlPage = template.Must(template.New("page.html").Parse(pageHTML))
	textPage = texttemplate.Must(texttemplate.New("page.txt").Parse(pageText))
)

// pageData is all that differs from page to page. Nothing of it comes from the client.
type pageData struct {
	Addr     string // of the proxy, host:port; "" on a Unix socket
	Host     string
	Port     string
	Absolute bool // the client took this for an HTTP proxy
	CSS      template.CSS
}

// appendPage appends the answer to a client that speaks plain HTTP to the port. The
// request is nil if its head could not be read, and then what there is of it stands in head.
func (m *mixed) appendPage(b []byte, req *http.Request, head *headError) []byte {
	local := m.conn.LocalAddr()
	a := answerHTTP{header: http.Header{
		"Server":                       {"hosier"},
		"Cache-Control":                {"no-store"},
		"Content-Security-Policy":      {"default-src 'none'"},
		"Cross-Origin-Resource-Policy": {"same-origin"},
		"Referrer-Policy":              {"no-referrer"},
		"X-Content-Type-Options":       {"nosniff"},
		"X-Frame-Options":              {"DENY"},
	}}
	if req == nil && head.code == http.StatusRequestHeaderFieldsTooLarge {
		a.code = head.code
	}
	if req == nil || m.Page == nil {
		writePage(&a, visitor(req, head), local)
	} else {
		ctx := context.WithValue(req.Context(), http.LocalAddrContextKey, local)
		req = req.WithContext(context.WithValue(ctx, mixedKey{}, m))
		req.Body, req.RemoteAddr = http.NoBody, m.ses.Client.String()
		m.Page.ServeHTTP(&a, req)
	}
	return a.append(b, visitor(req, head).method == http.MethodHead)
}

// visitor is who asks for the page, by a request or by what there is of its head.
func visitor(req *http.Request, head *headError) visit {
	if req != nil {
		return visitOf(req)
	}
	return visitOfHead(head)
}

type mixedKey struct{}

// Login judges the Proxy-Authorization of a request that a [Policy.Page] is serving, as
// Verify judges that of a CONNECT. It returns nil where nobody has to log in. The error may
// mean a refusal for another reason, such as a limit; [ErrDialect] means that the listener
// serves no CONNECT.
func Login(r *http.Request) error {
	m, ok := r.Context().Value(mixedKey{}).(*mixed)
	if !ok {
		return nil
	}
	if m.refusal != nil {
		return m.refusal
	}
	if verify := m.verifier(CONNECT); verify != nil {
		return verify(httpAuth(r.Header))
	}
	return nil
}

// writePage writes a page for browsers, and text for the rest.
func writePage(w http.ResponseWriter, v visit, local net.Addr) {
	data := pageData{CSS: template.CSS(pageCSS)}
	if tcp, ok := local.(*net.TCPAddr); ok {
		data.Addr = tcp.String()
		data.Host, data.Port, _ = net.SplitHostPort(data.Addr)
	}
	w.Header().Set("Allow", "CONNECT, OPTIONS")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	data.Absolute = isAbsolute(v.target)
	if !strings.Contains(v.accept, "text/html") {
		w.WriteHeader(http.StatusNotImplemented)
		must(textPage.Execute(w, data))
		return
	}
	sum := sha256.Sum256([]byte(pageCSS))
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'sha256-"+
		base64.StdEncoding.EncodeToString(sum[:])+"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	w.WriteHeader(http.StatusNotImplemented)
	must(htmlPage.Execute(w, data))
}

// answerHTTP is a response that is kept until it is whole.
type answerHTTP struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (a *answerHTTP) Header() http.Header { return a.header }

func (a *answerHTTP) WriteHeader(code int) {
	if a.code == 0 {
		a.code = code
	}
}

func (a *answerHTTP) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// append appends the response, without its body if that is only asked about.
func (a *answerHTTP) append(b []byte, headOnly bool) []byte {
	a.WriteHeader(http.StatusOK)
	reason := http.StatusText(a.code)
	if a.code == http.StatusNotImplemented {
		reason = "This is a SOCKS proxy"
	}
	a.header.Set("Content-Length", strconv.Itoa(a.body.Len()))
	a.header.Set("Connection", "close")
	w := bytes.NewBuffer(fmt.Appendf(b, "HTTP/1.1 %03d %s\r\n", a.code, reason))
	a.header.Write(w) // in which no line can end early
	w.WriteString("\r\n")
	if !headOnly {
		a.body.WriteTo(w)
	}
	return w.Bytes()
}

// must is for templates that are part of the program, filled with its own data.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
