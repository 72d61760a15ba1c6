package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"hosier/internal/leaks"
	"hosier/internal/load"
	"hosier/socks"
)

// lookTime bounds the look for the processes of a server.
const lookTime = 10 * time.Second

// find has one connection go through each server, and looks for the processes of those whose
// are not known yet.
func find(ctx context.Context, o load.Options, servers []load.Server) error {
	l, err := net.Listen("tcp", netip.AddrPortFrom(o.Origin, 0).String())
	if err != nil {
		return fmt.Errorf("--origin %v: %w", o.Origin, err)
	}
	defer l.Close()
	for i := range servers {
		s := &servers[i]
		if err := reach(ctx, o.Timeout, s, l.Addr()); err != nil {
			return fmt.Errorf("%s does not lead to the origin of bench: %w", s.Name, err)
		}
		if len(s.PIDs) == 0 {
			ctx, cancel := context.WithTimeout(ctx, lookTime)
			s.PIDs = leaks.Listeners(ctx, s.Addr)
			cancel()
		}
	}
	return nil
}

// reach connects to the origin through the server, in the words that the load will use.
func reach(ctx context.Context, limit time.Duration, s *load.Server, origin net.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	target, err := socks.ParseAddr(origin.String())
	if err != nil {
		return err
	}
	if s.Dialect.Name != "" {
		target = socks.Addr{Name: s.Dialect.Name, Port: target.Port}
	}
	d := socks.Dialer{Proxy: s.Addr.String(), Version: s.Dialect.Version, Auth: s.Dialect.Auth}
	c, _, err := d.Do(ctx, &socks.Request{Command: socks.Connect, Addr: target})
	if err == nil {
		c.Close()
	}
	return err
}

// noteUnknown names the servers of whose costs nothing will be known.
func noteUnknown(servers []load.Server, w io.Writer) {
	for _, s := range servers {
		if len(s.PIDs) == 0 {
			fmt.Fprintf(w, "bench: %s: its processes are not found, so its processor time, memory and files are not known; "+
				"run this as root or as its user, or name them with --pid\n", s.Name)
		}
	}
}
