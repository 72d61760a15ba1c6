package daemon

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"hosier/egress"
	"hosier/internal/via"
)

// errLoop rejects a connection to an upstream that leads back here.
var errLoop = errors.New("the upstream is a listener of this hosier, and every connection would go in a circle")

// leadsBack reports whether host:port, as an upstream is written, is the listener at a. What it
// cannot know without a lookup, [Daemon.refuseLoop] finds out when it is connected to.
func leadsBack(upstream string, a net.Addr) bool {
	here, ok := a.(*net.TCPAddr)
	host, port, err := net.SplitHostPort(upstream)
	if err != nil || !ok || port != fmt.Sprint(here.Port) {
		return false
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return reaches(ip, here)
	}
	if via.IsLocalhost(host) {
		return reaches(netip.AddrFrom4([4]byte{127, 0, 0, 1}), here) || reaches(netip.IPv6Loopback(), here)
	}
	own, err := os.Hostname()
	return err == nil && here.IP.IsUnspecified() && strings.EqualFold(strings.TrimSuffix(host, "."), own)
}

// reaches reports whether a connection to ip, at the port of the listener, comes to the listener.
func reaches(ip netip.Addr, listener *net.TCPAddr) bool {
	at := plainAddr(listener.AddrPort().Addr())
	ip = plainAddr(ip)
	switch {
	case at == ip:
		return true
	case !at.IsUnspecified() || at.Is4() && !ip.Is4(): // [::] takes both families, 0.0.0.0 one
		return false
	}
	own, err := egress.OwnAddress(ip)
	return own && err == nil
}

func plainAddr(ip netip.Addr) netip.Addr { return ip.Unmap().WithZone("") }

// refuseLoop returns an error if the connection to an upstream has come to a listener of this
// hosier, by whatever name, redirection of a hosts file or spelling. It is asked before anything
// is sent.
func (d *Daemon) refuseLoop(c net.Conn) error {
	to, ok := c.RemoteAddr().(*net.TCPAddr)
	g := d.current.Load()
	if !ok || g == nil {
		return nil
	}
	for _, a := range g.listening {
		here, ok := a.(*net.TCPAddr)
		if ok && here.Port == to.Port && reaches(to.AddrPort().Addr(), here) {
			return fmt.Errorf("%v: %w", here, errLoop)
		}
	}
	return nil
}
