package load

import (
	"errors"
	"time"
)

// errNoProcess says that nobody told which processes a server has.
var errNoProcess = errors.New("the processes of the server are not known")

// usage is what the processes of a server use, descendants included.
type usage struct {
	ok        bool
	cpu       map[int]time.Duration // by process
	memory    int64                 // bytes, as Pss: memory that several share counts once; 0 if it may not be read
	files     int                   // 0 if they may not be read
	threads   int
	processes int
}

// cpuSince returns the processor time since before. A process that ended in between takes
// its time with it; one that began counts from its beginning.
func (u usage) cpuSince(before usage) (sum time.Duration) {
	for pid, cpu := range u.cpu {
		sum += max(cpu-before.cpu[pid], 0)
	}
	return sum
}
