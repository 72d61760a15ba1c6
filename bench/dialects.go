//go:build unix

package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/net/dns/dnsmessage"
)

// measureDialects asks hosier in other ways: by name, with a login, through an upstream.
func (b *bench) measureDialects(ctx context.Context) error {
	users, err := b.usersFile(ctx)
	if err != nil {
		return err
	}
	dns, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer dns.Close()
	go answer(dns)
	upstream := b.freeAddr()
	stop, err := b.serve(ctx, upstream)
	if err != nil {
		return err
	}
	defer stop()
	asks := "--dns " + dns.LocalAddr().String()
	for _, d := range []struct {
		name, serve string
		args        []string
	}{
		{"SOCKS5, user and password", "--users " + users, []string{"--user", "user:password"}},
		{"SOCKS5, by name of the hosts file", "", []string{"--name", "localhost"}},
		{"SOCKS5, by name, cached", asks, []string{"--name", "cached.test"}},
		{"SOCKS5, by name, not cached", asks, []string{"--name", "fresh.test"}},
		{"SOCKS4", "", []string{"--socks", "4"}},
		{"SOCKS4A, by name of the hosts file", "", []string{"--socks", "4a"}},
		{"HTTP CONNECT, by name of the hosts file", "", []string{"--socks", "connect", "--name", "localhost"}},
		{"SOCKS5, by name, through an upstream SOCKS5", "--via socks5://" + upstream, []string{"--name", "localhost"}},
	} {
		addr := b.freeAddr()
		s := server{name: "hosier", addr: addr, command: fmt.Sprintf("%s serve --listen %s %s", b.hosier, addr, d.serve)}
		r, err := b.call(ctx, nil, []server{s}, append([]string{"--mode", "rate", "--rounds", "3"}, d.args...)...)
		if err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		b.dialects = append(b.dialects, dialect{d.name, r})
	}
	return nil
}

// usersFile makes a file of the one user that the bench logs in as.
func (b *bench) usersFile(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, b.hosier, "hash-password", "--user", "user")
	cmd.Stdin = strings.NewReader("password\n")
	line, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("hosier hash-password: %w", err)
	}
	return b.file("users", string(line)), nil
}

// serve runs a hosier at addr that others go through.
func (b *bench) serve(ctx context.Context, addr string) (stop func(), err error) {
	cmd := exec.CommandContext(ctx, b.hosier, "serve", "--listen", addr)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() { cmd.Cancel(); cmd.Wait() }, nil
}

// answer is a DNS server: all names are at 127.0.0.1, those that begin with "fresh" for no longer
// than the answer takes.
func answer(c net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		q := m.Questions[0]
		reply := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}, Questions: m.Questions}
		if q.Type == dnsmessage.TypeA {
			h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 3600}
			if strings.HasPrefix(q.Name.String(), "fresh") {
				h.TTL = 0
			}
			reply.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}}
		}
		if packed, err := reply.Pack(); err == nil {
			c.WriteTo(packed, from)
		}
	}
}
