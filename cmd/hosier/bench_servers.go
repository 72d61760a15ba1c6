package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"hosier/internal/load"
	"hosier/socks"
)

// prepare judges the options and makes the servers of them. It connects to none.
func (o *benchOptions) prepare(ctx context.Context, args []string) ([]load.Server, error) {
	o.load.Modes = nil
	for _, m := range o.modes {
		o.load.Modes = append(o.load.Modes, load.Mode(m))
	}
	if err := o.load.Check(); err != nil {
		return nil, err
	}
	if len(o.run) > len(args) || len(o.pids) > len(args) {
		return nil, errors.New("--run, --pid: there are more of them than addresses")
	}
	var err error
	if o.load.Origin, err = netip.ParseAddr(o.origin); err != nil {
		return nil, fmt.Errorf("--origin %s: write an IP address of this host", o.origin)
	}
	if !o.load.Origin.IsLoopback() && !o.remote {
		return nil, fmt.Errorf("--origin %s: other hosts could reach the origin; if they may, say so with --allow-remote", o.origin)
	}
	d, err := o.dialect()
	if err != nil {
		return nil, err
	}
	var servers []load.Server
	for i, arg := range args {
		s, err := o.server(ctx, arg)
		if err != nil {
			return nil, err
		}
		s.Dialect = d
		if i < len(o.pids) {
			if s.PIDs, err = parsePIDs(o.pids[i]); err != nil {
				return nil, err
			}
		}
		servers = append(servers, s)
	}
	return servers, nil
}

// server reads [LABEL=]HOST:PORT.
func (o *benchOptions) server(ctx context.Context, arg string) (s load.Server, err error) {
	label, addr, labelled := strings.Cut(arg, "=")
	if !labelled {
		label, addr = arg, arg
	}
	host, port, err := net.SplitHostPort(addr)
	n, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil || n == 0 || host == "" || label == "" {
		return s, fmt.Errorf("%s: write the server as host:port, such as 127.0.0.1:1080", arg)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return s, fmt.Errorf("%s: %w", arg, err)
	}
	i := max(slices.IndexFunc(ips, func(ip netip.Addr) bool { return ip.Unmap().Is4() }), 0)
	ip := ips[i].Unmap()
	if !ip.IsLoopback() && !o.remote {
		return s, fmt.Errorf("%s is not on this host: a load could harm others; if it may be put there, say so with --allow-remote", addr)
	}
	return load.Server{Name: label, Addr: netip.AddrPortFrom(ip, uint16(n))}, nil
}

func (o *benchOptions) dialect() (d load.Dialect, err error) {
	d.Name = o.name
	switch o.socks {
	case "5", "connect":
		d.Version = socks.V5
		if o.socks == "connect" {
			d.Version = socks.HTTP
		}
		if o.user != "" {
			d.Auth.Method = socks.UserPass
		}
	case "4", "4a":
		d.Version = socks.V4
		if o.socks == "4a" && d.Name == "" {
			d.Name = "localhost"
		}
		if o.socks == "4" && d.Name != "" {
			return d, errors.New("--name: SOCKS4 has no names; write --socks 4a")
		}
	default:
		return d, fmt.Errorf("--socks %s: write 4, 4a, 5 or connect", o.socks)
	}
	if d.Name != "" {
		if _, err := socks.ParseHost(d.Name); err != nil {
			return d, fmt.Errorf("--name: %w", err)
		}
	}
	d.Auth.User, d.Auth.Password, _ = strings.Cut(o.user, ":")
	return d, nil
}

func parsePIDs(text string) (pids []int, err error) {
	for word := range strings.SplitSeq(text, ",") {
		if word == "" {
			continue
		}
		pid, err := strconv.Atoi(word)
		if err != nil || pid <= 0 {
			return nil, fmt.Errorf("--pid %s: write the number of a process, or several with commas between", text)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// started are the servers that bench runs itself, by their place in the list; nil is one
// that it does not.
type started []*load.Process

func (all started) stop() {
	for _, p := range all {
		if p != nil {
			p.Stop()
		}
	}
}

// startAll starts what --run names, and lets each be started anew. What it returns is to
// be stopped in any case.
func startAll(ctx context.Context, servers []load.Server, commands []string) (started, error) {
	all := make(started, len(servers))
	for i, text := range commands {
		if text == "" {
			continue
		}
		s := &servers[i]
		s.Restart = func() ([]int, error) {
			if all[i] != nil {
				all[i].Stop()
			}
			if c, err := net.Dial("tcp", s.Addr.String()); err == nil {
				c.Close()
				return nil, fmt.Errorf("--run %q: another program listens on %v", text, s.Addr)
			}
			p, err := load.Start(load.Shell(text))
			if err != nil {
				return nil, fmt.Errorf("--run %q: %w", text, err)
			}
			all[i] = p
			if err := p.AwaitListening(ctx, s.Addr.String(), awaitServer); err != nil {
				return nil, fmt.Errorf("--run %q: %w", text, err)
			}
			return []int{p.PID()}, nil
		}
		pids, err := s.Restart()
		if err != nil {
			return all, err
		}
		s.PIDs = pids
	}
	return all, nil
}
