package load

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// YardstickName is what reports call the raw forwarder.
const YardstickName = "forwarder"

// Report is what a run gave.
type Report struct {
	Start  time.Time `json:"start"`
	CPUs   int       `json:"cpus"`
	System string    `json:"system"`
	Modes  []Table   `json:"modes"`
}

// Table is one mode.
type Table struct {
	Mode   Mode   `json:"mode"`
	What   string `json:"what"` // what was done, in words
	Rounds int    `json:"rounds"`
	Lines  []Line `json:"servers"`
}

// Line is one server in one mode.
type Line struct {
	Server  string    `json:"server"`
	Relays  int       `json:"relays"` // that came to stand, over all rounds
	Bytes   int64     `json:"bytes"`  // of payload that arrived while it was measured
	Failed  int       `json:"failed"`
	Rounds  []Values  `json:"rounds"`
	Median  Values    `json:"median"`
	Ratio   Values    `json:"ratio,omitempty"`   // to the forwarder, or where there is none to the first server
	Against Values    `json:"against,omitempty"` // to the first server, beside a forwarder
	Errors  []Failure `json:"failures,omitempty"`
}

// Failure is a text and how often it was the reason.
type Failure struct {
	Text  string `json:"text"`
	Count int    `json:"count"`
}

// Failed reports whether some server did nothing of what a mode asked.
func (r *Report) Failed() bool {
	for _, t := range r.Modes {
		for _, l := range t.Lines {
			if l.Relays == 0 {
				return true
			}
		}
	}
	return false
}

// Run has the servers take turns, mode by mode, and reports. It ends with an error when
// ctx does or when this side cannot do its part; what a server fails at is in the report.
// While it runs, GOMAXPROCS is raised: a thread of the reactor that waits in the kernel
// holds a processor of Go's.
func Run(ctx context.Context, o Options, servers []Server) (*Report, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), 4)))
	if err := o.Check(); err != nil {
		return nil, err
	}
	r := &runner{ctx: ctx, o: &o}
	defer r.close()
	if err := r.open(); err != nil {
		return nil, err
	}
	for i := range servers {
		s := &servers[i]
		if _, err := measure(s.PIDs, false); len(s.PIDs) > 0 && err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		r.servers = append(r.servers, s)
	}
	report := &Report{Start: time.Now(), CPUs: runtime.NumCPU(), System: system()}
	for _, m := range o.Modes {
		t, err := r.mode(m)
		if err != nil {
			return nil, err
		}
		report.Modes = append(report.Modes, t)
	}
	return report, nil
}

// runner holds what lasts for a run.
type runner struct {
	ctx     context.Context
	o       *Options
	servers []*Server // the forwarder comes first, if there is one
	origin  *origin
	back    reactor // the origin's, and often the clients'
	front   reactor // the clients', where they are apart
	stop    func()
}

func (r *runner) open() (err error) {
	if r.back, err = newReactor(r.o.portable); err != nil {
		return err
	}
	if r.front, err = newReactor(r.o.portable); err != nil {
		return err
	}
	r.origin, err = newOrigin(r.back, r.o.Origin, max(r.o.Relays, r.o.Hold))
	if err != nil || r.o.Yardstick == nil {
		return err
	}
	at, pid, stop, err := r.o.Yardstick(r.origin.addrs)
	if err != nil {
		return fmt.Errorf("start the forwarder: %w", err)
	}
	r.stop = stop
	s := &Server{Name: YardstickName, Addr: at}
	if pid != 0 {
		s.PIDs = []int{pid}
	}
	r.servers = append(r.servers, s)
	return nil
}

func (r *runner) close() {
	if r.stop != nil {
		r.stop()
	}
	for _, each := range []reactor{r.front, r.back} {
		if each != nil {
			each.close()
		}
	}
}

