package main

import (
	"bytes"
	"log/slog"
	"math"
	"runtime/debug"
	"strings"
	"testing"
	"testing/fstest"
)

const (
	mountV2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	mountV1 = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n" +
		"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n" +
		"35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
		"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)

func TestCgroupMemory(t *testing.T) {
	for name, c := range map[string]struct {
		cgroup, mounts string
		files          map[string]string
		want           int64
		file           string // if it is not the last one of the path
	}{
		"none":     {},
		"no limit": {"0::/a\n", mountV2, map[string]string{"a/memory.max": "max\n"}, 0, ""},
		"v2":       {"0::/a.slice/b.service\n", mountV2, map[string]string{"a.slice/b.service/memory.max": "1000\n"}, 1000, ""},
		"v2 parent is tighter": {
			"0::/a.slice/b.service\n", mountV2,
			map[string]string{"a.slice/memory.max": "500\n", "a.slice/b.service/memory.max": "1000\n"},
			500, "/sys/fs/cgroup/a.slice/memory.max",
		},
		"v2 high": {
			"0::/a\n", mountV2,
			map[string]string{"a/memory.max": "1000\n", "a/memory.high": "900\n"},
			900, "/sys/fs/cgroup/a/memory.high",
		},
		"v2 namespace": {"0::/\n", mountV2, map[string]string{"memory.max": "1000\n"}, 1000, ""},
		"v2 container": {
			"0::/docker/abc\n", strings.Replace(mountV2, " / ", " /docker/abc ", 1), map[string]string{"memory.max": "1000\n"}, 1000, "",
		},
		"v2 container, of another name": {
			"0::/docker/abcd\n", strings.Replace(mountV2, " / ", " /docker/abc ", 1), map[string]string{"memory.max": "1000\n"}, 1000, "",
		},
		"v2 path outside": {"0::/../other\n", mountV2, map[string]string{"memory.max": "1000\n", "other/memory.max": "x"}, 1000, ""},
		"v1": {
			"5:cpuset:/x\n4:memory:/a/b\n0::/\n", mountV1, map[string]string{"memory/a/b/memory.limit_in_bytes": "1000\n"}, 1000, "",
		},
		"v1 parent is tighter": {
			"4:memory:/a/b\n", mountV1,
			map[string]string{"memory/a/memory.limit_in_bytes": "500\n", "memory/a/b/memory.limit_in_bytes": "9223372036854771712\n"},
			500, "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
		},
		"v1 no limit": {"4:memory:/a\n", mountV1, map[string]string{"memory/a/memory.limit_in_bytes": "9223372036854771712\n"}, 0, ""},
		"both, hybrid": {
			"4:memory:/a\n0::/b\n", mountV1,
			map[string]string{"memory/a/memory.limit_in_bytes": "700\n", "unified/b/memory.max": "600\n"},
			600, "/sys/fs/cgroup/unified/b/memory.max",
		},
		"nonsense": {"0:\n::\n4:memory\n", "x - y\n - \n" + mountV2, map[string]string{"memory.max": "a lot\n"}, 0, ""},
		"spaces": {
			"0::/a b\n", strings.Replace(mountV2, "/sys/fs/cgroup", `/sys/fs/cgroup/my\040groups`, 1),
			map[string]string{"my groups/a b/memory.max": "1000\n"},
			1000, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := fstest.MapFS{}
			if c.cgroup != "" {
				root["proc/self/cgroup"] = &fstest.MapFile{Data: []byte(c.cgroup)}
				root["proc/self/mountinfo"] = &fstest.MapFile{Data: []byte(c.mounts)}
			}
			last := ""
			for file, text := range c.files {
				root["sys/fs/cgroup/"+file] = &fstest.MapFile{Data: []byte(text)}
				last = "/sys/fs/cgroup/" + file
			}
			if c.file == "" && len(c.files) == 1 && c.want > 0 {
				c.file = last
			}
			limit, file := cgroupMemory(root)
			if limit != c.want || c.file != "" && file != c.file {
				t.Errorf("got %d by %s, want %d by %s", limit, file, c.want, c.file)
			}
		})
	}
}

func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	root := fstest.MapFS{
		"proc/self/cgroup":         {Data: []byte("0::/\n")},
		"proc/self/mountinfo":      {Data: []byte(mountV2)},
		"sys/fs/cgroup/memory.max": {Data: []byte("10737418240\n")},
	}
	for set, want := range map[string]int64{"": 9663676416, "off": math.MaxInt64} {
		debug.SetMemoryLimit(math.MaxInt64)
		t.Setenv("GOMEMLIMIT", set)
		var out bytes.Buffer
		limitMemory(root, slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
		if got := debug.SetMemoryLimit(-1); got != want {
			t.Errorf("with GOMEMLIMIT=%q the limit is %d, want %d", set, got, want)
		}
		if said := strings.Contains(out.String(), "GOMEMLIMIT=9663676416"); said != (set == "") {
			t.Errorf("with GOMEMLIMIT=%q: %s", set, out.String())
		}
	}
}
