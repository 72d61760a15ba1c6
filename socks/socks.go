// Package socks is the SOCKS protocol: its words, its messages, and both sides of
// its conversation.
//
// It knows SOCKS4 and 4A, SOCKS5 (RFC 1928) with user names and passwords
// (RFC 1929), and Tor's extensions: RESOLVE, RESOLVE_PTR, extended error codes
// and isolation by credentials.
//
// A server calls [Accept], which reads one [Request] from a client; the request
// words its own reply with [Request.AppendReply]. A client uses a [Dialer]. Both
// stand on pure functions, one Parse and one Append a message, that a program with
// its own input and output may use alone.
//
// No name is ever looked up here. A name travels as the bytes that the client sent.
package socks

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
)

// Version is the dialect of a request.
type Version byte

// The dialects. A SOCKS4A request is a V4 request with a name.
const (
	HTTP Version = 1 // HTTP CONNECT, RFC 9110 section 9.3.6: it has no SOCKS reply
	V4   Version = 4
	V5   Version = 5
)

func (v Version) String() string {
	switch v {
	case HTTP:
		return "HTTP"
	case V4, V5:
		return "SOCKS" + strconv.Itoa(int(v))
	}
	return fmt.Sprintf("version %#02x", byte(v))
}

// Command is what a request asks for.
type Command byte

// The commands of RFC 1928 section 4 and of Tor's socks-extensions section 2.
const (
	Connect    Command = 0x01
	Bind       Command = 0x02
	Associate  Command = 0x03 // UDP ASSOCIATE
	Resolve    Command = 0xF0 // a name to one address
	ResolvePTR Command = 0xF1 // an address to a name
)

func (c Command) String() string {
	switch c {
	case Connect:
		return "CONNECT"
	case Bind:
		return "BIND"
	case Associate:
		return "UDP ASSOCIATE"
	case Resolve:
		return "RESOLVE"
	case ResolvePTR:
		return "RESOLVE_PTR"
	}
	return fmt.Sprintf("command %#02x", byte(c))
}

func (c Command) known(v Version) bool {
	switch c {
	case Connect, Bind, Resolve:
		return true
	case Associate, ResolvePTR:
		return v == V5
	}
	return false
}

// Method is an authentication method of RFC 1928 section 3.
type Method byte

// The methods that hosier speaks.
const (
	NoAuth       Method = 0x00
	UserPass     Method = 0x02 // RFC 1929
	NoAcceptable Method = 0xFF // a server's answer only
)

// Auth is what a client says about itself, believed or not.
//
// With Method [NoAuth] the User, if there is one, is a SOCKS4 user id, which proves
// nothing. With [UserPass] either field may be empty, as Tor allows. No formatting,
// log or JSON of an Auth shows the password or the isolation values; but fmt cannot
// ask an Auth that stands in an unexported field of a struct.
type Auth struct {
	Method   Method
	User     string
	Password string `json:"-"`

	// Isolation is what an HTTP client sent to be kept apart by: its
	// Tor-Stream-Isolation headers and the like, each as "name=value" on a line.
	// Two requests with different values must not share a Tor circuit.
	Isolation string `json:"-"`
}

// present reports whether there is something to log in with.
func (a Auth) present() bool { return a.Method == UserPass || a.User != "" || a.Password != "" }

func (a Auth) String() string {
	switch {
	case a.Method == UserPass:
		return "user " + strconv.Quote(a.User) + " with a password"
	case a.User != "":
		return "user id " + strconv.Quote(a.User)
	}
	return "no authentication"
}

// GoString hides what String hides.
func (a Auth) GoString() string { return "socks.Auth{" + a.String() + "}" }

// Format hides what String hides, whatever the verb.
func (a Auth) Format(f fmt.State, _ rune) { f.Write([]byte(a.String())) }

// LogValue hides what String hides.
func (a Auth) LogValue() slog.Value { return slog.StringValue(a.String()) }

