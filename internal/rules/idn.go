package rules

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// names maps names as people write them to DNS names. Rules for host names, which DNS
// does not have, are checked elsewhere.
var names = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(false))

// ToASCII converts a name that a person wrote to its DNS form: münchen.example becomes
// xn--mnchen-3ya.example (RFC 5891 section 5). ASCII is returned as it is. Do not call it
// for names from clients: those must be ASCII already.
func ToASCII(name string) (string, error) {
	for i := range len(name) {
		if name[i] < 0x80 {
			continue
		}
		if !utf8.ValidString(name) {
			return "", errors.New("this name is not UTF-8")
		}
		ascii, err := names.ToASCII(name)
		if err != nil {
			return "", fmt.Errorf("DNS can have no such name: %w", err)
		}
		return ascii, nil
	}
	return name, nil
}
