package tor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"hosier/internal/printable"
	"hosier/internal/private"
)

const (
	// maxSocketPath is the least limit of the systems for the path of a Unix socket, in
	// bytes: 104 with the NUL on macOS, 108 on Linux.
	maxSocketPath = 103

	maxDaemons = 64

	leastRestart = 500 * time.Millisecond // between the end of a daemon and the next start
	mostRestart  = time.Minute
	goodRun      = time.Minute // after which an end is a new misfortune, not the same again
	stopTime     = 5 * time.Second
	controlRetry = 50 * time.Millisecond // until a new daemon has its control port
	silenceLimit = 30 * time.Second      // of a control port that should be there
	lastLines    = 3                     // of what a daemon said are told when it has ended
)

// oldest is the first release series that the Tor network still welcomes.
var oldest = version{0, 4, 7, 1}

// ErrProgram says that there is no tor to run, or only one that is too old.
var ErrProgram = errors.New("install Debian's package tor (apt-get install tor), or one from the Tor Project")

// Daemon is a tor that a [Pool] runs. [Spawn] makes it.
type Daemon struct {
	Name    string // the last part of Dir
	Program string
	Dir     string // all its files: mode 0700
	Torrc   string // further lines for its torrc; hosier's own come after them
}

// Spawn describes n daemons, tor0 and so on, each with a directory of its own below dir,
// and checks that they could run: that there is a tor that is new enough, that it likes
// the further torrc lines, and that the paths are not too long. Program is tor if empty.
// It makes the directories, and starts nothing; [Pool.Run] does. The error matches
// [ErrProgram] if tor is missing or too old. Not every system can have daemons.
func Spawn(ctx context.Context, program, dir string, n int, torrc string) ([]Member, error) {
	if err := canSpawn(); err != nil {
		return nil, err
	}
	if n < 1 || n > maxDaemons {
		return nil, fmt.Errorf("%d daemons: the number is 1 to %d", n, maxDaemons)
	}
	if strings.ContainsRune(torrc, 0) {
		return nil, errors.New("the torrc has a NUL byte, and tor would read neither what follows it nor hosier's lines: remove it")
	}
	if program == "" {
		program = "tor"
	}
	path, err := findProgram(ctx, program)
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	var all []Member
	for i := range n {
		d := &Daemon{Name: "tor" + strconv.Itoa(i), Program: path, Torrc: torrc}
		d.Dir = filepath.Join(dir, d.Name)
		m := Member{Daemon: d, SOCKS: "unix:" + d.file("socks"), Control: "unix:" + d.file("control")}
		if long := d.file("control"); len(long) > maxSocketPath {
			return nil, fmt.Errorf("directory %s is too deep for tor's sockets: %s has %d bytes, a Unix socket's path at most %d",
				dir, long, len(long), maxSocketPath)
		}
		if err := d.verify(ctx); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

func (d *Daemon) file(name string) string { return filepath.Join(d.Dir, name) }

// findProgram returns the path of a tor that is new enough.
func findProgram(ctx context.Context, program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("%w: %w", err, ErrProgram)
	}
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", path, err)
	}
	_, rest, _ := strings.Cut(string(out), "Tor version ")
	v, ok := parseVersion(rest)
	if !ok {
		return "", fmt.Errorf("%s --version: this is no tor: %w", path, ErrProgram)
	}
	if !v.atLeast(oldest[:]...) {
		return "", fmt.Errorf("%s is tor %v, and %v is the oldest that will do: %w", path, v, oldest, ErrProgram)
	}
	return path, nil
}

// verify has tor judge the configuration, so that a mistake in it is told at once.
func (d *Daemon) verify(ctx context.Context) error {
	if err := d.prepare(); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, d.Program, append(d.args(), "--verify-config")...).CombinedOutput()
	if err != nil {
		var tail lines
		tail.add(out)
		return fmt.Errorf("%s --verify-config: %w: %s", d.Program, err, tail.text())
	}
	return nil
}

