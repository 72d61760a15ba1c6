package socks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Dialer connects to targets through a SOCKS proxy. Names travel to the proxy as they are.
// [NewDialer] makes one from a URL; as a literal it needs a Proxy alone. A Dialer may be used
// by many goroutines at once, and must not change meanwhile. Its methods wait until their
// context ends, and limit nothing but the greeting.
type Dialer struct {
	Proxy   string  // host:port, or unix:/path
	Version Version // V4 (SOCKS4A for names) or V5; V5 if zero

	// Auth is sent to the proxy: in SOCKS4 the User, as the user id; in SOCKS5 User and
	// Password, if either is set or the Method is UserPass. A SOCKS5 proxy that wants no
	// password gets none.
	Auth Auth

	// Forward connects to the proxy; a net.Dialer does if nil. The network is tcp or
	// unix.
	Forward func(ctx context.Context, network, address string) (net.Conn, error)
}

// ProxyError is a failure on the way to the proxy, or of the proxy itself. It says
// nothing about the target. errors.As finds it in the errors of a [Dialer], and the cause in
// it: [ErrAuth], a *[FormatError], a *net.OpError, io.ErrUnexpectedEOF.
type ProxyError struct {
	Proxy string // its address
	Err   error

	// Asked reports whether the proxy may have got the request. A proxy that failed
	// before that does not know the target.
	Asked bool
}

func (e *ProxyError) Error() string { return "proxy " + e.Proxy + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *ProxyError) Unwrap() error { return e.Err }

const (
	// greetTimeout bounds greeting and login. The proxy needs nobody else for them, so
	// one that takes longer is not working.
	greetTimeout = 10 * time.Second

	// restTimeout is how long the rest of a reply may take once its code, a failure, is
	// there: some servers send no more than two to four bytes of it, and do not hang up.
	restTimeout = time.Second
)

// Do sends r to the proxy, with the Version and Auth of d, and waits for the reply. The
// connection is the caller's to close; what the far side says after the reply has not
// been read from it. For [Resolve] and [ResolvePTR] bound is the answer.
//
// A reply other than success is an error that wraps its [Status], also if the proxy
// sends no more of the reply than the code. A proxy that cannot be reached, refuses the
// login, breaks the protocol, or does not finish greeting and login within 10 seconds
// or the deadline of ctx is a *[ProxyError]; so is one that hangs up without a reply,
// and then the error wraps io.ErrUnexpectedEOF. When ctx ends, its error is wrapped.
func (d *Dialer) Do(ctx context.Context, r *Request) (c net.Conn, bound Addr, err error) {
	request, err := d.encode(r)
	if err != nil {
		return nil, bound, err
	}
	network, address := "tcp", d.Proxy
	if path, ok := strings.CutPrefix(d.Proxy, "unix:"); ok {
		network, address = "unix", path
	}
	forward := d.Forward
	if forward == nil {
		forward = new(net.Dialer).DialContext
	}
	c, err = forward(ctx, network, address)
	if err != nil {
		return nil, bound, &ProxyError{Proxy: d.Proxy, Err: err}
	}
	talk := newConversation(d, c)
	stop := context.AfterFunc(ctx, talk.interrupt)
	s, bound, err := talk.run(request)
	switch ended := !stop(); {
	case err == nil && s != Succeeded:
		err = d.failed(r, s)
	case ended && !talk.asked && !errors.Is(ctx.Err(), context.Canceled):
		err = &ProxyError{Proxy: d.Proxy, Err: fmt.Errorf("no answer to the greeting: %w", endOf(ctx))}
	case ended:
		err = d.failed(r, endOf(ctx))
	}
	if err != nil {
		c.Close()
		return nil, Addr{}, err
	}
	return c, bound, nil
}

// encode words r for the proxy. It comes before the connection, so that the proxy hears
// nothing of a request that cannot be said.
func (d *Dialer) encode(r *Request) ([]byte, error) {
	ask := *r
	ask.Auth = d.Auth
	b := make([]byte, 0, 64)
	if d.Version == V4 {
		return AppendRequest4(b, &ask)
	}
	if d.Auth.present() {
		if _, err := AppendUserPass(b, d.Auth); err != nil {
			return nil, err
		}
	}
	return AppendRequest5(b, &ask)
}

func (d *Dialer) failed(r *Request, err error) error {
	return fmt.Errorf("%v %s through proxy %s: %w", r.Command, r.Target(), d.Proxy, err)
}

// endOf returns the error of ctx, with its cause where that says more.
func endOf(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// DialContext connects to "host:port" through the proxy. It fits
// http.Transport.DialContext. The network is tcp, tcp4 or tcp6, and all three mean the
// same: which family a name leads to is the proxy's affair. Errors are those of [Dialer.Do].
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, fmt.Errorf("dial %s %s through proxy %s: %w", network, address, d.Proxy, net.UnknownNetworkError(network))
	}
	addr, err := ParseAddr(address)
	if err != nil {
		return nil, err
	}
	c, _, err := d.Do(ctx, &Request{Command: Connect, Addr: addr})
	return c, err
}

// Dial is [Dialer.DialContext] with context.Background: it may wait for as long as the proxy
// does.
func (d *Dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// Resolve asks the proxy for one address of name, with Tor's RESOLVE. Few proxies but
// hosier and Tor know it; an error that matches errors.ErrUnsupported says that this one
// does not. Other errors are those of [Dialer.Do].
func (d *Dialer) Resolve(ctx context.Context, name string) (netip.Addr, error) {
	addr, err := ParseHost(name)
	if err != nil {
		return netip.Addr{}, err
	}
	answer, err := d.lookup(ctx, &Request{Command: Resolve, Addr: addr})
	if err != nil {
		return netip.Addr{}, err
	}
	if !answer.IP.IsValid() {
		return netip.Addr{}, &ProxyError{Proxy: d.Proxy, Err: errors.New("answer to RESOLVE is not an address"), Asked: true}
	}
	return answer.IP, nil
}

// ResolvePTR asks the proxy for the name of ip, with Tor's RESOLVE_PTR, which SOCKS4
// does not have. Errors are those of [Dialer.Resolve].
func (d *Dialer) ResolvePTR(ctx context.Context, ip netip.Addr) (string, error) {
	answer, err := d.lookup(ctx, &Request{Command: ResolvePTR, Addr: Addr{IP: ip}})
	if err != nil {
		return "", err
	}
	if answer.Name == "" {
		return "", &ProxyError{Proxy: d.Proxy, Err: errors.New("answer to RESOLVE_PTR is not a name"), Asked: true}
	}
	return answer.Name, nil
}

func (d *Dialer) lookup(ctx context.Context, r *Request) (Addr, error) {
	c, answer, err := d.Do(ctx, r)
	if err != nil {
		return Addr{}, err
	}
	return answer, c.Close()
}
