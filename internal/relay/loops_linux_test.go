package relay

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// loopSuite runs over TCP in one loop.
var loopSuite = suite{engine: "loops", newOne: func() *Engine { return &Engine{Loops: 1} }, network: tcpNetwork()}

// inLoop reports whether an event loop runs r.
func inLoop(r *Relay) bool {
	_, ok := r.runner.(*wire)
	return ok
}

// lent returns how many pipes are in use.
func (e *Engine) lent() int {
	p := &e.loops.pipes
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lent
}

func TestWhoRunsInALoop(t *testing.T) {
	tcp, unixes, overTLS := tcpNetwork(), unixNetwork(), tlsNetwork()
	packets := network{name: "unixpacket", pair: dialPairs("unixpacket", socketPath)}
	e := loopSuite.start(t)
	for _, test := range []struct {
		client, server network
		want           bool
	}{
		{tcp, tcp, true},
		{tcp, unixes, true},
		{unixes, tcp, true},
		{unixes, unixes, true},
		{overTLS, tcp, false},
		{tcp, overTLS, false},
		{tcp, packets, false},
	} {
		t.Run(test.client.name+"-"+test.server.name, func(t *testing.T) {
			s := suite{network: network{pair: test.client.pair}}
			j := s.prepare(t, Pair{})
			var far net.Conn
			j.pair.Server, far = test.server.pair(t)
			t.Cleanup(func() { far.Close() })
			j.start(e)
			if got := inLoop(j.relay); got != test.want {
				t.Errorf("in a loop: %t, want %t", got, test.want)
			}
			if test.server.name != packets.name { // which is no stream
				together(
					func() { send(t, j.client, newStream(1), 1<<20) },
					func() { expect(t, far, newStream(1), 1<<20) },
				)
			}
			j.relay.Close()
			j.result()
		})
	}
}

// An idle relay is two descriptors, and neither a goroutine nor a pipe.
func TestIdleRelayHoldsTwoDescriptors(t *testing.T) {
	const relays = 200
	e := suite{newOne: newPlainWait}.start(t) // which needs the same descriptors all the time
	first := loopSuite.join(t, e, Pair{})     // starts the loop
	bulkBothWays(t, first)
	goroutines := runtime.NumGoroutine()
	var all []*joined
	for range relays {
		all = append(all, loopSuite.join(t, e, Pair{Idle: time.Hour}))
	}
	for _, j := range all {
		send(t, j.client, newStream(1), 1000)
		expect(t, j.server, newStream(1), 1000)
		send(t, j.server, newStream(2), 100_000)
		expect(t, j.client, newStream(2), 100_000)
	}
	if got := runtime.NumGoroutine() - goroutines; got > 0 {
		t.Errorf("%d relays brought %d goroutines", relays, got)
	}
	// Counted by what goes when they end: before they began, the first one's pipes were
	// still on their way back.
	const ours = 2 // the far ends
	files := openFiles(t)
	for _, j := range all {
		j.client.Close()
		j.server.Close()
		j.result()
	}
	eventually(t, fmt.Sprintf("%d relays held 2 descriptors each", relays), func() bool {
		return files-openFiles(t) == relays*(2+ours)
	})
}

// bulkBothWays moves enough at once for pipes to be used.
func bulkBothWays(t *testing.T, j *joined) {
	const size = 8 << 20
	together(
		func() { send(t, j.client, newStream(1), size) },
		func() { send(t, j.server, newStream(2), size) },
		func() { expect(t, j.server, newStream(1), size) },
		func() { expect(t, j.client, newStream(2), size) },
	)
}

func TestPipesAreUsedAndGivenBack(t *testing.T) {
	e := loopSuite.start(t)
	j := loopSuite.join(t, e, Pair{})
	bulkBothWays(t, j)
	pipes := &e.loops.pipes
	eventually(t, "no pipe is lent", func() bool { return e.lent() == 0 })
	pipes.mu.Lock()
	spare := len(pipes.spare)
	pipes.mu.Unlock()
	if spare == 0 || spare > sparePipes {
		t.Errorf("%d spare pipes after bulk, want 1 to %d", spare, sparePipes)
	}
}

// Pipes that are full for readers which do not read are bounded; the others copy.
func TestStalledReadersDoNotTakeAllPipes(t *testing.T) {
	const relays = maxPipes + 10
	e := loopSuite.start(t)
	var floods sync.WaitGroup
	var all []*joined
	for range relays {
		j := loopSuite.join(t, e, Pair{})
		all = append(all, j)
		floods.Go(func() { flood(j.client) })
	}
	for _, j := range all {
		eventually(t, "the relay is stuck", func() bool {
			w := j.relay.runner.(*wire)
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.ways[toServer].cargo != nil
		})
	}
	if n := e.lent(); n == 0 || n > maxPipes {
		t.Errorf("%d pipes lent, want 1 to %d", n, maxPipes)
	}
	bulkBothWays(t, loopSuite.join(t, e, Pair{}))
	for _, j := range all {
		j.relay.Close()
		j.result()
	}
	floods.Wait()
	if n := e.lent(); n != 0 {
		t.Errorf("%d pipes lent after the end", n)
	}
}

