// Package tor is the egress through Tor: one daemon or a pool of several, that run
// already or that the pool runs itself.
//
// A [Pool] keeps streams apart by an isolation key: a keyed hash of who asks, which is
// all that a tor is ever told about it. The key also chooses the tor, so that the same
// client has the same one for as long as that can serve. With a control port the pool
// knows whether a tor can build circuits; without one it judges by what becomes of the
// requests. Names travel to Tor as they are, and nothing ever goes another way.
package tor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"hosier/egress"
	"hosier/internal/fair"
	"hosier/socks"
)

// Member is one tor of a [Pool].
type Member struct {
	// SOCKS is the address of its SOCKS port: host:port, or unix:/path. It is also the
	// name by which keys are dealt out, so replicas that shall agree write it alike.
	SOCKS string

	// Others are where it may be instead, likewise: they are tried in their order when
	// nobody listens at SOCKS.
	Others []string

	// Control is the address of its control port, likewise; without one if empty.
	Control string

	// Password opens a control port that wants one. A cookie needs no setting: tor says
	// in which file it is.
	Password string

	// Daemon is the tor that the pool runs itself; nil if it runs already. Such a member
	// comes from [Spawn], with its addresses.
	Daemon *Daemon
}

// String returns the address, or the name of a daemon that the pool runs.
func (m Member) String() string {
	if m.Daemon != nil {
		return m.Daemon.Name
	}
	return m.SOCKS
}

// Pool is the egress through its members. Only Members is required. The fields must
// not change once it is used, and a Pool must not be copied. It may be used by many
// goroutines at once. Control ports and daemons are the affair of [Pool.Run]; a pool of
// members that have neither works without it.
type Pool struct {
	Members   []Member
	Isolation Isolation // what keeps requests apart
	Key       Key       // of the isolation keys; a random one if zero

	// MaxDials is how many isolation keys a member builds circuits for at once; 32 if 0,
	// which is as many as a tor takes. Further ones wait, those that have a circuit do not.
	MaxDials int

	// Connected judges a connection to a member's SOCKS port before anything is sent on it:
	// its error means that there is no tor. It may not keep the connection. Nil takes all.
	Connected func(net.Conn) error

	// Changed is told the state of a member when it changes. The calls come one after
	// the other, and must not block. Nil is not told.
	Changed func(Status)

	// Log gets what becomes of members, and why requests are refused; nothing of clients
	// and targets. Nil logs nothing.
	Log *slog.Logger

	once sync.Once
	key  Key
	all  []*member
	log  *slog.Logger

	mu      sync.Mutex // guards this and the health of all members
	changed chan struct{}
	warned  time.Time // when it was last logged that no tor is ready
	waiting time.Time // when it was last logged that requests wait
	stopped error     // why Run has ended; nil before

	telling sync.Mutex // orders the calls of Changed
}

// init makes the parts that a zero Pool lacks.
func (p *Pool) init() {
	p.once.Do(func() {
		p.key, p.log, p.changed = p.Key, p.Log, make(chan struct{})
		if p.key == (Key{}) {
			p.key = NewKey()
		}
		if p.log == nil {
			p.log = slog.New(slog.DiscardHandler)
		}
		for _, m := range p.Members {
			p.all = append(p.all, newMember(m, p.MaxDials))
		}
	})
}

// Dial connects to the target through the member that the request's isolation key leads
// to. There is no bound address to tell. A tor that cannot be reached, or none that is
// ready before ctx ends, is a *socks.ProxyError; another failure wraps the socks.Status
// that tor answered, or the error of ctx.
func (p *Pool) Dial(ctx context.Context, r *socks.Request) (net.Conn, socks.Addr, error) {
	return p.dial(ctx, nil, r, p.Isolation)
}

// DialInLoop implements the interface [egress.InLoop]. It leaves the loop before it waits for a
// tor or for a turn.
func (p *Pool) DialInLoop(ctx context.Context, l egress.Loop, r *socks.Request) (net.Conn, socks.Addr, error) {
	return p.dial(ctx, l, r, p.Isolation)
}

func (p *Pool) dial(ctx context.Context, l egress.Loop, r *socks.Request, i Isolation) (net.Conn, socks.Addr, error) {
	if err := r.Addr.CheckOnion(); err != nil {
		return nil, socks.Addr{}, err // tor says so only on a port with ExtendedErrors
	}
	c, _, err := p.do(ctx, l, r, i)
	return c, socks.Addr{}, err
}

// Resolve asks Tor for an address of the name. Its errors are those of Dial.
func (p *Pool) Resolve(ctx context.Context, r *socks.Request) (netip.Addr, error) {
	return p.resolve(ctx, r, p.Isolation)
}

func (p *Pool) resolve(ctx context.Context, r *socks.Request, i Isolation) (netip.Addr, error) {
	if r.Addr.IP.IsValid() {
		return r.Addr.IP, nil
	}
	if err := r.Addr.CheckOnion(); err != nil {
		return netip.Addr{}, err // as in dial
	}
	answer, err := p.lookup(ctx, r, i)
	if err == nil && !answer.IP.IsValid() {
		err = &socks.ProxyError{Proxy: p.String(), Err: errors.New("answer to RESOLVE is not an address")}
	}
	return answer.IP, err
}

