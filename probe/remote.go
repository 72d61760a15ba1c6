package probe

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// order is what a probe tells another one that serves its targets: one line of JSON
// each, and one line of answer. The targets are gone with the connection.
type order struct {
	Op   string `json:"op"` // open, seen or close
	Kind kind   `json:"kind,omitempty"`
	V6   bool   `json:"v6,omitempty"`
	Port uint16 `json:"port,omitempty"`
}

type response struct {
	Port  uint16   `json:"port,omitempty"`
	Seen  sighting `json:"seen,omitzero"`
	Error string   `json:"error,omitempty"`
}

const (
	maxOrders  = 32 // probes that are served at once
	maxOpen    = 128
	orderLimit = 10 * time.Minute
)

// ServeTargets serves targets to probes on other hosts ([Config.Remote]) until ctx
// ends: each opens targets on free ports of the address that it came to. Everyone who can
// reach l can have a few connections echoed, and no more.
func ServeTargets(ctx context.Context, l net.Listener) error {
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	room := make(chan struct{}, maxOrders)
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case room <- struct{}{}:
		default:
			c.Close()
			continue
		}
		all.Add(1)
		go func() {
			defer all.Done()
			defer func() { <-room }()
			serveOrders(ctx, c)
		}()
	}
}

// serveOrders serves one probe.
func serveOrders(ctx context.Context, c net.Conn) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	open := make(map[uint16]*witness)
	defer func() {
		for _, w := range open {
			w.close()
		}
	}()
	own := c.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	lines := bufio.NewScanner(c)
	for {
		c.SetDeadline(time.Now().Add(orderLimit))
		if !lines.Scan() {
			return
		}
		var o order
		var r response
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			r.Error = "order is not JSON"
		} else if err := o.do(own, open, &r); err != nil {
			r.Error = err.Error()
		}
		b, err := json.Marshal(r)
		if err != nil {
			return
		}
		if _, err := c.Write(append(b, '\n')); err != nil {
			return
		}
	}
}

func (o order) do(own netip.Addr, open map[uint16]*witness, r *response) error {
	w := open[o.Port]
	switch {
	case o.Op == "open" && o.V6 != own.Is6():
		return errors.New("targets are of the family that the probe came by")
	case o.Op == "open" && len(open) >= maxOpen:
		return errors.New("too many targets are open")
	case o.Op == "open":
		w, err := openWitness(o.Kind, own)
		if err != nil {
			return err
		}
		r.Port = w.addr.Port()
		open[r.Port] = w
	case w == nil:
		return fmt.Errorf("order %q is for no target", o.Op)
	case o.Op == "seen":
		r.Seen = w.sighting()
	case o.Op == "close":
		w.close()
		delete(open, o.Port)
	}
	return nil
}

// remoteTargets are targets that another probe serves.
type remoteTargets struct {
	at      netip.Addr
	timeout time.Duration

	mu    sync.Mutex
	conn  net.Conn
	lines *bufio.Reader
}

func dialTargets(ctx context.Context, address string, timeout time.Duration) (*remoteTargets, error) {
	d := net.Dialer{Timeout: timeout}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("targets at %s: is hosier probe --serve running there? %w", address, err)
	}
	at := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	return &remoteTargets{at: at, timeout: timeout, conn: c, lines: bufio.NewReader(c)}, nil
}

func (r *remoteTargets) close() { r.conn.Close() }

func (r *remoteTargets) host(v6 bool) netip.Addr {
	if r.at.Is6() == v6 {
		return r.at
	}
	return netip.Addr{}
}

func (r *remoteTargets) tell(o order) (answer response, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conn.SetDeadline(time.Now().Add(r.timeout))
	b, err := json.Marshal(o)
	if err != nil {
		return answer, err
	}
	if _, err := r.conn.Write(append(b, '\n')); err != nil {
		return answer, err
	}
	line, err := r.lines.ReadBytes('\n')
	if err != nil {
		return answer, err
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return answer, err
	}
	if answer.Error != "" {
		return answer, errors.New(answer.Error)
	}
	return answer, nil
}

func (r *remoteTargets) open(k kind, v6 bool) (*target, error) {
	a, err := r.tell(order{Op: "open", Kind: k, V6: v6})
	if err != nil {
		return nil, err
	}
	return &target{
		addr: netip.AddrPortFrom(r.at, a.Port),
		seen: func() (sighting, error) {
			a, err := r.tell(order{Op: "seen", Port: a.Port})
			return a.Seen, err
		},
		close: func() { r.tell(order{Op: "close", Port: a.Port}) },
	}, nil
}
