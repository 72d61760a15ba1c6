package leaks

import (
	"bytes"
	"context"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// finder finds the programs that sockets belong to. It is used by one goroutine at a time.
type finder struct {
	lately []int // pids found recently, the latest first: one that sends addresses sends more
}

const maxLately = 16

// find returns the program with the socket that is bound to client and connected to
// proxy. Without permission to inspect other users' programs it finds only the user.
func (f *finder) find(ctx context.Context, client, proxy netip.AddrPort) program {
	s, err := findSocket(client, proxy)
	if err != nil {
		return program{uid: -1}
	}
	link := "socket:[" + strconv.FormatUint(uint64(s.inode), 10) + "]"
	for _, pid := range f.lately {
		if holds(ctx, pid, link) {
			return f.found(pid, s.uid)
		}
	}
	rest := processes()
	for _, same := range []bool{true, false} { // a program seldom gives its sockets to others
		for _, pid := range rest {
			if ctx.Err() != nil {
				return program{uid: s.uid}
			}
			if (owner(pid) == s.uid) == same && holds(ctx, pid, link) {
				return f.found(pid, s.uid)
			}
		}
	}
	return program{uid: s.uid}
}

func (f *finder) found(pid, uid int) program {
	f.lately = slices.DeleteFunc(f.lately, func(p int) bool { return p == pid })
	f.lately = slices.Insert(f.lately, 0, pid)
	f.lately = f.lately[:min(len(f.lately), maxLately)]
	p := describe(pid)
	p.uid = uid
	return p
}

// describe returns the program with a pid.
func describe(pid int) program {
	dir := procDir(pid)
	comm, err := readSome(filepath.Join(dir, "comm"))
	if err != nil {
		return program{pid: pid, uid: -1}
	}
	line, _ := readSome(filepath.Join(dir, "cmdline")) // without it there is still comm
	words := strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
	return program{name: programName(words, string(bytes.TrimSpace(comm))), pid: pid, uid: owner(pid)}
}

// readSome reads the beginning of a file: a command line can have megabytes.
func readSome(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 1024))
}

func procDir(pid int) string { return "/proc/" + strconv.Itoa(pid) }

// processes returns the pids, the latest first.
func processes() []int {
	d, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	slices.Reverse(pids)
	return pids
}

// owner returns the user that the program runs as; -1 if it has ended.
func owner(pid int) int {
	info, err := os.Stat(procDir(pid))
	if err != nil {
		return -1
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1
	}
	return int(s.Uid)
}

// holds reports whether a program has a descriptor with this link target. It checks the
// first few hundred, and more while there is time.
func holds(ctx context.Context, pid int, link string) bool {
	dir := procDir(pid) + "/fd"
	d, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(512)
		for _, name := range names {
			if to, err := os.Readlink(dir + "/" + name); err == nil && to == link {
				return true
			}
		}
		if err != nil || ctx.Err() != nil {
			return false
		}
	}
}
