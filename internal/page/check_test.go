package page

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hosier/socks"
)

func checkRequest(name string, port uint16) *socks.Request {
	return &socks.Request{Version: socks.V5, Command: socks.Connect, Addr: socks.Addr{Name: name, Port: port}}
}

// The name and all below it are the Check's, however they are written, and nothing else is.
func TestCheckAnswers(t *testing.T) {
	for name, want := range map[string]bool{
		CheckName: true, strings.ToUpper(CheckName): true, CheckName + ".": true, "a.b." + CheckName: true,
		"x" + CheckName: false, "hosier.invalid": false, CheckName + ".example.org": false, "": false, "example.org": false,
	} {
		for _, command := range []socks.Command{socks.Connect, socks.Resolve, socks.Bind} {
			r := checkRequest(name, 80)
			r.Command = command
			if got := IsCheck(r.Addr); got != want {
				t.Errorf("%v %q: %v, want %v", command, name, got, want)
			}
		}
	}
}

func TestCheckLeadsNowhere(t *testing.T) {
	c := NewCheck()
	for _, tt := range []struct {
		name string
		port uint16
		want socks.Status
	}{
		{CheckName, 443, socks.ConnectionRefused},
		{CheckName, 1, socks.ConnectionRefused},
		{"a." + CheckName, 80, socks.HostUnreachable},
	} {
		if conn, _, err := c.Dial(context.Background(), checkRequest(tt.name, tt.port)); conn != nil || !errors.Is(err, tt.want) {
			t.Errorf("%s:%d: %v, %v; want %v", tt.name, tt.port, conn, err, tt.want)
		}
	}
	if ip, err := c.Resolve(context.Background(), checkRequest(CheckName, 0)); ip.IsValid() || !errors.Is(err, socks.HostUnreachable) {
		t.Errorf("Resolve: %v, %v", ip, err)
	}
	if name, err := c.ResolvePTR(context.Background(), checkRequest("", 0)); name != "" || !errors.Is(err, socks.HostUnreachable) {
		t.Errorf("ResolvePTR: %v, %v", name, err)
	}
}

const visitor = "Host: " + CheckName + "\r\nUser-Agent: Mozilla/5.0\r\nAccept: text/html\r\n\r\n"

