package main

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"

	"hosier/egress"
	"hosier/proxy"
	"hosier/socks"
)

// parseVia makes the way out that --via names.
func parseVia(via, dns string, allow func(*socks.Request, netip.Addr) error) (proxy.Egress, error) {
	if via == "direct" {
		if dns != "" {
			if _, err := netip.ParseAddrPort(dns); err != nil {
				return nil, fmt.Errorf("--dns %s: write the DNS server as ip:port, such as 192.0.2.53:53", dns)
			}
		}
		return &egress.Direct{DNS: dns, Allow: allow}, nil
	}
	if dns != "" {
		return nil, fmt.Errorf("--dns %s: names go to %s and are looked up there, so only --via direct has a DNS server", dns, redacted(via))
	}
	u, err := url.Parse(via)
	if err != nil {
		// The error would repeat the URL, and with it a password.
		return nil, errors.New("--via: this is not a URL; write direct, or such as socks5://user:password@host:1080")
	}
	address, err := viaAddress(u)
	if err != nil {
		return nil, fmt.Errorf("--via %s: %w", u.Redacted(), err)
	}
	auth := viaAuth(u)
	switch u.Scheme {
	case "socks5", "socks5h":
		return &egress.SOCKS{Dialer: socks.Dialer{Proxy: address, Version: socks.V5, Auth: auth}}, nil
	case "socks4a":
		auth.Method = socks.NoAuth
		return &egress.SOCKS{Dialer: socks.Dialer{Proxy: address, Version: socks.V4, Auth: auth}}, nil
	case "http":
		return &egress.HTTP{Proxy: address, Auth: auth}, nil
	case "tor":
		return &egress.SOCKS{Tor: true, Dialer: socks.Dialer{Proxy: address, Version: socks.V5, Auth: auth}}, nil
	case "socks4":
		return nil, fmt.Errorf("--via %s: SOCKS4 cannot carry names, so they would have to be looked up here; write socks4a://", u.Redacted())
	}
	return nil, fmt.Errorf("--via %s: write direct, socks5://, socks4a://, http:// or tor://, and then host:port", u.Redacted())
}

func viaAddress(u *url.URL) (string, error) {
	switch {
	case u.Host == "" || u.Hostname() == "":
		return "", errors.New("there is no host in it")
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.Fragment != "":
		return "", errors.New("nothing may follow the port")
	case u.Port() == "":
		return "", errors.New("there is no port in it")
	}
	return u.Host, nil
}

func viaAuth(u *url.URL) socks.Auth {
	if u.User == nil {
		return socks.Auth{}
	}
	password, _ := u.User.Password()
	return socks.Auth{Method: socks.UserPass, User: u.User.Username(), Password: password}
}

// redacted is for messages: via without its password, however malformed it is.
func redacted(via string) string {
	if u, err := url.Parse(via); err == nil {
		return u.Redacted()
	}
	return "the proxy"
}
