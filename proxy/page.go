package proxy

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net"
	"net/http"
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

// appendPage appends the answer to a client that speaks plain HTTP to the port: a page
// for browsers, text for the rest. The request is nil if its head could not be read.
func appendPage(b []byte, req *http.Request, local net.Addr) []byte {
	data := pageData{CSS: template.CSS(pageCSS)}
	if tcp, ok := local.(*net.TCPAddr); ok {
		data.Addr = tcp.String()
		data.Host, data.Port, _ = net.SplitHostPort(data.Addr)
	}
	var body bytes.Buffer
	kind, policy := "text/plain", "default-src 'none'"
	if req != nil {
		data.Absolute = req.URL.IsAbs()
	}
	if req != nil && strings.Contains(req.Header.Get("Accept"), "text/html") {
		kind = "text/html"
		sum := sha256.Sum256([]byte(pageCSS))
		policy += "; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
		policy += "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
		must(htmlPage.Execute(&body, data))
	} else {
		must(textPage.Execute(&body, data))
	}
	b = fmt.Appendf(b, "HTTP/1.1 501 This is a SOCKS proxy\r\nServer: hosier\r\nAllow: CONNECT, OPTIONS\r\n"+
		"Content-Type: %s; charset=utf-8\r\nContent-Length: %d\r\nCache-Control: no-store\r\n"+
		"Content-Security-Policy: %s\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n",
		kind, body.Len(), policy)
	if req != nil && req.Method == http.MethodHead {
		return b
	}
	return append(b, body.Bytes()...)
}

// must is for templates that are part of the program, filled with its own data.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