func TestCheckPage(t *testing.T) {
	for name, tt := range map[string]struct {
		change  func(*socks.Request)
		request string // LINK is the path of a link
		want    []string
	}{
		"curl":                    {nil, "GET / HTTP/1.1\r\nHost: check.hosier.invalid\r\n\r\n", []string{"HTTP/1.1 200 OK\r\n", "text/plain", "dialect: SOCKS5\n", "by a user name: no, none was sent\n"}},
		"any path":                {nil, "GET /x/../y?z HTTP/1.1\r\nHost: CHECK.hosier.invalid:80\r\n\r\n", []string{"dialect: SOCKS5\n"}},
		"HEAD":                    {nil, "HEAD / HTTP/1.1\r\nHost: check.hosier.invalid\r\n\r\n", []string{"HTTP/1.1 200 OK\r\n"}},
		"SOCKS4A":                 {func(r *socks.Request) { r.Version = socks.V4 }, "GET / HTTP/1.0\r\nHost: check.hosier.invalid\r\n\r\n", []string{"dialect: SOCKS4A\n"}},
		"CONNECT":                 {func(r *socks.Request) { r.Version = socks.HTTP }, "GET / HTTP/1.0\r\nHost: check.hosier.invalid\r\n\r\n", []string{"dialect: HTTP CONNECT\n"}},
		"user":                    {func(r *socks.Request) { r.Auth.User = "s3cr3t" }, "GET / HTTP/1.0\r\nHost: check.hosier.invalid\r\n\r\n", []string{"by a user name: yes\n"}},
		"password":                {func(r *socks.Request) { r.Auth.Password = "s3cr3t" }, "GET / HTTP/1.0\r\nHost: check.hosier.invalid\r\n\r\n", []string{"by a user name: yes\n"}},
		"header":                  {func(r *socks.Request) { r.Auth.Isolation = "s3cr3t" }, "GET / HTTP/1.0\r\nHost: check.hosier.invalid\r\n\r\n", []string{"by a user name: yes\n"}},
		"browser":                 {nil, "GET LINK HTTP/1.1\r\n" + visitor, []string{"text/html", "<dd>SOCKS5</dd>", "no, none was sent", "script-src 'sha256-"}},
		"browser, alone":          {func(r *socks.Request) { r.Auth.User = "s3cr3t" }, "GET LINK HTTP/1.1\r\n" + visitor, []string{"<dd>yes</dd>"}},
		"browser, without a link": {nil, "GET / HTTP/1.1\r\n" + visitor, nil},
		"browser, longer":         {nil, "GET LINK0 HTTP/1.1\r\n" + visitor, nil},
		"browser, below":          {nil, "GET LINK/favicon.ico HTTP/1.1\r\n" + visitor, nil},
		"another host":            {nil, "GET LINK HTTP/1.1\r\nHost: evil.test\r\n\r\n", nil},
		"no host":                 {nil, "GET LINK HTTP/1.0\r\n\r\n", nil},
		"POST":                    {nil, "POST LINK HTTP/1.1\r\n" + visitor, nil},
		"whole URL":               {nil, "GET http://check.hosier.invalid/ HTTP/1.1\r\n\r\n", nil},
		"not HTTP":                {nil, "SSH-2.0-x\r\n\r\n", nil},
		"TLS":                     {nil, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", nil},
		"too long":                {nil, "GET / HTTP/1.1\r\nHost: check.hosier.invalid\r\nX: " + strings.Repeat("x", 9000) + "\r\n\r\n", nil},
		"silence":                 {nil, "", nil},
		"half":                    {nil, "GET / HTTP/1.1\r\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := NewCheck()
				r := checkRequest("Check.Hosier.Invalid.", 80)
				if tt.change != nil {
					tt.change(r)
				}
				conn, _, err := c.Dial(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				link := strings.TrimPrefix(c.URL(time.Now()), "http://"+CheckName)
				go io.WriteString(conn, strings.Replace(tt.request, "LINK", link, 1))
				start := time.Now()
				b, err := io.ReadAll(conn)
				if took := time.Since(start); err != nil || took > checkTimeout {
					t.Errorf("%v after %v", err, took)
				}
				if tt.want == nil && len(b) > 0 || tt.want != nil && len(b) == 0 {
					t.Errorf("got %q", b)
				}
				for _, want := range append(tt.want, "s3cr3t") {
					if strings.Contains(string(b), want) == (want == "s3cr3t") {
						t.Errorf("got %q; %q should be in it, and no password", b, want)
					}
				}
			})
		})
	}
}

// Links end, and those of another proxy are worth nothing.
func TestCheckLinks(t *testing.T) {
	c, now := NewCheck(), time.Unix(1<<31, 0)
	link := strings.TrimPrefix(c.URL(now), "http://"+CheckName)
	for after, want := range map[time.Duration]bool{0: true, checkPeriod: true, 2 * checkPeriod: false, -checkPeriod: false} {
		if got := c.isLink(link, now.Add(after)); got != want {
			t.Errorf("after %v: %v, want %v", after, got, want)
		}
	}
	if NewCheck().isLink(link, now) {
		t.Error("another key takes the link")
	}
	for _, bad := range []string{"", "/", link[1:], link[:len(link)-1], strings.ToUpper(link)} {
		if c.isLink(bad, now) {
			t.Errorf("%q is taken", bad)
		}
	}
}

// A client that goes away leaves nothing behind (see TestMain).
func TestCheckGone(t *testing.T) {
	conn, _, err := NewCheck().Dial(context.Background(), checkRequest(CheckName, 80))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