// prepare makes the directory and its torrc.
func (d *Daemon) prepare() error {
	if err := private.MkdirAll(d.Dir); err != nil {
		return fmt.Errorf("tor's directory %w", err)
	}
	// The sockets are open to whoever can enter. Tor itself refuses such a directory
	// unless the torrc says otherwise.
	if err := os.Chmod(d.Dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(d.file("defaults"), nil, 0o600); err != nil {
		return err
	}
	return os.WriteFile(d.file("torrc"), []byte(d.torrc()), 0o600)
}

// torrc returns the configuration. Of options that have one value the last line counts,
// so these are not to be changed by the further lines. The empty line ends what a backslash
// at their end continues, comments included.
func (d *Daemon) torrc() string {
	return fmt.Sprintf(`%s

DataDirectory %s
SocksPort unix:%s ExtendedErrors
ControlPort unix:%s
CookieAuthentication 1
CookieAuthFile %s
Log notice stdout
ClientOnly 1
RunAsDaemon 0
DormantCanceledByStartup 1
ShutdownWaitLength 0
__OwningControllerProcess %d
`, d.Torrc, quote(d.file("data")), quote(d.file("socks")), quote(d.file("control")), quote(d.file("cookie")), os.Getpid())
}

func (d *Daemon) args() []string {
	return []string{"--defaults-torrc", d.file("defaults"), "-f", d.file("torrc")}
}

// runDaemon keeps a daemon running until ctx ends.
func (p *Pool) runDaemon(ctx context.Context, m *member) {
	pause := backoff{least: leastRestart, most: mostRestart}
	for {
		start := time.Now()
		p.log.Info("starting tor", "tor", m.String())
		err := p.runOnce(ctx, m)
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		p.update(m, func(h *health) {
			h.gone, h.pid = true, 0
			h.fail(err.Error())
		})
		if ctx.Err() != nil {
			return
		}
		if time.Since(start) > goodRun {
			pause.reset()
		}
		if !pause.wait(ctx) {
			return
		}
	}
}

// runOnce runs a daemon to its end, and says why that was.
func (p *Pool) runOnce(ctx context.Context, m *member) error {
	if err := m.Daemon.prepare(); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, m.Daemon.Program, m.Daemon.args()...)
	cmd.Dir = m.Daemon.Dir
	cmd.SysProcAttr = apart()
	cmd.Cancel = func() error { return endGently(cmd.Process) }
	cmd.WaitDelay = stopTime
	said := &lines{warn: func(text string) { p.log.Warn("tor says", "tor", m.String(), "text", text) }}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start tor: %w", err)
	}
	p.update(m, func(h *health) {
		h.lose(true)
		h.bringIn()
		h.gone, h.pid = false, cmd.Process.Pid
		h.starts++
	})
	watching, stop := context.WithCancel(context.Background())
	var watcher sync.WaitGroup
	watcher.Go(func() { p.watchDaemon(watching, m, cmd.Process) })
	err := cmd.Wait()
	stop()
	watcher.Wait()
	if err == nil {
		err = errors.New("ended by itself")
	}
	return fmt.Errorf("tor (pid %d): %w; it said: %s", cmd.Process.Pid, err, said.text())
}

// watchDaemon keeps in touch with a daemon of ours, and kills one that does not answer.
func (p *Pool) watchDaemon(ctx context.Context, m *member, process *os.Process) {
	heard := time.Now()
	for ctx.Err() == nil {
		worked, err := p.watch(ctx, m)
		switch {
		case ctx.Err() != nil:
			return
		case worked:
			heard = time.Now()
		case time.Since(heard) > silenceLimit:
			p.log.Warn("tor does not answer; it is killed", "tor", m.String(), "error", err)
			process.Kill() // if it has ended meanwhile, so much the better
		}
		if op := (*net.OpError)(nil); !errors.As(err, &op) || op.Op != "dial" { // it is not there yet
			p.update(m, func(h *health) { h.fail(err.Error()) })
		}
		select {
		case <-time.After(controlRetry):
		case <-ctx.Done():
		}
	}
}

// lines keeps the last lines of what a daemon says, and passes its warnings on.
type lines struct {
	warn func(string) // may be nil

	mu   sync.Mutex
	rest []byte // a line without its end
	last []string
}

// Write takes in more of what the daemon says.
func (l *lines) Write(b []byte) (int, error) {
	l.add(b)
	return len(b), nil
}

func (l *lines) add(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, b...)
	for {
		line, rest, whole := bytes.Cut(l.rest, []byte("\n"))
		if !whole && len(l.rest) < 4096 {
			return
		}
		l.rest = rest
		l.line(string(line))
	}
}

// line takes in one, of the form "Jan 02 15:04:05.000 [warn] text".
func (l *lines) line(s string) {
	_, text, ok := strings.Cut(s, "[")
	level, text, ok2 := strings.Cut(text, "] ")
	if !ok || !ok2 {
		text = s
	}
	text = printable.String(strings.TrimSpace(text))
	l.last = append(l.last, text)
	l.last = l.last[max(0, len(l.last)-lastLines):]
	if l.warn != nil && (level == "warn" || level == "err") {
		l.warn(text)
	}
}

// text returns the last lines as one.
func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.last
	if rest := printable.String(strings.TrimSpace(string(l.rest))); rest != "" {
		all = append(slices.Clone(all), rest)
	}
	return strings.Join(all, " / ")
}
