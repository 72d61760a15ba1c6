// Package admin serves the operator of a running hosier by HTTP: metrics, health, the
// console and its API.
//
// Whoever can connect may read /metrics, /healthz and /readyz. Everything else wants a
// [Token], the session of a browser that came in by a one-time link, or a connection by a
// socket that is open to the owner alone. Web pages of
// other origins get nothing: a request must name the listener by a name that is its own
// (against DNS rebinding), and must not come from another site.
package admin

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"
)

// What one client, or all, may take.
const (
	maxConns      = 256
	maxHead       = 16 << 10 // bytes of a request head
	maxBody       = 64 << 10
	headTimeout   = 5 * time.Second
	readTimeout   = 10 * time.Second
	answerTimeout = time.Minute
	reportTimeout = 2500 * time.Millisecond
	idleTimeout   = time.Minute
)

// Options are what a [Server] is made of. The zero value serves health alone.
type Options struct {
	Token   Token        // of scripts; the zero Token lets none in
	Metrics http.Handler // serves /metrics; nil for none
	Log     *slog.Logger // slog.Default() if nil

	// Ready says why hosier cannot serve its clients, nil if it can. It names each egress
	// and what is wrong with it. Nil is always ready.
	Ready func(context.Context) error

	// Reload reads the configuration anew. An error changes nothing, and its text has a
	// line for each mistake. There is no context, since what a reload starts outlives the
	// request. Nil for none.
	Reload func() error

	// Report returns the state of hosier, as JSON has it, for hosier status. Nil for none.
	Report func(context.Context) any
}

// Server is the HTTP server of the admin listeners.
type Server struct {
	o        Options
	log      *slog.Logger
	http     http.Server
	open     *http.ServeMux // for everybody who can connect
	closed   *http.ServeMux // for those who have signed in
	sessions sessions
	at       atomic.Pointer[string] // host:port of a TCP listener
}

// New makes a Server.
func New(o Options) *Server {
	s := &Server{o: o, log: o.Log, open: http.NewServeMux(), closed: http.NewServeMux()}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.http = http.Server{
		Handler:                      s.guard(s.open),
		DisableGeneralOptionsHandler: true, // it would answer without a look at the Host
		ReadHeaderTimeout:            headTimeout,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 answerTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHead,
		BaseContext: func(l net.Listener) context.Context {
			_, isOwners := l.(ownersListener)
			return context.WithValue(context.Background(), ownerKey{}, isOwners)
		},
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	s.open.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") })
	s.open.HandleFunc("GET /readyz", s.ready)
	if o.Metrics != nil {
		s.open.Handle("GET /metrics", o.Metrics)
	}
	s.open.HandleFunc("GET /signin", s.signIn)
	s.open.HandleFunc("POST /api/v1/signin-links", s.makeLink)
	s.open.Handle("/", s.requireSession(s.closed))
	s.Handle("POST /signout", http.HandlerFunc(s.signOut))
	if o.Reload != nil {
		s.Handle("POST /api/v1/reload", http.HandlerFunc(s.reload))
	}
	if o.Report != nil {
		s.Handle("GET /api/v1/report", http.HandlerFunc(s.report))
	}
	return s
}

// Handle serves a pattern of [http.ServeMux] to those who have signed in or show the
// token. A method that may change something has passed the check of [CSRF] as well.
//
// A handler that streams must lift the deadlines of the server, for reading and for
// writing, by [http.ResponseController].
func (s *Server) Handle(pattern string, h http.Handler) { s.closed.Handle(pattern, h) }

// Serve serves l until Close, and then returns [http.ErrServerClosed]; it
// closes l in any case. It may be called for several listeners at once. A listener that
// other hosts can reach is an error.
func (s *Server) Serve(l net.Listener) error {
	a, isTCP := l.Addr().(*net.TCPAddr)
	switch {
	case isTCP && !a.IP.IsLoopback():
		l.Close()
		return fmt.Errorf("admin listener %v: other hosts could reach it, and what it says is not encrypted: listen on "+
			"127.0.0.1:%d or on unix:/path, and come from elsewhere by ssh -L %[2]d:127.0.0.1:%[2]d", a, a.Port)
	case isTCP:
		at := a.String()
		s.at.Store(&at)
	case l.Addr().Network() != "unix":
		l.Close()
		return fmt.Errorf("admin listener %v: it is neither of TCP nor of Unix sockets", l.Addr())
	}
	return s.http.Serve(netutil.LimitListener(l, maxConns))
}

// ServeOwner is Serve for a listener to which only the owner of this process can connect, such
// as a Unix socket with mode 0600: connecting is worth as much as the token.
func (s *Server) ServeOwner(l net.Listener) error { return s.http.Serve(ownersListener{l}) }

type ownersListener struct{ net.Listener }

// ownerKey is the key in a request's context of whether it came by an ownersListener.
type ownerKey struct{}

// Close ends everything at once.
func (s *Server) Close() error { return s.http.Close() }
