package tornet

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
)

// ForTest starts a network and closes it when the test ends. Where tor is not
// installed it skips the test, but fails it in CI (the environment has CI=true).
func ForTest(tb testing.TB, o Options) *Network {
	tb.Helper()
	n, err := Start(tb.Context(), o)
	require(tb, err)
	tb.Cleanup(func() {
		if err := n.Close(); err != nil {
			tb.Error(err)
		}
	})
	return n
}

// Shared is a network for all tests of a package. The first that asks for it
// starts it; TestMain has to close it:
//
//	var network = tornet.Shared{Options: tornet.Options{Clients: 2, Onion: true}}
//
//	func TestMain(m *testing.M) {
//		code := m.Run()
//		network.Close()
//		os.Exit(code)
//	}
//
// A test that looks for leaked goroutines must ignore those that run when it has
// got the network.
type Shared struct {
	Options Options

	once    sync.Once
	network *Network
	err     error
}

// Get returns the network, which all tests that ask get. Like [ForTest], it
// skips or fails the test if there is none to be had.
func (s *Shared) Get(tb testing.TB) *Network {
	tb.Helper()
	s.once.Do(func() { s.network, s.err = Start(context.Background(), s.Options) })
	require(tb, s.err)
	return s.network
}

// Close closes the network if any test asked for it. No test may ask after that.
func (s *Shared) Close() error {
	s.once.Do(func() { s.err = errors.New("tornet: the shared network is closed") })
	if s.network == nil {
		return nil
	}
	return s.network.Close()
}

// require ends the test if a network did not start.
func require(tb testing.TB, err error) {
	tb.Helper()
	switch {
	case err == nil:
	case errors.Is(err, ErrNotInstalled) && os.Getenv("CI") != "true":
		tb.Skip(err)
	default:
		tb.Fatal(err)
	}
}
