package main

import (
	"io/fs"
	"log/slog"
	"os"
	"path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
)

// limitMemory has Go's collector keep within 90 % of what the cgroup of this process may
// have, as GOMEMLIMIT would, unless that is set. The rest is for what Go does not count: the
// program, the buffers of sockets.
func limitMemory(root fs.FS, log *slog.Logger) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	if limit, file := cgroupMemory(root); limit > 0 {
		debug.SetMemoryLimit(limit / 10 * 9)
		log.Debug("memory limit taken from the cgroup", "GOMEMLIMIT", limit/10*9, "file", file, "limit", limit)
	}
}

// cgroupMemory returns how many bytes of memory the cgroup of this process may have, by the
// tightest limit of it and of those that it is in, and the file that has it; 0 if there is
// none. Root is the root of the file system. It is for version 1 and 2 (cgroups(7)).
func cgroupMemory(root fs.FS) (limit int64, file string) {
	mounts, _ := fs.ReadFile(root, "proc/self/mountinfo") // none where there are no cgroups
	groups, _ := fs.ReadFile(root, "proc/self/cgroup")
	for line := range strings.SplitSeq(string(groups), "\n") {
		part := strings.SplitN(line, ":", 3) // number, controllers, path
		if len(part) < 3 {
			continue
		}
		names := []string{"memory.limit_in_bytes"}
		if part[1] == "" {
			names = []string{"memory.max", "memory.high"}
		} else if !slices.Contains(strings.Split(part[1], ","), "memory") {
			continue
		}
		top, below := cgroupMount(string(mounts), part[1] == "", part[2])
		if top == "" {
			continue
		}
		for dir := path.Join(top, below); ; dir = path.Dir(dir) {
			for _, name := range names {
				if n := bytesIn(root, path.Join(dir, name)); n > 0 && (limit == 0 || n < limit) {
					limit, file = n, "/"+path.Join(dir, name)
				}
			}
			if dir == top {
				break
			}
		}
	}
	return limit, file
}

// noLimit is what version 1 has where there is none, or less: 2⁶³ less a page.
const noLimit = 1 << 60

// bytesIn returns the number in a file, 0 if there is none.
func bytesIn(root fs.FS, name string) int64 {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || n >= noLimit { // it may be "max"
		return 0
	}
	return n
}

// cgroupMount returns where the hierarchy of cgroups that has memory limits is mounted, or
// that of version 2, and where group is in it. Both are without a slash before them. A container
// may see a part of the hierarchy alone, and know its group by a path from outside.
func cgroupMount(mounts string, unified bool, group string) (top, below string) {
	for line := range strings.SplitSeq(mounts, "\n") {
		mount, system, _ := strings.Cut(line, " - ") // proc(5): ID, parent, device, root, place, …; type, source, options
		m, s := strings.Fields(mount), strings.Fields(system)
		if len(m) < 5 || len(s) < 3 {
			continue
		}
		if unified != (s[0] == "cgroup2") || !unified && (s[0] != "cgroup" || !slices.Contains(strings.Split(s[2], ","), "memory")) {
			continue
		}
		top = strings.TrimPrefix(path.Clean(unescape(m[4])), "/")
		if rest, ok := strings.CutPrefix(group, strings.TrimSuffix(unescape(m[3]), "/")); ok && strings.HasPrefix(rest+"/", "/") {
			below = strings.TrimPrefix(path.Clean("/"+rest), "/")
		}
		return top, below
	}
	return "", ""
}

// unescape undoes what the kernel does to spaces and their like in mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
