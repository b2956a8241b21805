package apps_test

import "syscall"

// dieWithParent ends a program also where the test is killed and runs no cleanup.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
