package proxy_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"hosier/internal/sockstest"
	"hosier/proxy"
	"hosier/socks"
)

// A page can ask whether a client has logged in.
func TestPageLogin(t *testing.T) {
	wrong := errors.New("wrong")
	verify := func(_ *proxy.Session, a socks.Auth) (string, error) {
		if a.User != "ann" || a.Password != "secret" {
			return "", wrong
		}
		return a.User, nil
	}
	for _, tt := range []struct {
		name string
		proxy.Policy
		head string
		want error
	}{
		{"nobody has to", proxy.Policy{}, "", nil},
		{"right", proxy.Policy{Verify: verify}, "Proxy-Authorization: Basic YW5uOnNlY3JldA==\r\n", nil},
		{"wrong", proxy.Policy{Verify: verify}, "Proxy-Authorization: Basic YW5uOng=\r\n", wrong},
		{"none", proxy.Policy{Verify: verify}, "", wrong},
		{"malformed", proxy.Policy{Verify: verify}, "Proxy-Authorization: Basic !\r\n", wrong},
		{"no CONNECT", proxy.Policy{Dialects: proxy.SOCKS5}, "", proxy.ErrDialect},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := errors.New("the page was not asked")
			tt.Page = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got = proxy.Login(r)
				w.WriteHeader(http.StatusProxyAuthRequired)
			})
			address := sockstest.Serve(t, &proxy.Server{Policy: tt.Policy}, &sockstest.Egress{})
			b := ask(t, address, "GET http://a.test/ HTTP/1.1\r\n"+tt.head+"\r\n")
			if !bytes.HasPrefix(b, []byte("HTTP/1.1 407 ")) || !errors.Is(got, tt.want) {
				t.Errorf("got %v, want %v; the client gets %q", got, tt.want, b)
			}
		})
	}
	if err := proxy.Login(httptest.NewRequest(http.MethodGet, "/", nil)); err != nil {
		t.Errorf("of another server: %v", err)
	}
}
