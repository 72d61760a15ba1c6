package relay

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// stream is a reproducible sequence of bytes without an inner order that a lost or
// doubled piece could preserve. All take the same noise, each from a place of its own:
// making it anew was half of what the tests took, and most of that under -race.
type stream struct{ at *int }

const (
	period   = 1<<22 - 3 // a prime: no size that tests use divides it
	maxPiece = 1 << 17
)

var noise = sync.OnceValue(func() []byte {
	b := make([]byte, period+maxPiece)
	rand.NewChaCha8([32]byte{}).Read(b[:period])
	copy(b[period:], b)
	return b
})

func newStream(seed byte) stream {
	at := int(seed) * (period / 256)
	return stream{&at}
}

// take returns the next n bytes, which must not be changed.
func (s stream) take(n int) []byte {
	if n > maxPiece {
		return append(slices.Clip(s.take(maxPiece)), s.take(n-maxPiece)...)
	}
	b := noise()[*s.at:][:n]
	*s.at = (*s.at + n) % period
	return b
}

// send writes n bytes of s to c in pieces of random size.
func send(t testing.TB, c net.Conn, s stream, n int) {
	t.Helper()
	sizes := rand.New(rand.NewPCG(uint64(n), 1))
	for n > 0 {
		piece := min(n, 1+sizes.IntN(1<<sizes.IntN(18)))
		if _, err := c.Write(s.take(piece)); err != nil {
			t.Errorf("send: %v", err)
			return
		}
		n -= piece
	}
}

// expect reads n bytes from c and compares them with s.
func expect(t testing.TB, c net.Conn, s stream, n int) {
	t.Helper()
	if got, err := compare(c, s, n); err != nil {
		t.Errorf("after %d of %d bytes: %v", got, n, err)
	}
}

var errDiffers = errors.New("received something else than was sent")

// compare reads up to n bytes from c, as long as they are those of s.
func compare(c net.Conn, s stream, n int) (got int, err error) {
	sizes := rand.New(rand.NewPCG(uint64(n), 2))
	b := make([]byte, min(n, maxPiece))
	for got < n {
		k, err := c.Read(b[:min(n-got, 1+sizes.IntN(1<<sizes.IntN(18)))])
		if !bytes.Equal(b[:k], s.take(k)) {
			return got, errDiffers
		}
		got += k
		if err != nil {
			return got, err
		}
	}
	return got, nil
}

// expectEnd checks that c ends now, as its peer wished.
func expectEnd(t testing.TB, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("Read = %d, %v at the end, want EOF", n, err)
	}
}

// expectReset checks that c is reset, at once or after bytes that were under way.
func expectReset(t testing.TB, c net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Read until the end: %v, want a reset", err)
	}
}

// endWriting tells the peer of c that no more will come.
func endWriting(t testing.TB, c net.Conn) {
	t.Helper()
	if err := c.(Conn).CloseWrite(); err != nil {
		t.Errorf("CloseWrite: %v", err)
	}
}

// flood writes to c until that fails, and returns how much was taken.
func flood(c net.Conn) (n int64, err error) {
	b := make([]byte, 64<<10)
	for {
		k, err := c.Write(b)
		n += int64(k)
		if err != nil {
			return n, err
		}
	}
}

// counter counts what a test sends, for a look from outside.
type counter struct{ n atomic.Int64 }

func (c *counter) add(n int64) { c.n.Add(n) }
func (c *counter) load() int64 { return c.n.Load() }

// settle returns when the count has stood still for a while.
func (c *counter) settle() {
	const still = 10
	for same, last := 0, int64(-1); same < still; same++ {
		if now := c.load(); now != last {
			same, last = 0, now
		}
		time.Sleep(20 * time.Millisecond)
	}
}