// torMagic begins the user names of Tor's proposal 351; a format code follows.
const torMagic = "<torS0X>"

// checkTor refuses the formats of proposal 351 that give credentials a meaning
// which hosier does not know. Format 0 is the plain one: the password isolates.
func (a Auth) checkTor() error {
	if len(a.User) < len(torMagic) || a.User[:len(torMagic)] != torMagic {
		return nil
	}
	if a.User[len(torMagic):] == "0" {
		return nil
	}
	return errTorFormat
}

var errTorFormat = errors.New("user name begins with <torS0X>, but not in format 0")

// Request is one request of a client.
type Request struct {
	Version Version
	Command Command
	Addr    Addr
	Auth    Auth

	// Literal says that the client gave an address in the form of one, where it could
	// have given a name: it, or its user, may have looked a name up. An address that is
	// written out in the place of a name leaves it false. RESOLVE_PTR has no choice.
	Literal bool

	// What a server adds.
	Client   netip.AddrPort // who asks; zero on a Unix socket
	Listener string         // the address that it came in by
	User     string         // who the client has shown to be; "" if nobody asked

	// Allow judges each address that an egress on this host comes to for the request: before
	// it is connected to, and before it is an answer. Its error is that of the request, if no
	// address is left. It must not wait. Nil allows all.
	Allow func(netip.Addr) error

	// Member is set by an egress that has several ways to serve a request: the one that
	// did, for logs.
	Member string
}

// Format writes r without what its Auth hides, whatever the verb. Without it, %s of a
// struct with a *Request would show the password: fmt prints bare what a pointer points
// to when the verb is not one for pointers.
func (r Request) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "%v %v %s, %v", r.Version, r.Command, r.Target(), r.Auth)
}

// Validate reports whether the request makes sense beyond its syntax: a target that
// the command can have, and a name that may leave. The error wraps the [Status]
// that the client is owed. [Accept] has called it.
func (r *Request) Validate() error {
	switch {
	case r.Command == ResolvePTR && r.Addr.Name != "":
		return &FormatError{AddressTypeNotSupported, "RESOLVE_PTR of a name, not of an address"}
	case r.Command == Connect && r.Addr.Port == 0:
		return &FormatError{GeneralFailure, "CONNECT to port 0"}
	case r.Version == V4 && r.Addr.IP.Is6():
		return &FormatError{GeneralFailure, "SOCKS4 has no IPv6"}
	case r.Addr.under("exit"):
		// Tor removed them: they let a web page choose who watches its visitor.
		return &FormatError{GeneralFailure, ".exit names are refused"}
	}
	return nil
}

// Target is what the request is about, for people: host:port, or of a lookup the host.
func (r *Request) Target() string {
	if r.Command == Resolve || r.Command == ResolvePTR {
		return r.Addr.Host()
	}
	return r.Addr.String()
}

// AppendReply appends the reply to r, in the words of r's version, and returns the
// extended slice. The bound address counts only with [Succeeded]; without one the
// reply has an IPv4 address of zeros. For RESOLVE it is the answer, for
// RESOLVE_PTR its Name is. SOCKS4 has no room for a name or an IPv6 address, and
// HTTP has no such reply at all: b comes back as it was.
func (r *Request) AppendReply(b []byte, s Status, bound Addr) []byte {
	if s != Succeeded {
		bound = Addr{}
	}
	switch r.Version {
	case V4:
		return AppendReply4(b, s, bound)
	case V5:
		return AppendReply5(b, s, bound)
	}
	return b
}

// ErrShort says that a message is not complete. The length returned with it is the
// least that could be.
var ErrShort = errors.New("socks: message is not complete")

// FormatError is a message that breaks the protocol.
type FormatError struct {
	Status Status // what its sender is owed
	Text   string // what is wrong with it, without any of its bytes
}

func (e *FormatError) Error() string { return "socks: " + e.Text }

// Unwrap returns the status.
func (e *FormatError) Unwrap() error { return e.Status }
