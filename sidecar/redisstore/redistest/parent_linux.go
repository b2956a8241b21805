package redistest

import "syscall"

// dieWithParent ends a server also where the test binary is killed and runs no
// cleanup.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
