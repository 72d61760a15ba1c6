package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// measure reads what the processes and their descendants use; with all, also memory,
// files and threads.
func measure(pids []int, all bool) (usage, error) {
	if len(pids) == 0 {
		return usage{}, errNoProcess
	}
	tree, err := descendants(pids)
	if err != nil {
		return usage{}, err
	}
	u := usage{ok: true, cpu: map[int]time.Duration{}, processes: len(tree)}
	for _, pid := range tree {
		cpu, err := processTime(pid)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			return usage{}, fmt.Errorf("processor time of process %d: %w", pid, err)
		}
		u.cpu[pid] = cpu
		if all {
			u.memory += proportional(pid)
			u.files += entries(pid, "fd")
			u.threads += entries(pid, "task")
		}
	}
	if len(u.cpu) == 0 {
		return usage{}, fmt.Errorf("there is no process %v", pids)
	}
	return u, nil
}

// processTime reads the processor clock of a process: nanoseconds, threads that have
// ended included, where /proc/PID/stat counts in ticks of 10 ms.
func processTime(pid int) (time.Duration, error) {
	const (
		sched  = 2       // CPUCLOCK_SCHED, as clock_getcpuclockid(3) puts it together
		maxPID = 1 << 22 // PID_MAX_LIMIT; what is larger would name another clock
	)
	if pid > maxPID {
		return 0, unix.ESRCH
	}
	var ts unix.Timespec
	err := unix.ClockGettime(int32(^pid<<3|sched), &ts)
	return time.Duration(ts.Nano()), err
}

// descendants returns the processes and all that descend from them.
func descendants(pids []int) ([]int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, file := range files {
		pid, parent, ok := parentage(file)
		if ok {
			children[parent] = append(children[parent], pid)
		}
	}
	var tree []int
	seen := map[int]bool{}
	for queue := append([]int(nil), pids...); len(queue) > 0; queue = queue[1:] {
		pid := queue[0]
		if !seen[pid] {
			seen[pid] = true
			tree = append(tree, pid)
			queue = append(queue, children[pid]...)
		}
	}
	return tree, nil
}

// parentage reads a process and its parent from a stat file of proc(5), in which the
// name of the program may contain anything.
func parentage(file string) (pid, parent int, ok bool) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, 0, false // it has ended
	}
	before, _, _ := strings.Cut(string(b), " ")
	after := string(b[bytes.LastIndexByte(b, ')')+1:])
	fields := strings.Fields(after)
	if len(fields) < 2 {
		return 0, 0, false
	}
	pid, err = strconv.Atoi(before)
	parent, perr := strconv.Atoi(fields[1])
	return pid, parent, err == nil && perr == nil
}

func entries(pid int, dir string) int {
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/%s", pid, dir))
	if err != nil {
		return 0 // of another user, or it has ended
	}
	return len(list)
}

// proportional returns the Pss of a process, in bytes.
func proportional(pid int) int64 {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		word := strings.Fields(lines.Text())
		if len(word) == 3 && word[0] == "Pss:" {
			kib, _ := strconv.ParseInt(word[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// pin has every thread of the processes, their descendants and this process run on one
// processor, until restore is called.
func pin(pids []int, cpu int) (restore func(), err error) {
	tree, err := descendants(append([]int{os.Getpid()}, pids...))
	if err != nil {
		return nil, err
	}
	var was unix.CPUSet
	if err := unix.SchedGetaffinity(0, &was); err != nil {
		return nil, err
	}
	var only unix.CPUSet
	only.Set(cpu)
	if !was.IsSet(cpu) {
		return nil, fmt.Errorf("--cpu %d: this process may not run on that processor", cpu)
	}
	restore = func() { setAffinity(tree, &was) }
	if err := setAffinity(tree, &only); err != nil {
		restore()
		return nil, fmt.Errorf("run the servers on processor %d: %w", cpu, err)
	}
	return restore, nil
}

func setAffinity(pids []int, set *unix.CPUSet) error {
	var first error
	for _, pid := range pids {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*", pid))
		for _, task := range tasks {
			tid, err := strconv.Atoi(filepath.Base(task))
			if err == nil {
				err = unix.SchedSetaffinity(tid, set)
			}
			if err != nil && !errors.Is(err, unix.ESRCH) && first == nil {
				first = err
			}
		}
	}
	return first
}

// LastCPU returns the highest processor that this process may run on.
func LastCPU() int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return -1
	}
	last := -1
	for i := range 1024 {
		if set.IsSet(i) {
			last = i
		}
	}
	return last
}
