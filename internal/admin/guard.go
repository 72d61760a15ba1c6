package admin

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
)

// headers are those of every answer.
var headers = [...][2]string{
	{
		"Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
			"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
	},
	{"X-Content-Type-Options", "nosniff"},
	{"X-Frame-Options", "DENY"},
	{"Referrer-Policy", "no-referrer"},
	{"Cross-Origin-Resource-Policy", "same-origin"},
	{"Cross-Origin-Opener-Policy", "same-origin"},
	{"Cache-Control", "no-store"},
}

// guard is what every request passes first.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.recover(r)
		for _, h := range headers {
			w.Header().Set(h[0], h[1])
		}
		switch {
		// A request line with a whole URL is one to a proxy, and its host would take the
		// place of the Host header.
		case r.URL.IsAbs() || r.URL.Host != "" || !s.isOwn(r):
			w.WriteHeader(http.StatusMisdirectedRequest)
		case r.URL.Path != "/healthz" && isForeign(r):
			w.WriteHeader(http.StatusForbidden)
		default:
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			next.ServeHTTP(w, r)
		}
	})
}

// recover logs a panic, without the client's address that net/http would add.
func (s *Server) recover(r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p != http.ErrAbortHandler {
		s.log.Error("admin handler failed", "method", fmt.Sprintf("%.20q", r.Method), "panic", p, "stack", string(debug.Stack()))
	}
	panic(http.ErrAbortHandler)
}

// isOwn reports whether the request names the listener by a name of its own. A web page
// whose name somebody made point here (DNS rebinding) has another.
func (s *Server) isOwn(r *http.Request) bool {
	local, isTCP := localAddr(r).(*net.TCPAddr)
	if !isTCP {
		return true // no page leads to a Unix socket
	}
	own := strconv.Itoa(local.Port)
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		host, port = strings.TrimSuffix(strings.TrimPrefix(r.Host, "["), "]"), "80"
	}
	ip, err := netip.ParseAddr(host)
	return port == own && (strings.EqualFold(host, "localhost") || err == nil && ip.Zone() == "" && ip.Unmap().IsLoopback())
}

func localAddr(r *http.Request) net.Addr {
	a, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return a
}

// isForeign reports whether a page of another origin had the request made. Other ports
// of this host are other origins. What is no browser sends neither header.
func isForeign(r *http.Request) bool {
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
	switch {
	case site != "" && site != "none" && site != "same-origin":
		return true
	case origin == "null": // also of our own forms, because of our Referrer-Policy
		return site != "same-origin"
	}
	return origin != "" && origin != "http://"+r.Host
}

// isSafe reports whether the method changes nothing (RFC 9110 section 9.2.1).
func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}
