package leaks

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Listeners returns the processes with a TCP socket of this host that accepts connections
// to addr, as far as the caller may inspect them. It leaves out systemd, which holds
// sockets for services.
func Listeners(ctx context.Context, addr netip.AddrPort) (pids []int) {
	inodes := listening(addr)
	if len(inodes) == 0 {
		return nil
	}
	for _, pid := range processes() {
		if ctx.Err() != nil {
			break
		}
		if describe(pid).name == "systemd" {
			continue
		}
		if slices.ContainsFunc(inodes, func(link string) bool { return holds(ctx, pid, link) }) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// listening returns the link targets of the descriptors of sockets that listen at addr
// itself, or if there are none, on its port at every address.
func listening(addr netip.AddrPort) (links []string) {
	var every []string
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(file)
		if err != nil {
			continue // without IPv6 there is no tcp6
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			at, inode, ok := parseListening(lines.Text())
			link := "socket:[" + inode + "]"
			switch {
			case !ok || at.Port() != addr.Port():
			case at.Addr() == addr.Addr().Unmap():
				links = append(links, link)
			case at.Addr().IsUnspecified() && (at.Addr().Is6() || addr.Addr().Unmap().Is4()):
				every = append(every, link)
			}
		}
		f.Close()
	}
	if len(links) == 0 {
		return every
	}
	return links
}

// parseListening reads a line of /proc/net/tcp (proc_net_tcp(5)), and reports whether the
// socket listens.
func parseListening(line string) (at netip.AddrPort, inode string, ok bool) {
	const listens = "0A"
	fields := strings.Fields(line)
	if len(fields) < 10 || fields[3] != listens {
		return at, "", false
	}
	host, port, _ := strings.Cut(fields[1], ":")
	b, err := hex.DecodeString(host)
	n, perr := strconv.ParseUint(port, 16, 16)
	if err != nil || perr != nil || len(b)%4 != 0 {
		return at, "", false
	}
	for i := 0; i < len(b); i += 4 { // words of the machine, each of four bytes of the network
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	ip, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), fields[9], ok
}
