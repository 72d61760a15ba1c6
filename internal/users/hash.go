package users

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// What Hash asks of argon2id: the second recommended option of RFC 9106 section 4, which is
// for machines that cannot give the first one's 2 GiB to each login. It is above each of
// the least settings in OWASP's Password Storage Cheat Sheet.
const (
	hashTime    = 3
	hashMemory  = 64 << 10 // KiB
	hashThreads = 4
	hashSalt    = 16
	hashKey     = 32
)

// The most that a hash in the file may ask for: beyond it, one digit too many would take the
// host's memory, or minutes, for each login.
const (
	maxMemory  = 256 << 10 // KiB
	maxWork    = 1 << 20   // KiB, of all passes
	maxThreads = 16
	maxCost    = 14 // of bcrypt: about a second
)

// secret is the stored hash of a password.
type secret struct {
	cost
	salt, key []byte // argon2id
	text      []byte // bcrypt
}

// cost is what it takes to compute a hash. Those with equal costs take equally long.
type cost struct {
	bcrypt       int // 0: argon2id
	time, memory uint32
	threads      uint8
	saltLen      int
	keyLen       int
}

// Hash returns the argon2id hash of a password for the file of users, with a new salt. The
// password has 1 to 255 bytes of any value, as RFC 1929 can carry.
func Hash(password string) (string, error) {
	switch {
	case password == "":
		return "", errors.New("password is empty")
	case len(password) > maxPassword:
		return "", fmt.Errorf("password has %d bytes; SOCKS5 carries at most %d", len(password), maxPassword)
	}
	salt := make([]byte, hashSalt)
	rand.Read(salt)
	key := argon2.IDKey([]byte(password), salt, hashTime, hashMemory, hashThreads, hashKey)
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashMemory, hashTime, hashThreads,
		enc.EncodeToString(salt), enc.EncodeToString(key)), nil
}

func (s *secret) matches(password string) bool {
	if s.bcrypt > 0 {
		return bcrypt.CompareHashAndPassword(s.text, []byte(password)) == nil
	}
	key := argon2.IDKey([]byte(password), s.salt, s.time, s.memory, s.threads, uint32(len(s.key)))
	return subtle.ConstantTimeCompare(key, s.key) == 1
}

// dummy returns the hash of no password that takes as long as others of that cost.
func (c cost) dummy() *secret {
	if c.bcrypt > 0 {
		const some = "......................" + "..............................." // salt and hash, in bcrypt's base64
		return &secret{cost: c, text: fmt.Appendf(nil, "$2b$%02d$%s", c.bcrypt, some)}
	}
	s := &secret{cost: c, salt: make([]byte, c.saltLen), key: make([]byte, c.keyLen)}
	rand.Read(s.salt)
	rand.Read(s.key)
	return s
}

var errKind = errors.New(`plain text, MD5 and SHA crypt are not accepted: make the hash with "hosier hash-password"`)

// parseHash reads a hash. Its errors show nothing of it.
func parseHash(text string) (*secret, error) {
	switch {
	case strings.HasPrefix(text, "$argon2id$"):
		return parseArgon2(text)
	case strings.HasPrefix(text, "$2a$"), strings.HasPrefix(text, "$2b$"), strings.HasPrefix(text, "$2y$"):
		return parseBcrypt(text)
	}
	return nil, errKind
}

// parseArgon2 reads the form of the PHC string format that the reference implementation
// writes: $argon2id$v=19$m=65536,t=3,p=4$salt$hash.
func parseArgon2(text string) (*secret, error) {
	part := strings.Split(text, "$")
	if len(part) != 6 {
		return nil, fmt.Errorf("argon2id hash is not complete: it has %d parts, want 5", len(part)-1)
	}
	if part[2] != "v="+strconv.Itoa(argon2.Version) {
		return nil, fmt.Errorf("argon2id hash is not of version %d", argon2.Version)
	}
	s := &secret{}
	if err := s.parseParams(part[3]); err != nil {
		return nil, err
	}
	var err error
	if s.salt, err = decode(part[4], 8, 64); err != nil {
		return nil, fmt.Errorf("salt of the argon2id hash: %w", err)
	}
	if s.key, err = decode(part[5], 16, 64); err != nil {
		return nil, fmt.Errorf("argon2id hash: %w", err)
	}
	s.saltLen, s.keyLen = len(s.salt), len(s.key)
	return s, nil
}

func (c *cost) parseParams(text string) error {
	p := strings.Split(text, ",")
	if len(p) != 3 {
		return errors.New("parameters of the argon2id hash are not m=…,t=…,p=…")
	}
	var n [3]uint32
	for i, name := range []string{"m=", "t=", "p="} {
		digits, ok := strings.CutPrefix(p[i], name)
		v, err := strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil || v == 0 {
			return errors.New("parameters of the argon2id hash are not m=…,t=…,p=… with numbers above 0")
		}
		n[i] = uint32(v)
	}
	memory, time, threads := n[0], n[1], n[2]
	switch {
	case memory > maxMemory:
		return fmt.Errorf("argon2id hash takes m=%d KiB for each login; at most %d", memory, maxMemory)
	case uint64(memory)*uint64(time) > maxWork:
		return fmt.Errorf("argon2id hash takes t=%d passes over m=%d KiB for each login; m times t is at most %d", time, memory, maxWork)
	case threads > maxThreads:
		return fmt.Errorf("argon2id hash takes p=%d threads; at most %d", threads, maxThreads)
	case memory < 8*threads:
		return fmt.Errorf("argon2id hash has m=%d, which must be at least 8 times p=%d", memory, threads)
	}
	c.memory, c.time, c.threads = memory, time, uint8(threads)
	return nil
}

func decode(text string, least, most int) ([]byte, error) {
	b, err := base64.RawStdEncoding.Strict().DecodeString(text)
	switch {
	case err != nil || strings.ContainsAny(text, "\r\n"): // which the decoder skips
		return nil, errors.New("not base64 without padding")
	case len(b) < least || len(b) > most:
		return nil, fmt.Errorf("%d bytes, want %d to %d", len(b), least, most)
	}
	return b, nil
}

func parseBcrypt(text string) (*secret, error) {
	const length = 60 // $2y$10$, 22 of salt, 31 of hash
	if len(text) != length {
		return nil, fmt.Errorf("bcrypt hash is not complete: it has %d characters, want %d", len(text), length)
	}
	cost, err := strconv.Atoi(text[4:6])
	switch {
	case err != nil || cost < bcrypt.MinCost || text[6] != '$':
		return nil, errors.New("bcrypt hash has no cost from 04 up")
	case cost > maxCost:
		return nil, fmt.Errorf("bcrypt hash has cost %d; at most %d, which takes about a second for each login", cost, maxCost)
	}
	for _, c := range text[7:] {
		if c != '.' && c != '/' && (c < '0' || '9' < c) && (c < 'A' || 'Z' < c) && (c < 'a' || 'z' < c) {
			return nil, errors.New("bcrypt hash has a character that belongs in none")
		}
	}
	s := &secret{text: []byte(text)}
	s.bcrypt = cost
	return s, nil
}
