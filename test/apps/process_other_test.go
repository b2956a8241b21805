//go:build !linux

package apps_test

import "syscall"

func dieWithParent() *syscall.SysProcAttr { return nil }
