package proxy

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
)

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

// writePage writes a few lines of text. Nothing of them comes from the client.
func writePage(w http.ResponseWriter, v visit, local net.Addr) {
	did, at := "spoke plain HTTP to it", "localhost/PATH/OF/THE/SOCKET"
	if isAbsolute(v.target) {
		did = "used it as a plain HTTP proxy"
	}
	if tcp, ok := local.(*net.TCPAddr); ok {
		at = tcp.String()
	}
	w.Header().Set("Allow", "CONNECT, OPTIONS")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusNotImplemented)
	fmt.Fprintf(w, `This is hosier, a SOCKS proxy. Your program %s.
Nothing was fetched, and nothing was sent on.

Tell the program that this is a SOCKS5 proxy that looks names up: socks5h://%s
https:// pages also work with this as an HTTP proxy.
`, did, at)
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
