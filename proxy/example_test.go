package proxy_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"

	"hosier/egress"
	"hosier/proxy"
	"hosier/socks"
)

// A proxy on a port of its own that refuses one port and lets the rest out by this
// host's network.
func Example() {
	direct := &egress.Direct{}
	srv := &proxy.Server{
		Policy: proxy.Policy{
			Route: func(_ context.Context, ses *proxy.Session) (proxy.Route, error) {
				if ses.Request.Addr.Port == 25 {
					return proxy.Route{}, fmt.Errorf("no mail from here: %w", socks.NotAllowed)
				}
				return proxy.Route{Egress: direct}, nil
			},
		},
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go srv.Serve(l)
	defer srv.Close()

	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello")
	}))
	defer web.Close()

	through := socks.Dialer{Proxy: l.Addr().String()}
	client := &http.Client{Transport: &http.Transport{DialContext: through.DialContext, DisableKeepAlives: true}}
	resp, err := client.Get(web.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Printf("%s\n", body)

	_, err = through.Dial("tcp", "mail.example:25")
	fmt.Println(strings.Replace(err.Error(), through.Proxy, "ADDR", 1))
	// Output:
	// hello
	// CONNECT mail.example:25 through proxy ADDR: not allowed by ruleset
}

// An egress of one's own: it has CONNECT, and is refused the rest by what it embeds.
type loopback struct{ egress.Unsupported }

func (loopback) Dial(ctx context.Context, r *socks.Request) (net.Conn, socks.Addr, error) {
	// The name is not looked up: whatever it is, this egress ends here.
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", r.Addr.Port))
	return c, socks.Addr{}, err
}

func ExampleEgress() {
	srv := &proxy.Server{
		Policy: proxy.Policy{
			Route: func(context.Context, *proxy.Session) (proxy.Route, error) {
				return proxy.Route{Egress: loopback{}}, nil
			},
		},
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go srv.Serve(l)
	defer srv.Close()

	through := socks.Dialer{Proxy: l.Addr().String()}
	_, err = through.Resolve(context.Background(), "anything.example")
	fmt.Println(strings.Replace(err.Error(), through.Proxy, "ADDR", 1))
	// Output: RESOLVE anything.example through proxy ADDR: command not supported
}
