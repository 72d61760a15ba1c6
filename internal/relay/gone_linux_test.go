package relay

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// vanish has the system drop whatever comes for c, so that its peer hears nothing any more.
func vanish(t testing.TB, c net.Conn) {
	t.Helper()
	raw, err := below(c).(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
	failed := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop[0]})
	})
	if err := errors.Join(failed, err); err != nil {
		t.Fatal(err)
	}
}

// A peer that is gone while bytes are on their way to it is found; one that is there, and does
// not read, or is sent nothing, is left alone.
func TestPeerIsGone(t *testing.T) {
	const silence = 600 * time.Millisecond
	for _, s := range suites() {
		if !s.network.resets {
			continue // it has no peers elsewhere
		}
		for _, d := range []direction{toServer, toClient} {
			t.Run(s.name()+"/"+[...]string{"server", "client"}[d], func(t *testing.T) {
				t.Parallel()
				e := s.start(t)
				e.loops.keeper.silence = silence
				lost, idle, paused := s.join(t, e, Pair{}), s.join(t, e, Pair{}), s.join(t, e, Pair{})
				for _, j := range []*joined{lost, idle, paused} {
					from, to := j.ends(d)
					send(t, from, newStream(1), 10)
					expect(t, to, newStream(1), 10)
				}
				from, _ := paused.ends(d)
				go flood(from)
				eventually(t, "its buffers are full", func() bool {
					up, down := paused.relay.Bytes()
					time.Sleep(10 * time.Millisecond) // as long as that goes on it may go on
					later, below := paused.relay.Bytes()
					return up+down > 1<<16 && up+down == later+below
				})
				eventually(t, "all has arrived", func() bool {
					e.loops.keeper.look(e)
					return hasArrived(lost.relay)
				})

				from, to := lost.ends(d)
				vanish(t, to)
				send(t, from, newStream(2), 10)
				begun := time.Now()
				for end := time.Now().Add(patience); ; {
					e.loops.keeper.look(e)
					select {
					case r := <-lost.done:
						if !errors.Is(r.Err, syscall.ETIMEDOUT) || IsOfClient(r.Err) != (d == toClient) {
							t.Errorf("Result.Err = %v", r.Err)
						}
						if took := time.Since(begun); took < silence {
							t.Errorf("it was given up after %v", took)
						}
						expectReset(t, from)
						for _, j := range []*joined{idle, paused} {
							if len(j.done) > 0 {
								t.Errorf("the relay of a peer that is there has ended: %v", (<-j.done).Err)
							}
						}
						return
					case <-time.After(10 * time.Millisecond):
					}
					if time.Now().After(end) {
						t.Fatal("nobody found out")
					}
				}
			})
		}
	}
}

// hasArrived reports whether the keeper takes all bytes of r for arrived.
func hasArrived(r *Relay) bool {
	switch c := r.runner.(type) {
	case *copier:
		return c.arrived == [2]int64{c.moved[0].Load(), c.moved[1].Load()}
	case *wire:
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.care&fresh == 0
	}
	return false
}

func TestStateIn(t *testing.T) {
	const silence = deadSilence
	long, short := uint32(silence/time.Millisecond), uint32(silence/time.Millisecond)-1
	for name, c := range map[string]struct {
		info unix.TCPInfo
		want state
	}{
		"idle":                       {unix.TCPInfo{Last_ack_recv: long}, arrived},
		"just sent":                  {unix.TCPInfo{Unacked: 1, Last_ack_recv: long}, onTheWay},
		"one loss":                   {unix.TCPInfo{Unacked: 1, Last_ack_recv: long, Retransmits: 1}, onTheWay},
		"not long enough":            {unix.TCPInfo{Unacked: 1, Last_ack_recv: short, Retransmits: 9}, onTheWay},
		"gone":                       {unix.TCPInfo{Unacked: 1, Last_ack_recv: long, Retransmits: 9}, gone},
		"does not read":              {unix.TCPInfo{Notsent_bytes: 1, Last_ack_recv: long}, onTheWay},
		"does not read, answer lost": {unix.TCPInfo{Notsent_bytes: 1, Last_ack_recv: long, Probes: 1}, onTheWay},
		"did not read and is gone":   {unix.TCPInfo{Notsent_bytes: 1, Last_ack_recv: long, Probes: 2}, gone},
	} {
		if got := stateIn(&c.info, silence); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
