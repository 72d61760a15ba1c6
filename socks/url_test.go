package socks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestNewDialer(t *testing.T) {
	password := func(user, password string) Auth { return Auth{Method: UserPass, User: user, Password: password} }
	for text, want := range map[string]Dialer{
		"socks5://proxy.test":               {Proxy: "proxy.test:1080", Version: V5},
		"socks5h://proxy.test:9050":         {Proxy: "proxy.test:9050", Version: V5},
		"SOCKS5H://proxy.test/":             {Proxy: "proxy.test:1080", Version: V5},
		"socks5h://[2001:db8::1]":           {Proxy: "[2001:db8::1]:1080", Version: V5},
		"socks5h://[fe80::1%25eth0]:9":      {Proxy: "[fe80::1%eth0]:9", Version: V5},
		"socks5h://ann:pw@proxy.test":       {Proxy: "proxy.test:1080", Version: V5, Auth: password("ann", "pw")},
		"socks5h://ann@proxy.test":          {Proxy: "proxy.test:1080", Version: V5, Auth: password("ann", "")},
		"socks5h://:pw@proxy.test":          {Proxy: "proxy.test:1080", Version: V5, Auth: password("", "pw")},
		"socks5h://a%40b:p%2F%3A%25@p.test": {Proxy: "p.test:1080", Version: V5, Auth: password("a@b", "p/:%")},
		"socks4a://proxy.test":              {Proxy: "proxy.test:1080", Version: V4},
		"socks4a://ann@proxy.test":          {Proxy: "proxy.test:1080", Version: V4, Auth: Auth{User: "ann"}},
	} {
		d, err := NewDialer(text)
		if err != nil || d.Proxy != want.Proxy || d.Version != want.Version || d.Auth != want.Auth {
			t.Errorf("%s: %+v, %v", text, d, err)
		}
	}
}

// No part of a refused URL is repeated in which a password may stand.
func TestRefusedURLs(t *testing.T) {
	long := strings.Repeat("secret", 50)
	for text, unsupported := range map[string]bool{
		"":                                    false,
		"proxy.test:1080":                     false,
		"secret@proxy.test:1080":              false,
		"socks5h:ann:secret@proxy.test":       false,
		"socks5h://":                          false,
		"socks5h://:1080":                     false,
		"socks5h://ann:secret@":               false,
		"socks5h://ann:secret@:1080":          false,
		"socks5h://ann:se/secret@proxy.test":  false,
		"socks5h://ann:1/secret@proxy.test":   false,
		"socks5h://ann:#secret@proxy.test":    false,
		"socks5h://ann:?secret@proxy.test":    false,
		"socks5h://ann:%secret@proxy.test":    false,
		"socks5h://ann:sec ret@proxy.test":    false,
		"socks5h://ann:secret\n@proxy.test":   false,
		"socks5h://ann:secret@proxy.test:x":   false,
		"socks5h://ann:secret@proxy.test:0":   false,
		"socks5h://a:secret@proxy.test:99999": false,
		"socks5h://ann:secret@proxy.test/p":   false,
		"socks5h://ann:secret@proxy.test?":    false,
		"socks5h://ann:secret@proxy.test#x":   false,
		"socks5h://" + long + "@proxy.test":   false,
		"socks4a://ann:secret@proxy.test":     false,
		"socks4a://secret%00x@proxy.test":     false,
		"tor://ann:secret@proxy.test":         false,
		"ftp://ann:secret@proxy.test:21":      false,
		"secret://ann:secret@proxy.test:21":   false,
		"socks4://ann:secret@proxy.test":      true,
		"http://ann:secret@proxy.test":        true,
	} {
		d, err := NewDialer(text)
		if err == nil {
			t.Errorf("%s: taken as %+v", text, d)
			continue
		}
		if !errors.Is(err, ErrURL) || errors.Is(err, errors.ErrUnsupported) != unsupported || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A URL is printed as it can be read again, and without the password in any way.
func TestURLString(t *testing.T) {
	for text, want := range map[string]string{
		"http://proxy.test":                   "http://proxy.test:80",
		"socks5h://ann:secret@proxy.test":     "socks5h://ann:xxxxx@proxy.test:1080",
		"socks5h://ann@[2001:db8::1]":         "socks5h://ann@[2001:db8::1]:1080",
		"x://:secret@proxy.test:1":            "x://:xxxxx@proxy.test:1",
		"socks5h://a%40:secret@[fe80::1%25e]": "socks5h://a%40:xxxxx@[fe80::1%25e]:1080",
	} {
		u, err := ParseURL(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := u.String(); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
		if again, err := ParseURL(want); err != nil || again.Address() != u.Address() || again.Scheme != u.Scheme {
			t.Errorf("%s is not read again: %v, %v", want, again, err)
		}
		var out bytes.Buffer
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "url", u, "value", *u)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "url", u, "value", *u)
		json.NewEncoder(&out).Encode(u)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
			fmt.Fprintf(&out, verb, u)
			fmt.Fprintf(&out, verb, *u)
			fmt.Fprintf(&out, verb, struct{ U *URL }{u})
			fmt.Fprintf(&out, verb, []URL{*u})
		}
		if strings.Contains(out.String(), "secret") || strings.Contains(out.String(), fmt.Sprintf("%x", "secret")) {
			t.Errorf("%s: the password shows: %s", text, out.String())
		}
	}
}
