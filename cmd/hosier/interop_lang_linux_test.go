package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"testing"

	netproxy "golang.org/x/net/proxy"

	"hosier/internal/debiantest"
	"hosier/internal/tcptest"
)

// python returns a Python that has PySocks. Debian's own comes first: another one may
// stand before it in PATH and lack Debian's packages.
func python(tb testing.TB) string {
	tb.Helper()
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		if path, err := exec.LookPath(name); err == nil && runProgram(tb, "", path, "-c", "import socks").code == 0 {
			return path
		}
	}
	debiantest.Missing(tb, "PySocks", "python3-socks")
	return ""
}

func TestPySocks(t *testing.T) {
	python3 := python(t)
	s := newSite(t)
	_, port, _ := net.SplitHostPort(tcptest.Listen(t, tcptest.Echo))
	for _, tt := range []struct {
		kind, user, password, log string
		asked                     []string
	}{
		{"SOCKS4", "", "", "dialect=SOCKS4A", askedV4},
		{"SOCKS4", "me", "", "dialect=SOCKS4A", askedV4},
		{"SOCKS5", "", "", "dialect=SOCKS5", askedBoth},
		{"SOCKS5", "me", "hunter2", "dialect=SOCKS5", askedBoth},
		{"HTTP", "", "", "dialect=HTTP", askedBoth},
		{"HTTP", "me", "hunter2", "dialect=HTTP", askedBoth},
	} {
		t.Run(tt.kind+"/"+tt.user, func(t *testing.T) {
			h := s.start(t)
			proxyHost, proxyPort, _ := net.SplitHostPort(h.addr())
			w := newWatch(t)
			words := append(w.wrapper, python3, "testdata/pysocks.py", tt.kind, proxyHost, proxyPort, tt.user, tt.password, webName, port)
			runProgram(t, "", words...).want(t, "ping\n")
			h.awaitLog(t, tt.log+" command=CONNECT target="+webName+":"+port+` .*status="00 succeeded" up=5 down=5 `)
			w.traffic(t).onlyTo(t, h.addr())
			s.asked(t, tt.asked...)
		})
	}
	t.Run("no-such-name", func(t *testing.T) {
		h := s.start(t)
		proxyHost, proxyPort, _ := net.SplitHostPort(h.addr())
		runProgram(t, "", python3, "testdata/pysocks.py", "SOCKS5", proxyHost, proxyPort, "", "", nowhereName, port).
			wantFailure(t, "0x04: Host unreachable")
		s.asked(t, "A "+nowhereName, "AAAA "+nowhereName)
	})
}

// TestXNetProxy is Go's golang.org/x/net/proxy, by its own hand and by URL.
func TestXNetProxy(t *testing.T) {
	s := newSite(t)
	h := s.start(t)
	byURL := func(text string) netproxy.Dialer {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		d, err := netproxy.FromURL(u, netproxy.Direct)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	byHand := func(auth *netproxy.Auth) netproxy.Dialer {
		d, err := netproxy.SOCKS5("tcp", h.addr(), auth, nil)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for name, d := range map[string]netproxy.Dialer{
		"socks5":       byHand(nil),
		"socks5/user":  byHand(&netproxy.Auth{User: "me", Password: "hunter2"}),
		"url/socks5":   byURL("socks5://" + h.addr()),
		"url/socks5h":  byURL("socks5h://" + h.addr()),
		"url/password": byURL("socks5://me:hunter2@" + h.addr()),
	} {
		t.Run(name, func(t *testing.T) {
			transport := &http.Transport{DialContext: d.(netproxy.ContextDialer).DialContext, DisableKeepAlives: true}
			got, err := get(transport, "http://"+s.host()+"/")
			if err != nil || got != greeting(s.host()) {
				t.Errorf("got %q, %v", got, err)
			}
			s.asked(t, askedBoth...)
		})
	}
}

// TestNetHTTP is the client of Go's standard library.
func TestNetHTTP(t *testing.T) {
	s := newSite(t)
	h := s.start(t)
	for _, scheme := range []string{"socks5", "socks5h"} {
		t.Run(scheme, func(t *testing.T) {
			through := &url.URL{Scheme: scheme, Host: h.addr(), User: url.UserPassword("me", "hunter2")}
			got, err := get(&http.Transport{Proxy: http.ProxyURL(through), DisableKeepAlives: true}, "http://"+s.host()+"/")
			if err != nil || got != greeting(s.host()) {
				t.Errorf("got %q, %v", got, err)
			}
			s.asked(t, askedBoth...)
		})
	}
}

func get(transport *http.Transport, url string) (string, error) {
	client := http.Client{Transport: transport, Timeout: patience}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s", resp.Status)
	}
	return string(body), err
}
