package socks

import (
	"crypto/ed25519"
	"crypto/sha3"
	"encoding/base32"
	"strings"
	"testing"
)

// onionLabel makes the label of an onion service as its owner does: a key, the first
// two bytes of a checksum, the version (Tor's rend-spec-v3, section 6).
func onionLabel(seed, version byte, spoil int) string {
	key := ed25519.NewKeyFromSeed([]byte(strings.Repeat(string([]byte{seed}), ed25519.SeedSize))).Public().(ed25519.PublicKey)
	sum := sha3.Sum256([]byte(".onion checksum" + string(key) + string([]byte{version})))
	raw := append(append([]byte(key), sum[:2]...), version)
	if spoil >= 0 {
		raw[spoil] ^= 1
	}
	return strings.ToLower(base32.StdEncoding.EncodeToString(raw))
}

func TestCheckOnion(t *testing.T) {
	const torproject = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid"
	label := onionLabel(1, 3, -1)
	for _, test := range []struct {
		clause, name string
		onion, ok    bool
	}{
		{"rend-spec-v3-s6/good", label + ".onion", true, true},
		{"rend-spec-v3-s6/another-key", onionLabel(2, 3, -1) + ".onion", true, true},
		{"rend-spec-v3-s6/in-the-world", torproject + ".onion", true, true},
		{"rend-spec-v3-s6/upper-case", strings.ToUpper(label) + ".ONION", true, true},
		{"rend-spec-v3-s6/mixed-case", strings.ToUpper(label[:20]) + label[20:] + ".oNiOn", true, true},
		{"rend-spec-v3-s6/final-dot", label + ".onion.", true, true},
		{"rend-spec-v3-s6/subdomain", "www." + label + ".onion", true, true},
		{"rend-spec-v3-s6/two-subdomains", "a.b." + label + ".onion", true, true},
		{"rend-spec-v3-s6/key-spoiled", onionLabel(1, 3, 0) + ".onion", true, false},
		{"rend-spec-v3-s6/end-of-key-spoiled", onionLabel(1, 3, 31) + ".onion", true, false},
		{"rend-spec-v3-s6/checksum-spoiled", onionLabel(1, 3, 32) + ".onion", true, false},
		{"rend-spec-v3-s6/end-of-checksum-spoiled", onionLabel(1, 3, 33) + ".onion", true, false},
		{"rend-spec-v3-s6/version-spoiled", onionLabel(1, 3, 34) + ".onion", true, false},
		{"rend-spec-v3-s6/version-4-with-its-checksum", onionLabel(1, 4, -1) + ".onion", true, false},
		{"rend-spec-v3-s6/label-is-a-subdomain", label + ".www.onion", true, false},
		{"rend-spec-v3-s6/label-twice", label + label + ".onion", true, false},
		{"rend-spec-v3-s6/one-character-short", label[1:] + ".onion", true, false},
		{"rend-spec-v3-s6/one-character-more", "a" + label + ".onion", true, false},
		{"rend-spec-v3-s6/not-base32", "1" + label[1:] + ".onion", true, false},
		{"rend-spec-v3-s6/padding", label[:50] + "======.onion", true, false},
		{"rend-spec-v3-s6/line-ends", label[:48] + "\n\n\n\n\n\n\n\n.onion", true, false},
		{"rend-spec-v3-s6/line-ends-beside", label + "\r\n.onion", true, false},
		{"rend-spec-v2/16-characters", "expyuzz4wqqyqhjn.onion", true, false},
		{"RFC7686-s1/tld-alone", "onion", true, false},
		{"RFC7686-s1/tld-alone-with-dot", "onion.", true, false},
		{"RFC7686-s1/tld-upper-case", "ONION", true, false},
		{"RFC7686-s1/short", "a.onion", true, false},
		{"RFC7686-s1/empty-label", ".onion", true, false},
		{"RFC7686-s1/ends-alike", label + ".notonion", false, true},
		{"RFC7686-s1/joined", "aonion", false, true},
		{"RFC7686-s1/below-another", label + ".onion.example", false, true},
		{"RFC7686-s1/onion-below-another", "onion.example", false, true},
		{"RFC7686-s1/two-final-dots", label + ".onion..", false, true},
		{"RFC7686-s1/other", "www.example", false, true},
		{"RFC7686-s1/none", "", false, true},
	} {
		t.Run(test.clause, func(t *testing.T) {
			a := Addr{Name: test.name, Port: 80}
			if a.IsOnion() != test.onion {
				t.Errorf("IsOnion is %v", !test.onion)
			}
			err := a.CheckOnion()
			if (err == nil) != test.ok || err != nil && !isFormat(err, OnionBadAddress) {
				t.Errorf("CheckOnion: %v", err)
			}
		})
	}
	if a := (Addr{IP: ip4}); a.IsOnion() || a.CheckOnion() != nil {
		t.Error("an IP is taken for an onion name")
	}
}
