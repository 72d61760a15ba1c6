package resolver

import (
	"bufio"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

// recheck is how often a file of the system is looked at again while names are resolved.
const recheck = time.Second

// watched is a file that is read again when it has changed.
type watched[T any] struct {
	read func(io.Reader) T // also of an empty reader: the file is not there

	mu      sync.Mutex
	path    string
	checked time.Time
	stamp   stamp
	value   T
	loaded  bool
}

// stamp changes with the file.
type stamp struct {
	mtime time.Time
	size  int64
	there bool
}

// get returns what the file at path says, and whether that has changed since the last
// call. A file that cannot be read says nothing.
func (w *watched[T]) get(path string) (value T, changed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if w.loaded && w.path == path && now.Sub(w.checked) < recheck {
		return w.value, false
	}
	w.checked = now
	var s stamp
	if info, err := os.Stat(path); err == nil {
		s = stamp{info.ModTime(), info.Size(), true}
	}
	if w.loaded && w.path == path && s == w.stamp {
		return w.value, false
	}
	changed = w.loaded
	w.path, w.stamp, w.loaded = path, s, true
	f, err := os.Open(path)
	if err != nil {
		w.value = w.read(strings.NewReader(""))
		return w.value, changed
	}
	defer f.Close()
	w.value = w.read(f)
	return w.value, changed
}

// hosts is what a hosts file says: hosts(5).
type hosts struct {
	addrs map[string][]netip.Addr // by canonical name
	names map[netip.Addr][]string
}

func readHosts(r io.Reader) hosts {
	h := hosts{make(map[string][]netip.Addr), make(map[netip.Addr][]string)}
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
			h.addrs[name] = append(h.addrs[name], ip)
			h.names[ip] = append(h.names[ip], name)
		}
	}
	return h
}
