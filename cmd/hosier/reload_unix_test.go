//go:build unix

package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hosier/internal/tcptest"
)

// Connections while the configuration is reloaded again and again: none is lost, and each
// keeps to its end the policy that it began with. One file takes SOCKS5 and lets the
// request out; the other takes only SOCKS4, and refuses the request. Half of each would
// be a greeting that is welcome and a request that is not. Whoever was served stays until
// after the last reload, and is still served then.
func TestReloadUnderLoad(t *testing.T) {
	const connections, reloads, atOnce = 2000, 50, 32
	echo := tcptest.Listen(t, tcptest.Echo)
	file := filepath.Join(t.TempDir(), "hosier.toml")
	write := func(text string) {
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	texts := []string{
		"dialects = \"socks5\"\n[[rule]]\nto = \"127.0.0.1\"\nvia = \"direct\"\n",
		"dialects = \"socks4\"\n[[rule]]\nrefuse = true\n",
	}
	write(texts[0])
	h := start(t, "--config", file, "--state-dir", t.TempDir())

	var turnedAway, begun atomic.Int64
	var mu sync.Mutex
	var served []net.Conn
	defer func() {
		for _, c := range served {
			c.Close()
		}
	}()
	var clients sync.WaitGroup
	for range atOnce {
		clients.Go(func() {
			for begun.Add(1) <= connections {
				c, err := converse(h.addr(), echo)
				switch {
				case err != nil:
					t.Errorf("a connection: %v", err)
				case c == nil:
					turnedAway.Add(1)
				default:
					mu.Lock()
					served = append(served, c)
					mu.Unlock()
				}
			}
		})
	}
	for i := range reloads {
		await(t, "some more connections", func() bool { return begun.Load() > int64(i)*connections/reloads || t.Failed() })
		write(texts[(i+1)%2])
		h.signal(t, syscall.SIGHUP)
		await(t, "the reload", func() bool { return strings.Count(h.log.String(), "configuration reloaded") == i+1 })
	}
	clients.Wait()
	if n := len(served); n+int(turnedAway.Load()) != connections || n == 0 || turnedAway.Load() == 0 {
		t.Errorf("%d were served and %d turned away, of %d", n, turnedAway.Load(), connections)
	}
	for _, c := range served {
		answer := make([]byte, 4)
		c.SetDeadline(time.Now().Add(patience))
		io.WriteString(c, "pong")
		if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "pong" {
			t.Fatalf("a connection that was served got %q after the reloads: %v", answer, err)
		}
	}
}

// converse greets, and if it is welcome, has 4 bytes echoed. Otherwise there is no connection.
func converse(proxy, target string) (net.Conn, error) {
	c, err := dial(proxy)
	if err != nil {
		return nil, err
	}
	welcome, err := introduce(c, target)
	if !welcome || err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func introduce(c net.Conn, target string) (welcome bool, err error) {
	c.SetDeadline(time.Now().Add(4 * patience))
	answer := make([]byte, 2)
	c.Write([]byte{5, 1, 0})
	if _, err := io.ReadFull(c, answer); err != nil {
		return false, fmt.Errorf("answer to the greeting: %w", err)
	}
	if answer[1] == 0xFF {
		return false, nil
	}
	to, err := net.ResolveTCPAddr("tcp", target)
	if err != nil {
		return false, err
	}
	c.Write(append([]byte{5, 1, 0, 1, 127, 0, 0, 1, byte(to.Port >> 8), byte(to.Port)}, "ping"...))
	reply := make([]byte, 14)
	if n, err := io.ReadFull(c, reply); err != nil || reply[1] != 0 || string(reply[10:]) != "ping" {
		return true, fmt.Errorf("a client that was welcome got % x, %w", reply[:n], err)
	}
	return true, nil
}

// Listeners whose ports the system chooses are told apart by a reload, though they were asked for
// by the same address.
func TestReloadKeepsListeners(t *testing.T) {
	echo, dir := tcptest.Listen(t, tcptest.Echo), t.TempDir()
	h := startConfig(t, dir, "via = \"direct\"\n[listener.a]\nlisten = \"127.0.0.1:0\"\n[listener.b]\nlisten = \"127.0.0.1:0\"\n", 2)
	for reloads := range 3 {
		for _, address := range h.addrs {
			if c, err := converse(address, echo); err != nil || c == nil {
				t.Errorf("%s after %d reloads: %v, %v", address, reloads, c, err)
			} else {
				c.Close()
			}
		}
		h.signal(t, syscall.SIGHUP)
		await(t, "the reload", func() bool { return strings.Count(h.log.String(), "configuration reloaded") == reloads+1 })
	}
	if strings.Contains(h.log.String(), "no longer listening") {
		t.Errorf("a listener that stays was closed:\n%s", h.log.String())
	}
}
