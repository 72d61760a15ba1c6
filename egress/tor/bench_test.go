package tor

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"hosier/internal/sockstest"
	"hosier/internal/tornet"
	"hosier/socks"
)

const benchUsers = 32

// BenchmarkBeside compares hosier with tor's own SOCKS port, through the same daemon in
// the same run: rounds take turns, and what is reported are medians over the rounds, and
// the median of the ratios within a round. A number alone says more about the machine.
//
//	go test ./egress/tor -run '^$' -bench Beside -benchtime 15x
func BenchmarkBeside(b *testing.B) {
	n := tornet.ForTest(b, tornet.Options{Clients: 1})
	p := &Pool{Members: []Member{attached(n.Clients[0])}}
	run(b, p)
	awaitWatched(b, p)
	doors := [2]string{n.Clients[0].SOCKS, serve(b, p)}
	for i := range benchUsers { // the circuits
		for _, door := range doors {
			download(b, n, user(door, fmt.Sprintf("user%d", i)), "/")
		}
	}
	for _, c := range []besideCase{
		{"requests/alone", 1, 50, "/", 0},
		{"requests/32-users", 32, 10, "/", 0},
		{"bytes/1-stream", 1, 1, "/bytes/4194304", 4 << 20},
		{"bytes/8-streams", 8, 1, "/bytes/4194304", 4 << 20},
	} {
		b.Run(c.name, func(b *testing.B) { beside(b, n, doors, c) })
	}
}

// besideCase is a load.
type besideCase struct {
	name         string
	users, count int // at once, and requests of each in a round
	page         string
	bytes        int
}

// round puts the load on a door, and returns how many seconds it took. One circuit is not
// as good as another, so each turn takes other users' ones.
func (c besideCase) round(b *testing.B, n *tornet.Network, door string, turn int) float64 {
	start := time.Now()
	var all sync.WaitGroup
	for i := range c.users {
		d := user(door, fmt.Sprintf("user%d", (turn+i)%benchUsers))
		all.Go(func() {
			for range c.count {
				download(b, n, d, c.page)
			}
		})
	}
	all.Wait()
	return time.Since(start).Seconds()
}

func beside(b *testing.B, n *tornet.Network, doors [2]string, c besideCase) {
	var took [2][]float64
	var ratio []float64
	for i := range b.N {
		for _, which := range []int{i % 2, 1 - i%2} {
			took[which] = append(took[which], c.round(b, n, doors[which], i))
		}
		ratio = append(ratio, took[1][i]/took[0][i])
	}
	b.ReportMetric(0, "ns/op")
	work, unit := float64(c.users*c.count), "req/s"
	if c.bytes > 0 {
		work, unit = work*float64(c.bytes)/1e6, "MB/s"
	}
	b.ReportMetric(work/median(took[0]), "tor-"+unit)
	b.ReportMetric(work/median(took[1]), "hosier-"+unit)
	b.ReportMetric(median(ratio), "time-ratio")
	b.ReportMetric(quartile(ratio, 1), "ratio-q1")
	b.ReportMetric(quartile(ratio, 3), "ratio-q3")
}

// BenchmarkShare tells hosier's part of a request: what one costs more through hosier and a
// tor that is none, and so takes no time of its own, than through that one alone.
func BenchmarkShare(b *testing.B) {
	n := network.Get(b)
	door, _ := fakeTor(b, &sockstest.Egress{DialFunc: func(ctx context.Context, _ *socks.Request) (net.Conn, socks.Addr, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", n.Web.String())
		return c, socks.Addr{}, err
	}})
	through := serve(b, &Pool{Members: []Member{{SOCKS: door}}})
	const count = 200
	round := func(door string) float64 {
		d := user(door, "ann")
		start := time.Now()
		for range count {
			download(b, n, d, "/")
		}
		return time.Since(start).Seconds() * 1e6 / count
	}
	round(through)
	var more, real []float64
	for range b.N {
		alone := round(door)
		more = append(more, round(through)-alone)
		real = append(real, round(n.Clients[0].SOCKS))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(more), "hosier-µs/req")
	b.ReportMetric(median(real), "tor-µs/req")
	b.ReportMetric(100*median(more)/median(real), "share-%")
}

// download fetches a page by name.
func download(b *testing.B, n *tornet.Network, d *socks.Dialer, page string) {
	c, err := d.DialContext(b.Context(), "tcp", web(n, "www"))
	if err != nil {
		b.Error(err)
		return
	}
	defer c.Close()
	r, err := request(c, page)
	if err == nil {
		_, err = io.Copy(io.Discard, r.Body)
	}
	if err != nil {
		b.Error(err)
	}
}

func median(list []float64) float64 { return quartile(list, 2) }

func quartile(list []float64, q int) float64 {
	list = slices.Sorted(slices.Values(list))
	return list[(len(list)-1)*q/4]
}

// BenchmarkToken is what isolation costs a request.
func BenchmarkToken(b *testing.B) {
	p := newPool("a:1", "b:1", "c:1")
	r := connectRequest("user")
	b.ReportAllocs()
	for b.Loop() {
		ranked(p.all, p.Isolation.token(p.key, r))
	}
}
