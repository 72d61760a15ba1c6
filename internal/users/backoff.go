package users

import (
	"container/list"
	"context"
	"net/netip"
	"sync"
	"time"

	"hosier/internal/fair"
)

const (
	firstHold  = time.Second
	longHold   = time.Minute
	forgetHold = 15 * time.Minute // since the last wrong login
	maxHeld    = 8192             // clients; of more, the one that was wrong the longest ago is forgotten
)

// holds knows which clients were wrong lately, and lets each have one attempt at a time:
// otherwise a hundred guesses at once would all be the first. Its zero value is ready.
type holds struct {
	mu      sync.Mutex
	clients map[netip.Addr]*held
	wrong   list.List // of *held with wrong logins, the latest at the back
}

// held is one client. It is in the table while somebody uses it or it was wrong lately.
type held struct {
	client netip.Addr
	turn   chan struct{} // holds a token while one attempt is judged
	using  int           // attempts that wait or are judged

	wrongs int
	last   time.Time // of the wrong logins
	until  time.Time
	place  *list.Element // in holds.wrong; nil without wrong logins
}

// enter waits until the client has no other attempt under way. The error is a
// *BackoffError or wraps ErrBusy. Without one, leave must follow.
func (hs *holds) enter(ctx context.Context, client netip.Addr) (*held, error) {
	h, err := hs.use(fair.Client(client))
	if err != nil {
		return nil, err
	}
	select {
	case h.turn <- struct{}{}:
	case <-ctx.Done():
		hs.release(h)
		return nil, busy(ctx)
	}
	hs.mu.Lock()
	err = h.check() // the one before may have been wrong
	hs.mu.Unlock()
	if err != nil {
		hs.leave(h, false)
		return nil, err
	}
	return h, nil
}

func (hs *holds) leave(h *held, wrong bool) {
	if wrong {
		hs.note(h)
	}
	<-h.turn
	hs.release(h)
}

func (hs *holds) use(client netip.Addr) (*held, error) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	hs.forget(time.Now())
	h := hs.clients[client]
	if h == nil {
		h = &held{client: client, turn: make(chan struct{}, 1)}
		if hs.clients == nil {
			hs.clients = map[netip.Addr]*held{}
		}
		hs.clients[client] = h
	}
	if err := h.check(); err != nil {
		return nil, err
	}
	h.using++
	return h, nil
}

func (hs *holds) release(h *held) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h.using--
	hs.drop(h)
}

// note counts a wrong login.
func (hs *holds) note(h *held) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	now := time.Now()
	h.wrongs++
	h.last = now
	if h.wrongs > 1 {
		h.until = now.Add(min(firstHold<<min(h.wrongs-2, 10), longHold))
	}
	if h.place == nil {
		h.place = hs.wrong.PushBack(h)
	}
	hs.wrong.MoveToBack(h.place)
	hs.forget(now)
}

// forget drops what is too old, or too much.
func (hs *holds) forget(now time.Time) {
	for e := hs.wrong.Front(); e != nil; e = hs.wrong.Front() {
		h := e.Value.(*held)
		if hs.wrong.Len() <= maxHeld && now.Sub(h.last) < forgetHold {
			return
		}
		hs.wrong.Remove(e)
		h.place, h.wrongs, h.until = nil, 0, time.Time{}
		hs.drop(h)
	}
}

// drop takes out of the table what nobody needs there.
func (hs *holds) drop(h *held) {
	if h.using == 0 && h.place == nil {
		delete(hs.clients, h.client)
	}
}

func (h *held) check() error {
	if time.Now().Before(h.until) {
		return &BackoffError{h.until}
	}
	return nil
}
