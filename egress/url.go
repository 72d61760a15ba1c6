package egress

import (
	"fmt"

	"hosier/socks"
)

// FromURL returns the egress through the proxy that a URL names, as [socks.ParseURL] reads it:
// a *[SOCKS] for socks5, socks5h and socks4a, which all leave names to the proxy, and an
// *[HTTP] for http. It connects to nothing. The error wraps [socks.ErrURL] and repeats no
// password.
func FromURL(text string) (Egress, error) {
	u, err := socks.ParseURL(text)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "http" {
		return &HTTP{Proxy: u.Address(), Auth: u.Auth}, nil
	}
	d, err := u.Dialer()
	if err != nil {
		return nil, fmt.Errorf("egress: %w", err)
	}
	return &SOCKS{Dialer: *d}, nil
}