// ResolvePTR asks Tor for the name of the address. Its errors are those of Dial.
func (p *Pool) ResolvePTR(ctx context.Context, r *socks.Request) (string, error) {
	return p.resolvePTR(ctx, r, p.Isolation)
}

func (p *Pool) resolvePTR(ctx context.Context, r *socks.Request, i Isolation) (string, error) {
	answer, err := p.lookup(ctx, r, i)
	if err == nil && answer.Name == "" {
		err = &socks.ProxyError{Proxy: p.String(), Err: errors.New("answer to RESOLVE_PTR is not a name")}
	}
	return answer.Name, err
}

func (p *Pool) lookup(ctx context.Context, r *socks.Request, i Isolation) (socks.Addr, error) {
	c, answer, err := p.do(ctx, nil, r, i)
	if err != nil {
		return socks.Addr{}, err
	}
	return answer, c.Close()
}

// Ready reports whether a member can serve now.
func (p *Pool) Ready() bool {
	p.init()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.all {
		if m.health.state() == Ready {
			return true
		}
	}
	return false
}

func (p *Pool) String() string {
	var names []string
	for _, m := range p.Members {
		names = append(names, m.String())
	}
	return "tor " + strings.Join(names, ",")
}

// do has a member serve the request. A tor that cannot be connected to, or does not finish
// the greeting, does not know the request, and so the next one may be asked.
func (p *Pool) do(ctx context.Context, l egress.Loop, r *socks.Request, i Isolation) (net.Conn, socks.Addr, error) {
	p.init()
	token := i.token(p.key, r)
	order := ranked(p.all, token)
	leave := func() {
		if l != nil {
			l.Leave()
		}
	}
	tried := make(map[*member]bool, len(order))
	var last error
	for {
		m, err := p.choose(ctx, leave, order, tried)
		if err != nil {
			return nil, socks.Addr{}, err
		}
		if m == nil {
			return nil, socks.Addr{}, last
		}
		if err := m.slots.acquire(ctx, leave, token, partyOf(r)); err != nil {
			p.abandon(m)
			return nil, socks.Addr{}, m.full(err)
		}
		c, answer, met := m.do(ctx, l, r, p.auth(m, token), p.Connected)
		m.slots.release(token, met.err == nil)
		p.judge(m, r, met)
		r.Member = m.String()
		if !met.unasked() || met.over {
			return c, answer, met.err
		}
		tried[m], last = true, met.err
	}
}

// partyOf returns who a request's circuits count for: the user that its client has shown to
// be, else the client. What it says about itself does not count, since it may say anything.
func partyOf(r *socks.Request) fair.Party {
	if r.User != "" {
		return fair.OfUser(r.User)
	}
	return fair.OfClient(r.Client.Addr())
}

// auth is how the isolation key is said to a tor: as user name and password of format 0
// of Tor's proposal 351 where the tor is known to have that.
func (p *Pool) auth(m *member, token string) socks.Auth {
	p.mu.Lock()
	defer p.mu.Unlock()
	user := "hosier"
	if m.health.version.atLeast(0, 4, 9, 1) {
		user = "<torS0X>0"
	}
	return socks.Auth{Method: socks.UserPass, User: user, Password: token}
}

// connectTimeout is how long a tor may take to accept a connection.
const connectTimeout = 10 * time.Second

// met is what a request met with.
type met struct {
	connected bool // to the SOCKS port
	over      bool // the request's own time was over, or its client gone
	took      time.Duration
	err       error
}

// do sends the request to this tor.
func (m *member) do(ctx context.Context, l egress.Loop, r *socks.Request, auth socks.Auth, judge func(net.Conn) error) (c net.Conn, answer socks.Addr, met met) {
	start := time.Now()
	d := socks.Dialer{Proxy: m.SOCKS, Auth: auth}
	d.Forward = func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := m.connect(ctx, l)
		if err == nil && judge != nil {
			if err = judge(c); err != nil {
				c.Close()
				return nil, err
			}
		}
		met.connected = err == nil
		return c, err
	}
	c, answer, met.err = d.Do(ctx, r)
	met.took, met.over = time.Since(start), ctx.Err() != nil
	return c, answer, met
}

// connect connects to the first of its addresses where somebody listens. The error is
// that of SOCKS.
func (m Member) connect(ctx context.Context, l egress.Loop) (net.Conn, error) {
	c, err := dialTor(ctx, l, m.SOCKS)
	for _, other := range m.Others {
		if err == nil {
			break
		}
		if found, otherErr := dialTor(ctx, l, other); otherErr == nil {
			return found, nil
		}
	}
	return c, err
}

func dialTor(ctx context.Context, l egress.Loop, address string) (net.Conn, error) {
	network, address := networkOf(address)
	return egress.DialUpstream(ctx, l, network, address, connectTimeout)
}

// networkOf returns network and address of host:port or unix:/path.
func networkOf(address string) (string, string) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return "unix", path
	}
	return "tcp", address
}

// full is the error of a request that waited for its turn in vain.
func (m *member) full(err error) error {
	return &socks.ProxyError{Proxy: m.String(), Err: fmt.Errorf("too many circuits are being built: %w", err)}
}
