package resolver

import (
	"bufio"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// The files that say how this system resolves names, where there are such.
const (
	resolvConf = "/etc/resolv.conf"
	hostsFile  = "/etc/hosts"
)

// system is what resolv.conf(5) says.
type system struct {
	servers  []Server
	search   []string // canonical
	ndots    int
	timeout  time.Duration // for one server
	attempts int
	rotate   bool
	useTCP   bool
}

func readSystem(r io.Reader) system {
	s := system{ndots: 1, timeout: 5 * time.Second, attempts: 2}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if i := strings.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			if ip, err := netip.ParseAddr(fields[1]); err == nil && len(s.servers) < 3 {
				s.servers = append(s.servers, Server{Addr: netip.AddrPortFrom(ip, 53)})
			}
		case "domain", "search":
			s.search = s.search[:0]
			for _, name := range fields[1:] {
				if name, ok := canonical(name); ok && len(s.search) < 6 {
					s.search = append(s.search, name)
				}
			}
		case "options":
			s.readOptions(fields[1:])
		}
	}
	if len(s.servers) == 0 { // resolv.conf(5): the default is the local server
		s.servers = []Server{{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53)}}
	}
	if s.useTCP {
		for i := range s.servers {
			s.servers[i].Transport = TCP
		}
	}
	return s
}

func (s *system) readOptions(options []string) {
	number := func(text string, least, most int) int {
		n, err := strconv.Atoi(text)
		if err != nil {
			return least
		}
		return min(max(n, least), most)
	}
	for _, o := range options {
		name, value, _ := strings.Cut(o, ":")
		switch name {
		case "ndots":
			s.ndots = number(value, 0, 15)
		case "timeout":
			s.timeout = time.Duration(number(value, 1, 30)) * time.Second
		case "attempts":
			s.attempts = number(value, 1, 5)
		case "rotate":
			s.rotate = true
		case "use-vc", "usevc", "tcp":
			s.useTCP = true
		}
	}
}

// candidates returns the names to ask for, in order, when a person or a program says name:
// the search list counts for names that do not end in a dot.
func (s *system) candidates(name string) []string {
	rooted := strings.HasSuffix(name, ".")
	name, ok := canonical(name)
	if !ok {
		return nil
	}
	if rooted || len(s.search) == 0 {
		return []string{name}
	}
	var found []string
	for _, suffix := range s.search {
		if full, ok := canonical(name + "." + suffix); ok {
			found = append(found, full)
		}
	}
	if strings.Count(name, ".") >= s.ndots {
		return append([]string{name}, found...)
	}
	return append(found, name)
}
