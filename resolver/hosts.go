package resolver

import (
	"bufio"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// recheck is how often a file of the system is looked at again while names are resolved.
	recheck = time.Second
	// smallFile is read by the request that finds it changed; a larger one beside it, since it
	// takes long, and requests meanwhile go by what was read before.
	smallFile = 64 << 10
)

// watched is a file that is read again when it has changed. The zero value is ready, and safe
// for concurrent use. Of several requests one looks at the file, and none waits for another but
// the first time.
type watched[T any] struct {
	mu    sync.Mutex // held by the one that looks at the file, or reads it
	stamp stamp
	now   atomic.Pointer[T] // what the file says; nil: it has not been read
	due   atomic.Int64      // when the file is looked at again, in ns since 1970
}

// stamp changes with the file.
type stamp struct {
	mtime time.Time
	size  int64
	there bool
}

// get returns what read makes of the file at path; of one that cannot be read, what it makes
// of nothing. When that has changed since a call before, it calls changed.
func (w *watched[T]) get(path string, read func(io.Reader) T, changed func()) T {
	value := w.now.Load()
	switch {
	case value != nil && time.Now().UnixNano() < w.due.Load():
		return *value
	case value == nil:
		w.mu.Lock()
	case !w.mu.TryLock():
		return *value
	}
	if value = w.now.Load(); value != nil && time.Now().UnixNano() < w.due.Load() {
		w.mu.Unlock()
		return *value
	}
	w.due.Store(time.Now().Add(recheck).UnixNano())
	var s stamp
	if info, err := os.Stat(path); err == nil {
		s = stamp{info.ModTime(), info.Size(), true}
	}
	if value != nil && s == w.stamp {
		w.mu.Unlock()
		return *value
	}
	w.stamp = s
	if value != nil && s.size > smallFile {
		go func() {
			defer w.mu.Unlock()
			w.now.Store(readFile(path, read))
			changed()
		}()
		return *value
	}
	defer w.mu.Unlock()
	first := value == nil
	value = readFile(path, read)
	w.now.Store(value)
	if !first {
		changed()
	}
	return *value
}

func readFile[T any](path string, read func(io.Reader) T) *T {
	var r io.Reader = strings.NewReader("")
	if f, err := os.Open(path); err == nil {
		defer f.Close()
		r = f
	}
	value := read(r)
	return &value
}

// hosts is what a hosts file says: hosts(5).
type hosts struct {
	addrs map[string][]netip.Addr // by canonical name
	names map[netip.Addr][]string
}

func readHosts(r io.Reader) hosts {
	h := hosts{make(map[string][]netip.Addr), make(map[netip.Addr][]string)}
	alone := make(map[netip.Addr][]netip.Addr) // shared by all names that have that address alone
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		text, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) < 2 {
			continue
		}
		ip, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue
		}
		ip = ip.Unmap()
		for _, name := range fields[1:] {
			name, ok := canonical(name)
			if !ok {
				continue
			}
			switch have := h.addrs[name]; {
			case have == nil:
				if alone[ip] == nil {
					alone[ip] = []netip.Addr{ip}
				}
				h.addrs[name] = alone[ip]
			case len(have) < maxRecords && !slices.Contains(have, ip):
				h.addrs[name] = append(have[:len(have):len(have)], ip)
			}
			if len(h.names[ip]) < maxRecords { // a list of names to block has one address
				h.names[ip] = append(h.names[ip], name)
			}
		}
	}
	return h
}
