//go:build unix

// Command bench compares hosier with other SOCKS servers on this machine, by "hosier
// bench", and writes docs/performance.md and docs/growth.svg. Run it by "make bench"; it
// takes some six minutes. On Debian it installs the servers where it may.
//
// All servers run beside each other and take turns; each has a session of its own.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench: ")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

// settings are what a person may want otherwise.
type settings struct {
	root    string
	docs    string
	rounds  int
	time    time.Duration
	install bool
}

func run(ctx context.Context) error {
	var s settings
	flag.StringVar(&s.root, "root", ".", "hosier's `directory`")
	flag.StringVar(&s.docs, "docs", "docs", "the `directory` to write to")
	flag.IntVar(&s.rounds, "rounds", 5, "turns of each server")
	flag.DurationVar(&s.time, "time", time.Second, "how long a turn takes")
	flag.BoolVar(&s.install, "install", true, "install what is missing with apt-get, if this is root")
	flag.Parse()
	dir, err := os.MkdirTemp("", "hosier-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{settings: s, dir: dir, start: time.Now(), port: 21080}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	if err := b.measure(ctx); err != nil {
		return err
	}
	return b.write()
}

// bench is what was prepared, and then what was found.
type bench struct {
	settings
	dir     string
	start   time.Time
	busy    string // the load average before anything began
	hosier  string // the binary
	port    int    // the last that was given to a server
	servers []server
	missing []string

	idle, rate, bulk, rtt *report
	dialects              []dialect
	alone, crowded        map[string][]float64 // GiB/s by server, without and with silent relays
	growth                []*report
}

// dialect is hosier asked another way.
type dialect struct {
	name string
	*report
}

// The reports of "hosier bench --json", as far as they are read here.
type (
	report struct {
		System string  `json:"system"`
		CPUs   int     `json:"cpus"`
		Modes  []table `json:"modes"`
	}
	table struct {
		Mode  string `json:"mode"`
		What  string `json:"what"`
		Lines []line `json:"servers"`
	}
	line struct {
		Server string               `json:"server"`
		Failed int                  `json:"failed"`
		Rounds []map[string]float64 `json:"rounds"`
		Median map[string]float64   `json:"median"`
		Ratio  map[string]float64   `json:"ratio"`
		Errors []struct {
			Text  string `json:"text"`
			Count int    `json:"count"`
		} `json:"failures"`
	}
)

// call runs "hosier bench" over the servers, as another user if credential is not nil.
func (b *bench) call(ctx context.Context, as *syscall.Credential, servers []server, args ...string) (*report, error) {
	words := append([]string{"bench", "--json", "--time", b.time.String()}, args...)
	for _, s := range servers {
		words = append(words, "--run", s.command, s.name+"="+s.addr)
	}
	cmd := exec.CommandContext(ctx, b.hosier, words...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	cmd.Dir = b.dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if as != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	}
	err := cmd.Run()
	r := &report{}
	// With a report it was a server that failed, and the report says so.
	if jerr := json.Unmarshal(out.Bytes(), r); jerr != nil {
		return nil, fmt.Errorf("hosier bench %v: %w", args, firstOf(err, jerr))
	}
	return r, ctx.Err()
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// measure does all of it.
func (b *bench) measure(ctx context.Context) (err error) {
	silent := strconv.Itoa(min(3000, (files()-400)/6)) // the forwarder takes six files each
	rounds := strconv.Itoa(b.rounds)
	for _, m := range []struct {
		to   **report
		args []string
	}{
		{&b.idle, []string{"--mode", "idle", "--relays", silent}},
		{&b.rate, []string{"--mode", "rate", "--rounds", rounds}},
		{&b.bulk, []string{"--mode", "down,up", "--rounds", rounds}},
		{&b.rtt, []string{"--mode", "rtt", "--rounds", rounds}},
	} {
		if *m.to, err = b.call(ctx, nil, b.servers, m.args...); err != nil {
			return err
		}
	}
	if err := b.measureDialects(ctx); err != nil {
		return err
	}
	if err := b.measureCrowd(ctx); err != nil {
		return err
	}
	return b.measureGrowth(ctx)
}

// measureCrowd measures bulk as ordinary users, alone and beside silent relays. Each of
// the two servers has a user of its own: what a user may hold in pipes is shared by all
// that runs under its number.
func (b *bench) measureCrowd(ctx context.Context) error {
	if os.Getuid() != 0 {
		return nil
	}
	b.alone, b.crowded = map[string][]float64{}, map[string][]float64{}
	silent := strconv.Itoa(min(2500, (files()-400)/6))
	for range (b.rounds + 1) / 2 {
		for user, name := range map[uint32]string{65533: "forwarder", 65534: "hosier"} {
			for hold, to := range map[string]map[string][]float64{"0": b.alone, silent: b.crowded} {
				args := []string{"--mode", "down", "--rounds", "2", "--hold", hold}
				if name == "hosier" {
					args = append(args, "--no-forwarder")
				}
				r, err := b.call(ctx, &syscall.Credential{Uid: user, Gid: user}, b.servers[:1], args...)
				if err != nil {
					return err
				}
				for _, round := range r.line(0, name).Rounds {
					to[name] = append(to[name], round["down_gib_s"])
				}
			}
		}
	}
	return nil
}

// measureGrowth holds more and more relays on fresh servers.
func (b *bench) measureGrowth(ctx context.Context) error {
	most := (files() - 400) / 2
	var sizes []int
	for _, n := range []int{1000, 2000, 5000, 10_000, 20_000, 50_000} {
		if n < most*9/10 {
			sizes = append(sizes, n)
		}
	}
	for _, n := range append(sizes, min(most, 100_000)) {
		var servers []server
		for _, s := range b.servers {
			if s.name == "hosier" || s.name == "microsocks" {
				servers = append(servers, s)
			}
		}
		args := []string{"--mode", "idle", "--relays", strconv.Itoa(n)}
		if 6*n+400 > files() {
			args = append(args, "--no-forwarder")
		}
		for range 3 {
			r, err := b.call(ctx, nil, servers, args...)
			if err != nil {
				return err
			}
			b.growth = append(b.growth, r)
		}
	}
	return nil
}

// line finds a server's line in a mode; an empty one if it is not there.
func (r *report) line(mode int, server string) line {
	if r != nil && mode < len(r.Modes) {
		for _, l := range r.Modes[mode].Lines {
			if l.Server == server {
				return l
			}
		}
	}
	return line{}
}

func files() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	return int(min(limit.Cur, 1<<20))
}

func (b *bench) write() error {
	if err := os.MkdirAll(b.docs, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.docs, "growth.svg"), b.plot(), 0o644); err != nil {
		return err
	}
	file := filepath.Join(b.docs, "performance.md")
	if err := os.WriteFile(file, b.page(), 0o644); err != nil {
		return err
	}
	log.Printf("wrote %s after %v", file, time.Since(b.start).Round(time.Second))
	return nil
}
