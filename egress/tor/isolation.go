package tor

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"hosier/internal/fair"
	"hosier/internal/private"
	"hosier/socks"
)

// Isolation says which parts of a request keep it from sharing a circuit with others.
// The zero value is the default: the listener that it came in by, the client's address
// without the port (of IPv6 its network of 64 bits) and whom it has shown to be, and what it said about itself.
type Isolation struct {
	NoListener bool // do not count the listener
	NoClient   bool // do not count the client's address and user
	NoAuth     bool // do not count SOCKS users, passwords and HTTP isolation headers

	Destination bool // count the host asked for, too
	Port        bool // count the port asked for, too
	Protocol    bool // count whether it is SOCKS4, SOCKS5 or HTTP, too
}

// token returns the isolation key of a request: equal for two requests exactly if all
// that counts is equal. Nothing of the request can be read from it without k. A client is
// what [fair.Client] makes of its address; those on Unix sockets have none and are one.
func (i Isolation) token(k Key, r *socks.Request) string {
	b := make([]byte, 0, 256)
	field := func(tag byte, count bool, value string) {
		if count {
			b = binary.AppendUvarint(append(b, tag), uint64(len(value)))
			b = append(b, value...)
		}
	}
	field('l', !i.NoListener, r.Listener)
	field('c', !i.NoClient, fair.Client(r.Client.Addr()).String())
	field('i', !i.NoClient, r.User)
	field('u', !i.NoAuth, r.Auth.User)
	field('w', !i.NoAuth, r.Auth.Password)
	field('h', !i.NoAuth, r.Auth.Isolation)
	field('d', i.Destination, strings.ToLower(strings.TrimSuffix(r.Addr.Host(), ".")))
	field('p', i.Port, string(binary.BigEndian.AppendUint16(nil, r.Addr.Port)))
	field('v', i.Protocol, string([]byte{byte(r.Version)}))
	mac := hmac.New(sha256.New, k[:])
	mac.Write(b)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// Key is the secret of the hash that makes isolation keys. Pools with the same Key and
// the same members lead the same client to the same tor.
type Key [32]byte

// NewKey returns a random Key.
func NewKey() (k Key) {
	rand.Read(k[:]) // never fails
	return k
}

// LoadKey reads a Key, 64 hex digits, from a file. If there is no such file it makes one
// with a random Key, for its owner alone; of several that do so at once, all get the same.
// A file that others may read, or that another user owns, is an error.
func LoadKey(path string) (Key, error) {
	text, err := private.ReadOrCreate(path, func() []byte { return fmt.Appendf(nil, "%x\n", NewKey()) })
	return parseKey(path, text, err)
}

// ReadKey reads a Key as LoadKey does, but makes none: if there is no such file the error
// matches fs.ErrNotExist. Its owner may be another user, such as that of a service that root
// asks about.
func ReadKey(path string) (Key, error) {
	text, err := private.ReadFile(path)
	return parseKey(path, text, err)
}

func parseKey(path string, text []byte, err error) (k Key, _ error) {
	if errors.Is(err, private.ErrShared) {
		return k, fmt.Errorf("key file %w (with the key one can tell clients apart)", err)
	}
	if err != nil {
		return k, fmt.Errorf("key file: %w", err)
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(raw) != len(k) {
		return k, fmt.Errorf("key file %s: it does not hold 64 hex digits; without it a new one is made", path)
	}
	return Key(raw), nil
}