// What a pipe holds counts, not what was asked for: an ordinary user with many pipes
// gets tiny ones.
func TestTinyPipeIsRefused(t *testing.T) {
	if p := newPipe(leastPipe / 2); p != nil {
		p.close()
		t.Errorf("a pipe of %d bytes was accepted", p.size)
	}
	if p := newPipe(leastPipe); p == nil {
		t.Error("a pipe of least size was refused")
	} else {
		p.close()
	}
}

// A reset is passed on though the bytes before it are stuck.
func TestResetPassesStalledRelay(t *testing.T) {
	e := loopSuite.start(t)
	j := loopSuite.join(t, e, Pair{})
	var sender sync.WaitGroup
	sender.Go(func() { flood(j.client) })
	eventually(t, "the relay is stuck", func() bool {
		w := j.relay.runner.(*wire)
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.ways[toServer].full
	})
	reset(t, j.client)
	if r := j.result(); r.Err == nil {
		t.Error("no error after a reset")
	}
	expectReset(t, j.server)
	sender.Wait()
}

// Urgent data end a read before all is read. What follows must not get stuck.
func TestUrgentData(t *testing.T) {
	e := loopSuite.start(t)
	for _, size := range []int{10, 3 << 20} {
		j := loopSuite.join(t, e, Pair{})
		var received sync.WaitGroup
		received.Go(func() {
			if n, err := io.Copy(io.Discard, j.server); err != nil || n < int64(2*size) {
				t.Errorf("received %d bytes, %v, want %d", n, err, 2*size)
			}
		})
		send(t, j.client, newStream(1), size)
		sendUrgent(t, j.client)
		send(t, j.client, newStream(1), size)
		eventually(t, "what follows urgent data arrives", func() bool {
			up, _ := j.relay.Bytes()
			return up >= int64(2*size)
		})
		endWriting(t, j.client)
		received.Wait()
	}
}

// A splice says at urgent data that there is nothing to read, also where all that follows
// is there already and no event will tell of it.
func TestUrgentDataInBulk(t *testing.T) {
	e := loopSuite.start(t)
	j := loopSuite.join(t, e, Pair{})
	w := j.relay.runner.(*wire)
	w.mu.Lock() // nothing moves until all of it has been sent
	w.ways[toServer].run = bulk
	const size = 2 * trickle
	send(t, j.client, newStream(1), size)
	sendUrgent(t, j.client)
	send(t, j.client, newStream(2), size)
	w.mu.Unlock()
	expect(t, j.server, newStream(1), size)
	expect(t, j.server, newStream(2), size)
}

func sendUrgent(t *testing.T, c net.Conn) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil)
		return err != unix.EAGAIN
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A relay for which there are no descriptors left runs on the ones it has.
func TestNoDescriptorsLeft(t *testing.T) {
	e := loopSuite.start(t)
	loopSuite.join(t, e, Pair{}) // starts the loop
	j := loopSuite.prepare(t, Pair{})
	withoutNewFiles(t, func() { j.start(e) })
	if inLoop(j.relay) {
		t.Error("the relay has descriptors it could not get")
	}
	bulkBothWays(t, j)
}

// withoutNewFiles calls f while this process can open nothing.
func withoutNewFiles(t *testing.T, f func()) {
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	none := old
	none.Cur = 3 // what is open stays open
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
			t.Fatal(err)
		}
	}()
	f()
}

// Collections must not wait for a loop that waits unseen.
func TestCollectionsGoOn(t *testing.T) {
	if runtime.GOMAXPROCS(0) < 3 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3)) // so that waits are hidden
	}
	e := &Engine{Loops: 2}
	defer e.Close()
	a, b := loopSuite.join(t, e, Pair{}), loopSuite.join(t, e, Pair{})
	var traffic sync.WaitGroup
	for _, j := range []*joined{a, b} {
		traffic.Go(func() {
			for range 5000 {
				send(t, j.client, newStream(1), 1)
				expect(t, j.server, newStream(1), 1)
			}
		})
	}
	for range 50 {
		runtime.GC()
	}
	traffic.Wait()
	for range 50 { // in the middle of a hidden wait, and in a plain one after it
		send(t, a.client, newStream(1), 1)
		expect(t, a.server, newStream(1), 1)
		runtime.GC()
	}
}
