package relay

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// helpers are processes beside the forwarders, so that one load does not wait for another in
// Go's scheduler: an echo server, clients that come and go at a target, and a forwarder that
// accepts in its event loops, as hosier does.
var helpers = map[string]func(l net.Listener, target string){
	"echo": func(l net.Listener, _ string) { acceptAll(l, echo) },
	"rush": rush,
	"front": func(l net.Listener, target string) {
		e, to := new(Engine), netip.MustParseAddrPort(target)
		panic(e.Listen(l).Serve(handling(e, func(client net.Conn) {
			server, _, err := Connect(client, to, time.Now().Add(patience))
			if err != nil {
				panic(err)
			}
			e.Start(Pair{Client: client, Server: server, Idle: time.Hour})
		}), true))
	},
}

// rush has 50 clients come for one exchange each, again and again.
func rush(_ net.Listener, target string) {
	for range 50 {
		go func() {
			for message := make([]byte, 1); ; {
				c, err := dial(target)
				if err != nil {
					panic(err)
				}
				if _, err = c.Write(message); err == nil {
					_, err = io.ReadFull(c, message)
				}
				c.Close()
				if err != nil {
					return
				}
			}
		}()
	}
}

func acceptAll(l net.Listener, f func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			f(c)
		}()
	}
}

// pings plays ping-pong over some connections at once and returns how long each message took.
func pings(b *testing.B, address string, streams int) (took [][]time.Duration) {
	took = make([][]time.Duration, streams)
	var all, ready sync.WaitGroup
	ready.Add(streams)
	for i := range streams {
		all.Go(func() {
			runtime.LockOSThread() // which the kernel wakes on its own
			defer runtime.UnlockOSThread()
			c := dialTCP(b, address)
			defer c.Close()
			message := make([]byte, 64)
			for range 2 * migrateAfter {
				exchange(b, c, message)
			}
			ready.Done()
			ready.Wait()
			for end := time.Now().Add(benchSpan()); time.Now().Before(end); {
				begun := time.Now()
				exchange(b, c, message)
				took[i] = append(took[i], time.Since(begun))
			}
		})
	}
	all.Wait()
	return took
}

// BenchmarkPingBesideRush measures the median time of a message while others come and go.
func BenchmarkPingBesideRush(b *testing.B) {
	b.Setenv("RELAY_BENCH", fairKinds())
	compareKinds(b, startForwarder(b, "echo", "").address, "us", func(f *forwarder) float64 {
		stop := startHelper(b, "rush", f.address)
		defer stop()
		all := pings(b, f.address, 1)[0]
		slices.Sort(all)
		return float64(all[len(all)/2]) / 1e3
	})
}

// BenchmarkPingsBesideBulk measures Jain's index of fairness among 100 relays with small
// messages beside one with bulk: 1 if each got as many through.
func BenchmarkPingsBesideBulk(b *testing.B) {
	b.Setenv("RELAY_BENCH", fairKinds())
	compareKinds(b, startForwarder(b, "echo", "").address, "jain", func(f *forwarder) float64 {
		greedy := dialTCP(b, f.address)
		var both sync.WaitGroup
		both.Go(func() { flood(greedy) })
		both.Go(func() { io.Copy(io.Discard, greedy) })
		defer both.Wait()
		defer greedy.Close()
		var sum, squares float64
		all := pings(b, f.address, 100)
		for _, took := range all {
			sum += float64(len(took))
			squares += float64(len(took)) * float64(len(took))
		}
		return sum * sum / squares / float64(len(all))
	})
}

// fairKinds is what RELAY_BENCH lists, or the forwarder that accepts as hosier does.
func fairKinds() string {
	if list := os.Getenv("RELAY_BENCH"); list != "" {
		return list
	}
	return "front"
}

// startHelper runs a helper until stop is called.
func startHelper(b testing.TB, kind, target string) (stop func()) {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), forwarderKind+"="+kind, forwarderTarget+"="+target)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	return func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			b.Error(fmt.Errorf("%s: %w", kind, err))
		}
	}
}
