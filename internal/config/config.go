// Package config makes of the text of a configuration file a checked [Config]. It builds
// nothing and opens nothing; whoever starts the program does, from plain data in which
// every name leads somewhere.
//
// It is strict: what it does not know is a mistake, and all mistakes of a file come back
// at once, each with its place and the fix ([Errors]). No password, nor anything else of
// a proxy's URL, stands in a mistake or in any formatting of a Config.
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

// Config is what a file says, with what it does not say filled in.
type Config struct {
	Listeners []Listener // at least one
	Egresses  []Egress   // every way out, each by itself: lists of them are dissolved
	Rules     *rules.Set // over the names of Egresses and Listeners

	DNS       []resolver.Server // that direct egresses ask; none for the system's
	StateDir  string
	Admin     string // host:port on loopback, or unix:/path; "" for none
	MaxConns  int    // 0 for what the limit of open files allows
	Drain     time.Duration
	ReloadEnd bool // a reload ends the connections that began under the file before it

	Log    Log
	Limits Limits

	Settings []Setting // all that is in force, for people
}

// Log says what is written about running.
type Log struct {
	JSON        bool // text otherwise
	Debug       bool
	Reveal      bool // clients and targets are written, not only that there were some
	Connections bool // a line a connection, at its end
}

// Limits bound what clients may take; 0 stands for no limit.
type Limits struct {
	ConnsPerClient    int
	ConnsPerUser      int
	NewConnsPerSecond int   // of one client
	BytesPerSecond    int64 // of one user, both ways together
}

// Listener is one way in, and what holds for those who come by it.
type Listener struct {
	Name string // of [listener.NAME]; else the address
	At   rules.Pos

	Address   string      // host:port with an IP, localhost or nothing as host; unix:/path; systemd:NAME
	Mode      fs.FileMode // of a Unix socket; 0 if the file does not say
	PeerUsers bool        // the peer's login name is its user

	TLSCert, TLSKey string // files; "" for no TLS
	TLSClientCA     string // a certificate's common name is its user; "" asks for none
	ProxyFrom       []netip.Prefix
	Names           []string // of hosts, by which clients reach it: lower case, no dot at the end

	Policy

	// Isolation is what [listener.NAME] says itself; nil leaves it to the way out.
	Isolation *Isolation

	places places
}

// Policy is what holds for a client. At the top of a file it is the default of listeners.
type Policy struct {
	Users          string         // a file of users; "" for none
	AllowClient    []netip.Prefix // who may come; all if empty
	Dialects       []string       // of socks4, socks5, connect; all if empty
	Unsafe         Unsafe
	ExtendedErrors *bool // nil: if the way out is Tor
	DeferAccept    bool  // a connection counts once it has said something
	DNSCache       DNSCache

	HandshakeTimeout time.Duration
	ConnectTimeout   time.Duration
	IdleTimeout      time.Duration // 0 for no limit
	TotalTimeout     time.Duration // 0 for no limit
}

// DNSCache says whose cached answers a client may get from a direct egress. The zero value is
// CacheUser where the listener has users or clients on other hosts, else CacheShared.
type DNSCache string

// Whose they may be.
const (
	CacheShared DNSCache = "shared" // of all clients of the listener
	CacheUser   DNSCache = "user"   // of the same user, or the same client where there is none
	CacheOff    DNSCache = "off"    // nothing is kept
)

// Unsafe says what becomes of requests that carry an address where a name was possible.
type Unsafe string

// What may become of them.
const (
	UnsafeAllow  Unsafe = "allow"
	UnsafeWarn   Unsafe = "warn"
	UnsafeRefuse Unsafe = "refuse"
)

// IsGuarded tells whether not just anybody may use the listener: a client must log in,
// show a certificate, or come from one of some addresses. What a PROXY header says is
// no guard, since it says it of anybody.
func (l *Listener) IsGuarded() bool {
	return l.Users != "" || l.TLSClientCA != "" || len(l.AllowClient) > 0
}

// HasUsers tells whether clients of the listener show who they are.
func (l *Listener) HasUsers() bool {
	return l.Users != "" || l.PeerUsers || l.TLSClientCA != ""
}

// AsksPassword reports whether clients of the listener must log in with a password.
func (l *Listener) AsksPassword() bool {
	return l.Users != "" && l.TLSClientCA == "" && !l.PeerUsers
}

// Egress is one way out.
type Egress struct {
	Name string // of [egress.NAME]; else what is written, without what is before an @
	At   rules.Pos
	Via  via.Egress

	Isolation Isolation // of Tor; its own, or that of the top of the file
	Torrc     string    // of tor+spawn://; likewise
}

// Isolation are the words of isolate and no-isolate.
type Isolation struct{ Isolate, NoIsolate []string }

// Options are what Parse needs to know beyond the text. The zero value is ready.
type Options struct {
	// Readable tells whether a file that is named can be read. Nil does not ask.
	Readable func(path string) error

	// Users returns the names in a file of users. Its error may be [Errors], with places in
	// that file. Nil does not look into files of users.
	Users func(file string) (names []string, err error)

	// TLS tells whether a listener can speak TLS by its files; clientCA may be "". Nil does
	// not ask.
	TLS func(cert, key, clientCA string) error

	// Flags take the place of keys at the top of the file, before anything is judged:
	// whatever is true of a file is true of the file with them.
	Flags []Flag

	// Verbose has a line a connection, with its target, whatever the file says. In the
	// settings it is the flag --verbose.
	Verbose bool
}

// Flag is a key of the top of the file with values from elsewhere. It is spelled like the
// key, and mistakes in it are placed at "--KEY".
type Flag struct {
	Key    string
	Values []string // of a key that takes no list, one
}

// Parse reads the text of the file of that name. The error is of type [Errors].
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

// reader makes one Config.
type reader struct {
	file    string
	options Options
	lines   []int // where each begins
	errors  Errors

	unreadable map[string]bool     // files of which that was told
	users      map[string][]string // names by file; none of a file that has mistakes
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
