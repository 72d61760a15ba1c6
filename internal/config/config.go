// Package config turns the text of a configuration file into a checked [Config]: plain
// data in which every name is resolved. It builds and opens nothing; the caller does
// that.
//
// It is strict: an unknown key is a mistake, and all mistakes of a file are returned at
// once, each with its position and the fix ([Errors]). No mistake and no formatting of a
// Config contains a password, or anything before the @ of a proxy's URL.
package config

import (
	"io/fs"
	"net/netip"
	"slices"
	"time"

	"hosier/internal/rules"
	"hosier/internal/via"
	"hosier/resolver"
)

// Config is the content of a file, with defaults filled in.
type Config struct {
	Listeners []Listener // at least one
	Egresses  []Egress   // each a single one: lists are resolved
	Rules     *rules.Set // over the names of Egresses and Listeners

	DNS       []resolver.Server // for direct egresses; empty for the system's
	DNSStale  time.Duration     // how long past its time an answer serves while no server answers; 0: not at all
	StateDir  string
	Admin     string // host:port on loopback, or unix:/path; "" for none
	MaxConns  int    // 0 for what the limit of open files allows
	Drain     time.Duration
	ReloadEnd bool // a reload ends the connections of the previous configuration

	Log    Log
	Limits Limits

	Settings []Setting // all settings in force, for people
}

// Log configures the log.
type Log struct {
	JSON        bool // text otherwise
	Debug       bool
	Reveal      bool // do not redact clients and targets
	Connections bool // log each connection when it ends
}

// Limits bound the use by clients; 0 is no limit.
type Limits struct {
	ConnsPerClient    int
	ConnsPerUser      int
	NewConnsPerSecond int   // of one client
	BytesPerSecond    int64 // of one user, both directions together
}

// Listener is an address that clients connect to, with its policy.
type Listener struct {
	Name string // from [listener.NAME]; else the address
	At   rules.Pos

	Address   string      // host:port with an IP, localhost or nothing as host; unix:/path; systemd:NAME
	Mode      fs.FileMode // of a Unix socket; 0 if not configured
	PeerUsers bool        // the peer's login name is its user

	TLSCert, TLSKey string // files; "" for no TLS
	TLSClientCA     string // the common name of a client's certificate is its user; "" requests none
	ProxyFrom       []netip.Prefix
	Names           []string // host names by which clients reach it: lower case, no trailing dot

	Policy

	// Isolation is that of [listener.NAME]; if nil, the egress's applies.
	Isolation *Isolation

	places places
}

// Policy applies to a listener's clients. At the top of a file it is the default of
// listeners.
type Policy struct {
	Users          string         // a file of users; "" for none
	AllowClient    []netip.Prefix // clients that are let in; all if empty
	Dialects       []string       // of socks4, socks5, connect; all if empty
	Unsafe         Unsafe
	ExtendedErrors *bool // nil: if the egress is Tor
	DeferAccept    bool  // accept a connection once it has sent something
	DNSCache       DNSCache

	HandshakeTimeout time.Duration
	ConnectTimeout   time.Duration
	IdleTimeout      time.Duration // 0 for no limit
	TotalTimeout     time.Duration // 0 for no limit
}

// DNSCache selects which clients share a direct egress's cached answers. The zero value
// is CacheUser where the listener has users or clients on other hosts, else CacheShared.
type DNSCache string

// The clients that share cached answers.
const (
	CacheShared DNSCache = "shared" // of all clients of the listener
	CacheUser   DNSCache = "user"   // of the same user, or the same client where there is none
	CacheOff    DNSCache = "off"    // nothing is cached
)

// Unsafe selects the treatment of requests that carry an address where a name was
// possible.
type Unsafe string

// The treatments.
const (
	UnsafeAllow  Unsafe = "allow"
	UnsafeWarn   Unsafe = "warn"
	UnsafeRefuse Unsafe = "refuse"
)

// IsGuarded reports whether the listener restricts its clients: they must log in, present
// a certificate, or come from given addresses. A PROXY header is no guard, since it can
// carry any address.
func (l *Listener) IsGuarded() bool {
	return l.Users != "" || l.TLSClientCA != "" || len(l.AllowClient) > 0
}

// HasUsers reports whether clients of the listener identify themselves.
func (l *Listener) HasUsers() bool {
	return l.Users != "" || l.PeerUsers || l.TLSClientCA != ""
}

// AsksPassword reports whether clients of the listener must log in with a password.
func (l *Listener) AsksPassword() bool {
	return l.Users != "" && l.TLSClientCA == "" && !l.PeerUsers
}

// Egress is a place where requests leave.
type Egress struct {
	Name string // from [egress.NAME]; else its URL, without what is before an @
	At   rules.Pos
	Via  via.Egress

	Isolation Isolation // for Tor; its own, or that of the top of the file
	Torrc     string    // of tor+spawn://; likewise
}

// Isolation holds the words of isolate and no-isolate.
type Isolation struct{ Isolate, NoIsolate []string }

// Options are hooks and flags for Parse. The zero value is usable.
type Options struct {
	// Readable returns an error if a named file cannot be read. If nil, this is not
	// checked.
	Readable func(path string) error

	// Users returns the names in a file of users. Its error may be [Errors], with places
	// in that file. If nil, users files are not read.
	Users func(file string) (names []string, err error)

	// TLS returns an error if a listener cannot use these files for TLS; clientCA may be
	// "". If nil, this is not checked.
	TLS func(cert, key, clientCA string) error

	// Flags replace keys at the top of the file before anything is checked, as if they
	// stood in the file.
	Flags []Flag

	// Verbose logs each connection with its target, whatever the file says. In the
	// settings it is the flag --verbose.
	Verbose bool
}

// Flag is a key of the top of the file with values from the command line. It is spelled
// like the key, and mistakes in it are placed at "--KEY".
type Flag struct {
	Key    string
	Values []string // one, unless the key takes a list
}

// Parse checks the text of the named file. The error is of type [Errors].
//
// A file must say where requests go, by via, an egress or a rule of its own or a flag: an
// empty one, or one that was cut short, must not send them directly. Without a file, which
// an empty name stands for, they go directly unless flags say otherwise.
//
// A byte order mark of UTF-8 is skipped. Relative names of files are taken to begin in the
// directory of the file.
func Parse(name string, text []byte, o Options) (*Config, error) {
	r := &reader{file: name, options: o, unreadable: map[string]bool{}, users: map[string][]string{}}
	text, err := withoutMark(text)
	if err != nil {
		r.lines = []int{0}
		r.fail(r.pos(0), "%v", err)
		return nil, r.failure()
	}
	root := r.parse(text)
	if root == nil {
		return nil, r.failure()
	}
	for _, f := range o.Flags {
		r.checkFlag(f)
		root.override(f)
	}
	d := r.draft(root)
	if len(r.errors) == 0 {
		r.validate(text)
	}
	if err := r.failure(); err != nil {
		return nil, err
	}
	d.config.Settings = r.settings(d)
	return &d.config, nil
}

// reader builds one Config.
type reader struct {
	file    string
	options Options
	lines   []int // where each starts
	errors  Errors

	unreadable map[string]bool     // files already reported
	users      map[string][]string // names by file; none for a file with mistakes
}

// failure returns the mistakes in their order; nil if there are none.
func (r *reader) failure() error {
	if len(r.errors) == 0 {
		return nil
	}
	slices.SortStableFunc(r.errors, (*Error).compare)
	r.errors = slices.CompactFunc(r.errors, func(a, b *Error) bool { return *a == *b })
	return r.errors
}
