package rules

import (
	"testing"

	"hosier/socks"
)

func TestToASCII(t *testing.T) {
	for name, want := range map[string]string{
		"":                       "",
		"www.example":            "www.example",
		"WWW.Example":            "WWW.Example",
		"a_b.example":            "a_b.example",
		"192.0.2.1":              "192.0.2.1",
		"[::1]":                  "[::1]",
		"münchen.example":        "xn--mnchen-3ya.example",
		"MÜNCHEN.Example":        "xn--mnchen-3ya.example",
		"mu\u0308nchen.example":  "xn--mnchen-3ya.example",
		"_x.münchen.example":     "_x.xn--mnchen-3ya.example",
		"straße.example":         "xn--strae-oqa.example",
		"例え。テスト":                 "xn--r8jz45g.xn--zckzah",
		"xn--mnchen-3ya.example": "xn--mnchen-3ya.example",
	} {
		if got, err := ToASCII(name); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"a\xff.example", "a\u0000\u202e.example", "\u0300a.example", "ab\u05d0.example"} {
		if got, err := ToASCII(name); err == nil {
			t.Errorf("%q is taken as %q", name, got)
		}
	}
}

// A rule about a name in any script is about what clients send, and clients that send the
// script itself send no name.
func TestRuleInScript(t *testing.T) {
	for _, text := range []string{"münchen.example", ".münchen.example", "xn--mnchen-3ya.example"} {
		d, err := ParseDest(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got := d.String(); got != "xn--mnchen-3ya.example" && got != ".xn--mnchen-3ya.example" {
			t.Errorf("%s is %s", text, got)
		}
	}
	if _, err := socks.ParseHost("münchen.example"); err == nil {
		t.Error("a client's name in another script is taken")
	}
}
