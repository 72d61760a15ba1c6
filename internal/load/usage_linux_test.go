package load

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// measureOpening measures before a file is opened, and while it is open.
func measureOpening(t *testing.T, pids []int) (before, now usage) {
	t.Helper()
	before, err := measure(pids, true)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if now, err = measure(pids, true); err != nil {
		t.Fatal(err)
	}
	return before, now
}

func TestMeasure(t *testing.T) {
	self := []int{os.Getpid()}
	// What other tests have closed may still be going.
	for deadline := time.Now().Add(time.Minute); ; {
		before, now := measureOpening(t, self)
		if now.files == before.files+1 && now.memory > 0 && now.threads >= 1 && now.processes >= 1 && now.cpuSince(usage{}) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v, before %+v", now, before)
		}
	}
	if _, err := measure(nil, true); !errors.Is(err, errNoProcess) {
		t.Errorf("of nothing: %v", err)
	}
	if _, err := measure([]int{1 << 30}, true); err == nil {
		t.Error("of a process that is not: no error")
	}
}

func TestParentage(t *testing.T) {
	file := t.TempDir() + "/stat"
	for text, ok := range map[string]bool{
		"12 (a) b) 7) S 34 5 6": true,
		"12 (short) S":          false,
		"":                      false,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		pid, parent, got := parentage(file)
		if got != ok || ok && (pid != 12 || parent != 34) {
			t.Errorf("%q: %d, %d, %v", text, pid, parent, got)
		}
	}
}

// A process is stopped with what it started, and neither was in this session.
func TestProcess(t *testing.T) {
	p, err := Start(Shell("sh -c 'sleep 600 & wait'"))
	if err != nil {
		t.Fatal(err)
	}
	tree := []int{p.PID()}
	for len(tree) < 2 && !exited(p) {
		if tree, err = descendants([]int{p.PID()}); err != nil {
			t.Fatal(err)
		}
	}
	if sid, err := unix.Getsid(tree[1]); err != nil || sid != p.PID() {
		t.Errorf("session %d (%v), want that of its leader %d", sid, err, p.PID())
	}
	p.Stop()
	left, err := descendants(tree[1:])
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range left {
		state, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if len(state) > 0 && !strings.Contains(string(state), ") Z ") {
			t.Errorf("process %d is left: %s", pid, state)
		}
	}
}

func exited(p *Process) bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

func TestAwaitListening(t *testing.T) {
	l, addr := listen(t)
	lives, err := Start(exec.Command("sleep", "600"))
	if err != nil {
		t.Fatal(err)
	}
	defer lives.Stop()
	if err := lives.AwaitListening(t.Context(), addr.String(), patience); err != nil {
		t.Error(err)
	}
	p, err := Start(exec.Command("sh", "-c", "echo no such luck >&2; exit 3"))
	if err != nil {
		t.Fatal(err)
	}
	<-p.exited
	if err := p.AwaitListening(t.Context(), addr.String(), patience); err == nil {
		t.Error("it has ended, somebody else listens, and there is no error")
	}
	l.Close()
	err = p.AwaitListening(t.Context(), addr.String(), patience)
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("error %v, want the exit and what was said", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := lives.AwaitListening(ctx, addr.String(), patience); err == nil {
		t.Error("no error though the context has ended")
	}
	if _, err := Start(exec.Command("/nonexistent")); err == nil {
		t.Error("started what does not exist")
	}
}

func TestPin(t *testing.T) {
	var was, now unix.CPUSet
	if err := unix.SchedGetaffinity(0, &was); err != nil {
		t.Fatal(err)
	}
	p, err := Start(exec.Command("sleep", "600"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	restore, err := pin([]int{p.PID()}, LastCPU())
	if err != nil {
		t.Fatal(err)
	}
	unix.SchedGetaffinity(p.PID(), &now)
	if now.Count() != 1 || !now.IsSet(LastCPU()) {
		t.Errorf("%d processors while pinned", now.Count())
	}
	restore()
	for _, pid := range []int{p.PID(), os.Getpid()} {
		unix.SchedGetaffinity(pid, &now)
		if now != was {
			t.Errorf("process %d runs on %d processors afterwards, want %d", pid, now.Count(), was.Count())
		}
	}
	if _, err := pin(nil, 1000); err == nil {
		t.Error("pinned to a processor that is not there")
	}
}

func TestDescendants(t *testing.T) {
	tree, err := descendants([]int{os.Getppid()})
	if err != nil || !slices.Contains(tree, os.Getpid()) {
		t.Errorf("%v (%v) without this process", tree, err)
	}
}
