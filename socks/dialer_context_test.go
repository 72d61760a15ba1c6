package socks

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// deaf has no deadlines, as an SSH channel has none.
type deaf struct{ net.Conn }

func (deaf) SetDeadline(time.Time) error { return errors.ErrUnsupported }

// endings are the ways in which a context ends, after five seconds.
var endings = []struct {
	name  string
	begin func(context.Context) (context.Context, context.CancelFunc)
	want  []error
}{
	{"deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithTimeout(ctx, 5*time.Second)
	}, []error{context.DeadlineExceeded}},
	{"cancelled", func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		time.AfterFunc(5*time.Second, cancel)
		return ctx, cancel
	}, []error{context.Canceled}},
	{"cancelled-with-cause", func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancelCause(ctx)
		time.AfterFunc(5*time.Second, func() { cancel(errShutdown) })
		return ctx, func() { cancel(nil) }
	}, []error{context.Canceled, errShutdown}},
	{"deadline-with-cause", func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithTimeoutCause(ctx, 5*time.Second, errShutdown)
	}, []error{context.DeadlineExceeded, errShutdown}},
}

var errShutdown = errors.New("shutting down")

// TestDialerContext has a proxy that falls silent after each of its bytes, also before
// the first, and a context that ends meanwhile in each of its ways.
func TestDialerContext(t *testing.T) {
	for _, name := range []string{"RFC1928-s3/both-methods", "SOCKS4A/connect", "tor-s2/resolve-ptr"} {
		tr := find(t, name)
		for _, ending := range endings {
			t.Run(name+"/"+ending.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					for n := range tr.sent(false) {
						pipe, result := (&peer{stop: n}).start(t, tr.turns)
						tr.checkEnded(t, pipe, ending.begin, ending.want)
						if err := <-result; err != nil {
							t.Errorf("after %d bytes: %v", n, err)
						}
					}
				})
			})
		}
	}
}

// checkEnded asks while the context ends, and looks at the clock of the bubble.
func (tr *transcript) checkEnded(t *testing.T, c net.Conn, begin func(context.Context) (context.Context, context.CancelFunc), want []error) {
	t.Helper()
	ctx, cancel := begin(t.Context())
	defer cancel()
	began := time.Now()
	got, bound, err := tr.do(ctx, c)
	if got != nil || bound != (Addr{}) {
		t.Errorf("got %v, %v beside the error", got, bound)
	}
	for _, want := range want {
		if !errors.Is(err, want) {
			t.Errorf("error is %v, want %v", err, want)
		}
	}
	if took := time.Since(began); took < 5*time.Second || took > 6*time.Second {
		t.Errorf("returned after %v", took)
	}
	checkClosed(t, c)
}

// TestDialerContextWrite has a proxy that does not even read, the first message or a
// later one.
func TestDialerContextWrite(t *testing.T) {
	tr := find(t, "RFC1928-s3/both-methods")
	for i := 0; i < len(tr.turns); i += 2 {
		synctest.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			defer server.Close()
			go func() {
				p := &peer{c: server}
				for _, turn := range tr.turns[:i] {
					if turn.client {
						p.expectRaw(turn.bytes)
					} else {
						p.send(turn.bytes)
					}
				}
			}()
			tr.checkEnded(t, client, endings[0].begin, endings[0].want)
		})
	}
}

// TestDialerContextWithoutDeadlines closes a connection that cannot be woken otherwise.
func TestDialerContextWithoutDeadlines(t *testing.T) {
	tr := find(t, "RFC1928-s3/both-methods")
	synctest.Test(t, func(t *testing.T) {
		for n := range tr.sent(false) {
			pipe, result := (&peer{stop: n}).start(t, tr.turns)
			tr.checkEnded(t, deaf{pipe}, endings[1].begin, endings[1].want)
			<-result
		}
	})
}

// TestDialerContextForward passes the context on to what connects to the proxy.
func TestDialerContextForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		d := Dialer{Proxy: proxyName, Forward: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		_, err := d.DialContext(ctx, "tcp", "www.example:80")
		if proxy := (*ProxyError)(nil); !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &proxy) {
			t.Errorf("got %v", err)
		}
	})
}

// TestDialerContextEndedBefore has a Forward that does not look at the context.
func TestDialerContextEndedBefore(t *testing.T) {
	tr := find(t, "RFC1928-s3/both-methods")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		pipe, result := (&peer{stop: 0}).start(t, tr.turns)
		if c, _, err := tr.do(ctx, pipe); c != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, %v", c, err)
		}
		checkClosed(t, pipe)
		<-result
	})
}

// TestDialerContextEndsAfter leaves a connection alone that was handed over.
func TestDialerContextEndsAfter(t *testing.T) {
	tr := find(t, "RFC1928-s3/both-methods")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		pipe, result := (&peer{after: tr.after, early: tr.early, stop: -1}).start(t, tr.turns)
		c, _, err := tr.do(ctx, pipe)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // of the bubble
		tr.talk(t, c)
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}

func find(t testing.TB, clause string) *transcript {
	t.Helper()
	for _, tr := range transcripts(t) {
		if tr.clause == clause {
			return tr
		}
	}
	t.Fatalf("no transcript %s", clause)
	return nil
}
