package relay

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// pipeSize is what a pipe is asked to hold. Below leastPipe copying is cheaper:
	// the kernel gives as little as a page or two to users who have many pipes.
	pipeSize  = 1 << 20
	leastPipe = 64 << 10

	// maxPipes bounds the pipes of an Engine. The kernel gives an ordinary user 64 of
	// this size altogether before it makes them tiny. Loops with pipes at work need
	// one each; the rest may wait, full, for slow readers.
	maxPipes = 48

	// sparePipes is how many pipes are kept when none is in use.
	sparePipes = 4

	// pipeRetry is how long to do without after the kernel refused a pipe.
	pipeRetry = 10 * time.Second
)

// pipe is a pipe through which bytes go from socket to socket without being copied.
type pipe struct {
	read, write int
	size        int // how much it was given to hold
	full        int // how much it holds
}

// fill moves bytes from socket fd into p, which is empty. As with read(2), n is 0 at
// the end; but it is also 0 where urgent data stand first.
func (p *pipe) fill(fd int) (n int, err error) {
	n, err = splice(fd, p.write, p.size)
	p.full = n
	return n, err
}

// drain moves the bytes of p to socket fd until p is empty or the socket full, when
// the error is EAGAIN.
func (p *pipe) drain(fd int) (n int, err error) {
	for p.full > 0 {
		k, err := splice(p.read, fd, p.full)
		if err != nil {
			return n, err
		}
		n += k
		p.full -= k
	}
	return n, nil
}

func (p *pipe) close() {
	unix.Close(p.read)
	unix.Close(p.write)
}

// pipePool lends pipes to the loops of an Engine. The zero value is ready for use.
type pipePool struct {
	mu     sync.Mutex
	spare  []*pipe
	lent   int
	refuse time.Time // lend no new ones before
}

// borrow lends an empty pipe, or nil if there is none to be had.
func (p *pipePool) borrow() *pipe {
	p.mu.Lock()
	defer p.mu.Unlock()
	var got *pipe
	switch last := len(p.spare) - 1; {
	case last >= 0:
		got = p.spare[last]
		p.spare = p.spare[:last]
	case p.lent >= maxPipes || time.Now().Before(p.refuse):
		return nil
	default:
		if got = newPipe(pipeSize); got == nil {
			p.refuse = time.Now().Add(pipeRetry)
			return nil
		}
	}
	p.lent++
	return got
}

// giveBack takes a pipe back. One that is not empty is of no use to others.
func (p *pipePool) giveBack(b *pipe) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lent--
	if b.full > 0 || len(p.spare) >= sparePipes {
		b.close()
		return
	}
	p.spare = append(p.spare, b)
}

// close closes all pipes; none is lent any more.
func (p *pipePool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.spare {
		b.close()
	}
	p.spare = nil
}

// newPipe makes a pipe of the given size, or returns nil if what comes out is not
// worth having.
func newPipe(size int) *pipe {
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil
	}
	p := &pipe{read: fds[0], write: fds[1]}
	// Whether or not the size asked for was given, the next call tells.
	_, _ = unix.FcntlInt(uintptr(p.write), unix.F_SETPIPE_SZ, size)
	size, err := unix.FcntlInt(uintptr(p.write), unix.F_GETPIPE_SZ, 0)
	if err != nil || size < leastPipe {
		p.close()
		return nil
	}
	p.size = size
	return p
}
