//go:build unix

package appconn

import (
	"errors"
	"syscall"
)

// silent tells whether a socket that does not block has nothing to read, not even
// its end. A byte that it takes is not missed: the connection is closed.
func silent(fd uintptr) bool {
	var b [1]byte
	_, err := syscall.Read(int(fd), b[:])
	return errors.Is(err, syscall.EAGAIN)
}
