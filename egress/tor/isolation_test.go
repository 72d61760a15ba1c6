package tor

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"hosier/internal/sockstest"
	"hosier/socks"
)

func TestIsolation(t *testing.T) {
	auth := func(a socks.Auth) func(*socks.Request) { return func(r *socks.Request) { r.Auth = a } }
	client := func(ap string) func(*socks.Request) {
		return func(r *socks.Request) { r.Client = netip.MustParseAddrPort(ap) }
	}
	name := func(s string) func(*socks.Request) { return func(r *socks.Request) { r.Addr.Name = s } }
	const user = socks.UserPass
	for _, c := range []struct {
		name   string
		a, b   func(*socks.Request)
		differ Isolation // the option that turns the answer round
		same   bool      // by default
	}{
		{"listener", func(r *socks.Request) { r.Listener = "a" }, func(r *socks.Request) { r.Listener = "b" }, Isolation{NoListener: true}, false},
		{"client", client("192.0.2.1:1"), client("192.0.2.2:1"), Isolation{NoClient: true}, false},
		{"known user", func(r *socks.Request) { r.User = "a" }, func(r *socks.Request) { r.User = "b" }, Isolation{NoClient: true}, false},
		{"user", auth(socks.Auth{Method: user, User: "a"}), auth(socks.Auth{Method: user, User: "b"}), Isolation{NoAuth: true}, false},
		{"password", auth(socks.Auth{Method: user, User: "a", Password: "x"}), auth(socks.Auth{Method: user, User: "a", Password: "y"}), Isolation{NoAuth: true}, false},
		{"HTTP header", auth(socks.Auth{Isolation: "a"}), auth(socks.Auth{Isolation: "b"}), Isolation{NoAuth: true}, false},
		{"where user ends", auth(socks.Auth{Method: user, User: "ab", Password: "c"}), auth(socks.Auth{Method: user, User: "a", Password: "bc"}), Isolation{NoAuth: true}, false},
		{"format 0", auth(socks.Auth{Method: user, User: "<torS0X>0", Password: "x"}), auth(socks.Auth{Method: user, User: "<torS0X>0", Password: "y"}), Isolation{NoAuth: true}, false},
		{"destination", name("a.test"), name("b.test"), Isolation{Destination: true}, true},
		{"port", func(r *socks.Request) { r.Addr.Port = 1 }, func(r *socks.Request) { r.Addr.Port = 2 }, Isolation{Port: true}, true},
		{"protocol", func(r *socks.Request) { r.Version = socks.V4 }, func(r *socks.Request) { r.Version = socks.HTTP }, Isolation{Protocol: true}, true},
		{"port of the client", client("192.0.2.1:1"), client("192.0.2.1:2"), Isolation{}, true},
		{"address of an IPv6 network", client("[2001:db8::1]:1"), client("[2001:db8::2]:1"), Isolation{}, true},
		{"IPv6 network", client("[2001:db8::1]:1"), client("[2001:db8:0:1::1]:1"), Isolation{NoClient: true}, false},
		{"IPv4 in IPv6", client("192.0.2.1:1"), client("[::ffff:192.0.2.1]:1"), Isolation{}, true},
		{"SOCKS4 user", auth(socks.Auth{User: "a"}), auth(socks.Auth{Method: user, User: "a"}), Isolation{}, true},
		{"empty credentials", auth(socks.Auth{}), auth(socks.Auth{Method: user}), Isolation{}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := NewKey()
			share := func(i Isolation) bool {
				a, b := connectRequest("u"), connectRequest("u")
				c.a(a)
				c.b(b)
				return i.token(k, a) == i.token(k, b)
			}
			if share(Isolation{}) != c.same {
				t.Errorf("by default they share a circuit: %t, want %t", !c.same, c.same)
			}
			if c.differ != (Isolation{}) && share(c.differ) == c.same {
				t.Errorf("with %+v they share a circuit: %t, want %t", c.differ, c.same, !c.same)
			}
		})
	}
	k, r := NewKey(), connectRequest("u")
	lower, upper := *r, *r
	lower.Addr.Name, upper.Addr.Name = "www.example", "WWW.Example."
	if i := (Isolation{Destination: true}); i.token(k, &lower) != i.token(k, &upper) {
		t.Error("a name in another case is another destination")
	}
}

// All of it off is one circuit for everybody; another key is another token all the same.
func TestToken(t *testing.T) {
	off := Isolation{NoListener: true, NoClient: true, NoAuth: true}
	k := NewKey()
	a, b := connectRequest("a"), connectRequest("b")
	b.Client, b.Listener = netip.AddrPort{}, "unix:/x"
	if off.token(k, a) != off.token(k, b) {
		t.Error("with all isolation off there are two circuits")
	}
	if off.token(k, a) == off.token(NewKey(), a) {
		t.Error("the token does not depend on the key")
	}
}

// What a tor is told is the token, and nothing that the client said.
func TestCredentialsStayHere(t *testing.T) {
	socksPort, logins := fakeTor(t, &sockstest.Egress{})
	p := &Pool{Members: []Member{{SOCKS: socksPort}}}
	address := serve(t, p)
	attempt(t, user(address, "ann"), "www.example:80")
	attempt(t, &socks.Dialer{Proxy: address}, "www.example:80")
	p.update(p.all[0], func(h *health) { h.version = version{0, 4, 9, 1} })
	attempt(t, user(address, "ann"), "www.example:80")
	p.update(p.all[0], func(h *health) { h.version = version{0, 4, 9, 0} })
	attempt(t, &socks.Dialer{Proxy: address, Version: socks.V4, Auth: socks.Auth{User: "ann"}}, "www.example:80")
	all := logins()
	if len(all) != 4 {
		t.Fatalf("%d requests came to the tor, want 4", len(all))
	}
	for i, want := range []string{"hosier", "hosier", "<torS0X>0", "hosier"} {
		a := all[i]
		if a.Method != socks.UserPass || a.User != want || len(a.Password) != 43 {
			t.Errorf("request %d: user %q, %d bytes of password, want user %q and 43 bytes", i, a.User, len(a.Password), want)
		}
		if strings.Contains(a.User+a.Password, "ann") || strings.Contains(a.Password, "127.0.0.1") {
			t.Errorf("request %d shows who asked", i)
		}
	}
	if all[0].Password == all[1].Password || all[0].Password != all[2].Password || all[0].Password == all[3].Password {
		t.Error("the tokens of equal requests differ, or those of different ones do not")
	}
}

func TestLoadKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	var all sync.WaitGroup
	keys := make([]Key, 8)
	for i := range keys {
		all.Go(func() {
			var err error
			if keys[i], err = LoadKey(path); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, k := range keys {
		if k != keys[0] || k == (Key{}) {
			t.Error("of several that made the file at once, some have another key")
		}
	}
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) != 1 {
		t.Errorf("files left behind: %v", left)
	}
	if err := os.WriteFile(path, []byte("0123"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(path); err == nil || !strings.Contains(err.Error(), "64 hex digits") {
		t.Errorf("a short file: %v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(path); runtime.GOOS != "windows" && (err == nil || !strings.Contains(err.Error(), "chmod 600")) {
		t.Errorf("a file that others may read: %v", err)
	}
	if _, err := LoadKey(filepath.Join(path, "below")); err == nil || errors.Is(err, os.ErrExist) {
		t.Errorf("a directory that is none: %v", err)
	}
}
