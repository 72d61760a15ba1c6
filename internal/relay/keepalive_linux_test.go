package relay

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hosier/internal/tcptest"
)

// A relay that lasts finds out that its server is gone, though nobody asks for that when it
// connects.
func TestKeepAlive(t *testing.T) {
	e := &Engine{Loops: 1}
	defer e.Close()
	echo := netip.MustParseAddrPort(tcptest.Listen(t, tcptest.Echo))
	started, ended := make(chan *Relay), make(chan Result)
	address := frontend(t, e, func(c net.Conn) {
		server, _, err := Connect(c, echo, time.Now().Add(patience))
		if err != nil {
			t.Error(err)
		}
		started <- e.Start(Pair{Client: c, Server: server, Done: func(r Result) { ended <- r }})
	})
	visitor(t, address)
	r := <-started
	w := r.runner.(*wire)
	options := func() (all [3]int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for i, name := range [][2]int{
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE}, {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}, {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL},
		} {
			n, err := unix.GetsockoptInt(int(w.fds[toServer]), name[0], name[1])
			if err != nil {
				t.Fatal(err)
			}
			all[i] = n
		}
		return all
	}
	if got := options(); got[0] != 0 {
		t.Errorf("at first: %v", got)
	}
	k := &e.loops.keeper
	k.look(e)
	if got := options(); got != [3]int{1, 15, 15} {
		t.Errorf("after a while: %v", got)
	}
	if k.timer == nil {
		t.Error("nobody will look again")
	}
	r.Close()
	<-ended
	k.look(e)
	if k.timer != nil {
		t.Error("a timer runs for no relay")
	}
}

// A relay begins, under its own lock, while the keeper waits for that of another.
func TestKeeperHoldsNobodyUp(t *testing.T) {
	e := &Engine{Loops: 1}
	defer e.Close()
	echo := netip.MustParseAddrPort(tcptest.Listen(t, tcptest.Echo))
	started := make(chan *Relay)
	address := frontend(t, e, func(c net.Conn) {
		server, _, err := Connect(c, echo, time.Now().Add(patience))
		if err != nil {
			t.Error(err)
		}
		started <- e.Start(Pair{Client: c, Server: server})
	})
	for range 2 {
		visitor(t, address)
		<-started
	}
	var all []*wire
	for w := range e.loops.all[0].wires.relays {
		all = append(all, w)
	}
	first, last := all[0], all[len(all)-1]
	k := &e.loops.keeper
	looked, begun := make(chan bool), make(chan bool)
	last.mu.Lock()
	go func() {
		k.look(e)
		close(looked)
	}()
	eventually(t, "the keeper to come to the first relay", func() bool {
		first.mu.Lock()
		defer first.mu.Unlock()
		return first.care&isKept != 0
	})
	go func() {
		k.begin(e)
		close(begun)
	}()
	select {
	case <-begun:
	case <-time.After(patience):
		t.Error("no relay can begin")
	}
	last.mu.Unlock()
	<-looked
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.timer == nil || !k.fresh {
		t.Error("nobody will look after what has begun")
	}
}