// mode has every server take its turns.
func (r *runner) mode(m Mode) (Table, error) {
	w := modes()[m]
	t := Table{Mode: m, What: r.o.describe(m), Rounds: r.o.Rounds}
	if w.once {
		t.Rounds = 1
	}
	if w.oneCore && r.o.CPU >= 0 {
		restore, err := pin(r.pids(), r.o.CPU)
		if err != nil {
			return t, err
		}
		defer restore()
	}
	fails := make([]failures, len(r.servers))
	for i, s := range r.servers {
		t.Lines = append(t.Lines, Line{Server: s.Name})
		fails[i] = failures{}
	}
	for round := range t.Rounds {
		for i, s := range r.servers {
			r.tell("%s, round %d of %d: %s", m, round+1, t.Rounds, s.Name)
			turn, err := r.turn(w, s, fails[i])
			if err != nil {
				return t, fmt.Errorf("%s: %s: %w", m, s.Name, err)
			}
			l := &t.Lines[i]
			l.Relays += turn.made
			l.Bytes += turn.bytes
			l.Rounds = append(l.Rounds, turn.values)
		}
	}
	for i := range t.Lines {
		r.conclude(&t, i, fails[i])
	}
	return t, nil
}

func (r *runner) pids() (all []int) {
	for _, s := range r.servers {
		all = append(all, s.PIDs...)
	}
	return all
}

func (r *runner) conclude(t *Table, i int, fails failures) {
	l := &t.Lines[i]
	l.Failed, l.Errors = fails.total(), fails.list()
	l.Median = medians(l.Rounds)
	if len(t.Lines) > 1 {
		l.Ratio = ratios(l.Rounds, t.Lines[0].Rounds)
	}
	if r.o.Yardstick != nil && len(t.Lines) > 2 {
		l.Against = ratios(l.Rounds, t.Lines[1].Rounds)
	}
}

// turn is one server's go. A server's failure is not an error.
func (r *runner) turn(w work, s *Server, fails failures) (*turn, error) {
	t := &turn{ctx: r.ctx, o: r.o, server: s, origin: r.origin, clients: r.back, values: Values{}, fails: fails}
	if w.apart {
		t.clients = r.front
	}
	if w.once && s.Restart != nil {
		pids, err := s.Restart()
		if err != nil {
			return nil, err
		}
		s.PIDs = pids
	}
	var err error
	if t.way, err = newWay(s, r.origin); err != nil {
		return nil, err
	}
	t.direct = &way{addr: r.origin.addrs[0], scripts: [][]step{nil}}
	var held *pool
	if r.o.Hold > 0 && !w.once {
		held, err = t.fill(r.o.Hold)
	}
	if err == nil {
		err = w.run(t)
	}
	if held != nil {
		t.drop(held.all)
	}
	t.settle()
	if err != nil && !errors.Is(err, errNothing) {
		return nil, err
	}
	return t, r.ctx.Err()
}

func (r *runner) tell(format string, args ...any) {
	if r.o.Progress != nil {
		r.o.Progress(fmt.Sprintf(format, args...))
	}
}

// describe says in words what a mode does.
func (o *Options) describe(m Mode) string {
	hold := ""
	if o.Hold > 0 {
		hold = fmt.Sprintf(", beside %d silent relays", o.Hold)
	}
	switch m {
	case Rate:
		return fmt.Sprintf("connect, handshake, 1 byte there and back, close; %d at a time for %v%s", o.Conns, o.Time, hold)
	case Down, Up:
		from := map[Mode]string{Down: "from the origin to the client", Up: "from the client to the origin"}[m]
		return fmt.Sprintf("bytes %s, %d streams for %v%s", from, o.Streams, o.Time, hold)
	case RTT:
		where := "on all processors"
		if o.CPU >= 0 {
			where = fmt.Sprintf("all on processor %d", o.CPU)
		}
		return fmt.Sprintf("%d bytes there and back on one relay for %v, %s%s", o.Message, o.Time, where, hold)
	default:
		return fmt.Sprintf("%d silent relays, then %d bytes there and back across all of them, %d at a time for %v",
			o.Relays, o.Message, o.Conns, o.Time)
	}
}
