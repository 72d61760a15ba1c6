package rules

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// names maps what people write to what DNS has, and leaves the rules for host names, which
// DNS does not have, to others.
var names = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(false))

// ToASCII returns a name that a person wrote as DNS has it: münchen.example becomes
// xn--mnchen-3ya.example (RFC 5891 section 5). ASCII is returned as it is. It must not be
// given what a client sent: there, what is not ASCII is no name.
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
