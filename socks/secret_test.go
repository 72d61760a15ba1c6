package socks

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"strings"
	"testing"
)

const (
	secretPassword  = "Pa55word~"
	secretIsolation = "Is0lation~"
)

// TestSecrets formats what holds a password in every way there is.
func TestSecrets(t *testing.T) {
	auth := Auth{UserPass, "alice", secretPassword, secretIsolation}
	byID := Auth{NoAuth, "alice", secretPassword, secretIsolation}
	request := Request{Version: V5, Command: Connect, Addr: Addr{Name: "www.example", Port: 80}, Auth: auth}
	type session struct {
		ID      int
		Request Request
		Asked   *Request
	}
	type embedded struct{ Request }
	for name, v := range map[string]any{
		"auth": auth, "auth-pointer": &auth, "auth-by-id": byID, "auth-without-method": Auth{Password: secretPassword, Isolation: secretIsolation},
		"auths": []Auth{auth, byID}, "auth-map": map[string]Auth{"a": auth}, "auth-key": map[Auth]int{auth: 1}, "auth-array": [1]Auth{auth},
		"request": request, "request-pointer": &request, "requests": []Request{request}, "request-pointers": []*Request{&request},
		"session": session{1, request, &request}, "session-pointer": &session{1, request, &request},
		"embedded": embedded{request}, "embedded-pointer": &embedded{request}, "any": any(struct{ Any any }{request}),
	} {
		t.Run(name, func(t *testing.T) {
			for how, text := range formats(t, v) {
				if secret := leak(text); secret != "" {
					t.Errorf("%s shows %s: %s", how, secret, text)
				}
			}
		})
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		if secret := leak(fmt.Sprintf(verb, struct{ hidden *Request }{&request})); secret != "" {
			t.Errorf("%s of a struct with an unexported pointer shows %s", verb, secret)
		}
	}
	for _, d := range []any{Dialer{Auth: auth}, &Dialer{Auth: auth}} {
		for _, verb := range verbs {
			if secret := leak(fmt.Sprintf(verb, d)); secret != "" {
				t.Errorf("%s of a Dialer shows %s", verb, secret)
			}
		}
	}
}

// TestSecretsControl shows that the test above finds what it looks for.
func TestSecretsControl(t *testing.T) {
	type plain struct{ User, Secret string }
	for _, secret := range []string{secretPassword, secretIsolation} {
		for how, text := range formats(t, plain{"alice", secret}) {
			if leak(text) != secret {
				t.Errorf("%s of a plain struct does not show %s: %s", how, secret, text)
			}
		}
	}
}

var verbs = []string{
	"%v", "%+v", "%#v", "%s", "%+s", "%#s", "%q", "%+q", "%#q", "%x", "% x", "%#x", "%X", "% X",
	"%d", "%o", "%b", "%c", "%U", "%e", "%g", "%t", "%z", "%300v", "%-300v", "%.3v",
}

func formats(t *testing.T, v any) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, verb := range verbs {
		all[verb] = fmt.Sprintf(verb, v)
	}
	all["Sprint"] = fmt.Sprint(v)
	all["Sprintln"] = fmt.Sprintln(v)
	all["Errorf"] = fmt.Errorf("of %v: %w", v, errors.New("it")).Error()
	for name, print := range map[string]func(*bytes.Buffer){
		"log.Println":       func(b *bytes.Buffer) { log.New(b, "", 0).Println(v) },
		"slog text":         func(b *bytes.Buffer) { slog.New(slog.NewTextHandler(b, nil)).Info("it", "it", v) },
		"slog JSON":         func(b *bytes.Buffer) { slog.New(slog.NewJSONHandler(b, nil)).Info("it", "it", v) },
		"slog text grouped": func(b *bytes.Buffer) { slog.New(slog.NewTextHandler(b, nil)).Info("it", slog.Group("g", "it", v)) },
		"slog JSON with":    func(b *bytes.Buffer) { slog.New(slog.NewJSONHandler(b, nil)).With("it", v).Info("it") },
	} {
		var b bytes.Buffer
		print(&b)
		all[name] = b.String()
	}
	if b, err := json.Marshal(v); err == nil {
		all["json"] = string(b)
	} else if unsupported := (*json.UnsupportedTypeError)(nil); !errors.As(err, &unsupported) {
		t.Error(err)
	}
	return all
}

// leak returns which secret stands in text, as it is or in another notation.
func leak(text string) string {
	for _, secret := range []string{secretPassword, secretIsolation} {
		for _, part := range []string{
			secret, secret[:3],
			hex.EncodeToString([]byte(secret[:3])),
			fmt.Sprintf("% x", secret[:3]),
			fmt.Sprintf("%#x", []byte(secret[:3]))[2:],
		} {
			if strings.Contains(strings.ToLower(text), strings.ToLower(part)) {
				return secret
			}
		}
	}
	return ""
}

func TestRequestText(t *testing.T) {
	r := Request{Version: V5, Command: Connect, Addr: Addr{Name: "www.example", Port: 80}, Auth: Auth{Method: UserPass, User: "alice", Password: secretPassword}}
	want := `SOCKS5 CONNECT www.example:80, user "alice" with a password`
	for _, verb := range verbs {
		if got := fmt.Sprintf(verb, r); got != want {
			t.Errorf("%s: got %s, want %s", verb, got, want)
		}
	}
	for _, c := range []Command{Resolve, ResolvePTR} {
		r := Request{Version: V4, Command: c, Addr: Addr{IP: ip6}}
		if got, want := fmt.Sprint(&r), "SOCKS4 "+c.String()+" 2001:db8::1, no authentication"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := fmt.Sprint((*Request)(nil)); got != "<nil>" {
		t.Errorf("nil: got %s", got)
	}
}

// TestAuthText is what is said instead.
func TestAuthText(t *testing.T) {
	for want, a := range map[string]Auth{
		`no authentication`:              {Password: secretPassword},
		`user id "alice"`:                {User: "alice", Password: secretPassword},
		`user "alice" with a password`:   {Method: UserPass, User: "alice", Password: secretPassword},
		`user "" with a password`:        {Method: UserPass},
		`user "a\x00\n" with a password`: {Method: UserPass, User: "a\x00\n"},
	} {
		if got := a.String(); got != want {
			t.Errorf("String: got %s, want %s", got, want)
		}
		if got := fmt.Sprintf("%d", a); got != want {
			t.Errorf("Format: got %s, want %s", got, want)
		}
		if got := a.GoString(); got != "socks.Auth{"+want+"}" {
			t.Errorf("GoString: got %s, want %s", got, want)
		}
		if got := a.LogValue().String(); got != want {
			t.Errorf("LogValue: got %s, want %s", got, want)
		}
	}
}
