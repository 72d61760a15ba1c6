//go:build unix

package sockstest

import "syscall"

// heldPort is a port that is bound but not listened on: connecting is refused, and
// nobody else can take it meanwhile.
type heldPort struct {
	port uint16
	fd   int
}

func holdPort() (heldPort, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return heldPort{}, err
	}
	h := heldPort{fd: fd}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		h.close()
		return heldPort{}, err
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		h.close()
		return heldPort{}, err
	}
	h.port = uint16(name.(*syscall.SockaddrInet4).Port)
	return h, nil
}

func (h heldPort) close() { syscall.Close(h.fd) }
