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
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"hosier/internal/fair"
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
// A file that others may read is an error.
func LoadKey(path string) (Key, error) {
	k, err := ReadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if err := writeKey(path, NewKey()); err != nil && !errors.Is(err, fs.ErrExist) {
		return Key{}, fmt.Errorf("key file %s: %w", path, err)
	}
	return ReadKey(path)
}

// ReadKey reads a Key as LoadKey does, but makes none: if there is no such file the error
// matches fs.ErrNotExist.
func ReadKey(path string) (k Key, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return k, fmt.Errorf("key file: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return k, fmt.Errorf("key file %s: others may read it, and who has it can tell clients apart by it: chmod 600 it", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return k, fmt.Errorf("key file: %w", err)
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(raw) != len(k) {
		return k, fmt.Errorf("key file %s: it does not hold 64 hex digits; without it a new one is made", path)
	}
	return Key(raw), nil
}

// writeKey makes the file as a whole or not at all.
func writeKey(path string, k Key) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".key*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = fmt.Fprintf(f, "%x\n", k)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}
