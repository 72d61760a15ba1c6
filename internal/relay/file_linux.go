package relay

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// fileConn is a TCP connection in an [os.File]. Package net works on a duplicate of a
// descriptor it is given; where there is none to be had, this is a connection of Go's poller
// as well, and a client still gets its reply. Where not even the poller takes it, reads and
// writes do not wait, and fail where they would have to.
type fileConn struct {
	file   *os.File
	remote net.Addr
}

func (c *fileConn) Read(b []byte) (int, error) {
	n, err := c.file.Read(b)
	return n, c.opError("read", err)
}

func (c *fileConn) Write(b []byte) (int, error) {
	n, err := c.file.Write(b)
	return n, c.opError("write", err)
}

func (c *fileConn) Close() error { return c.opError("close", c.file.Close()) }

// CloseWrite ends what c sends.
func (c *fileConn) CloseWrite() error {
	return c.opError("close", c.control(func(fd int32) error {
		return os.NewSyscallError("shutdown", shutdown(fd))
	}))
}

// SetLinger is that of *net.TCPConn for sec >= 0.
func (c *fileConn) SetLinger(sec int) error {
	return c.opError("set", c.control(func(fd int32) error { return setLinger(fd, sec) }))
}

func (c *fileConn) LocalAddr() net.Addr {
	local := new(net.TCPAddr)
	_ = c.control(func(fd int32) error { // of a closed one nothing is known
		local = net.TCPAddrFromAddrPort(localAddr(fd))
		return nil
	})
	return local
}

func (c *fileConn) RemoteAddr() net.Addr                  { return c.remote }
func (c *fileConn) SetDeadline(t time.Time) error         { return c.file.SetDeadline(t) }
func (c *fileConn) SetReadDeadline(t time.Time) error     { return c.file.SetReadDeadline(t) }
func (c *fileConn) SetWriteDeadline(t time.Time) error    { return c.file.SetWriteDeadline(t) }
func (c *fileConn) SyscallConn() (syscall.RawConn, error) { return c.file.SyscallConn() }

// control calls f with the descriptor.
func (c *fileConn) control(f func(fd int32) error) (err error) {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return err
	}
	if failed := raw.Control(func(fd uintptr) { err = f(int32(fd)) }); failed != nil {
		return failed
	}
	return err
}

// opError makes an error of package net of one of package os.
func (c *fileConn) opError(op string, err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		err = path.Err
	}
	if errors.Is(err, os.ErrClosed) {
		err = net.ErrClosed
	}
	return opError(op, c.remote, err)
}

func setLinger(fd int32, sec int) error {
	linger := unix.Linger{Onoff: 1, Linger: int32(sec)}
	return os.NewSyscallError("setsockopt", unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &linger))
}
