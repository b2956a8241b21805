package apiserver

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Kill ends the API server at once and waits until it is gone; etcd stays, as do certificates and users. What it
// returns starts the API server again, at the same address.
func (s *Server) Kill(t testing.TB) (restart func()) {
	t.Helper()
	pid, command, err := s.find()
	if err != nil {
		t.Fatalf("find the API server: %v", err)
	}
	if err := kill(pid); err != nil {
		t.Fatalf("kill the API server: %v", err)
	}
	return func() {
		t.Helper()
		again := exec.Command(command[0], command[1:]...) //nolint:noctx // as it was; stopAgain ends it
		again.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := again.Start(); err != nil {
			t.Fatalf("start the API server again: %v", err)
		}
		s.again = again
	}
}

// kill ends a process, whoever its parent is, and waits until it has let go of its port.
func kill(pid int) error {
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(process) }() // nothing was written
	if err := unix.PidfdSendSignal(process, unix.SIGKILL, nil, 0); err != nil {
		return err
	}
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(process), Events: unix.POLLIN}}, -1)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// stopAgain ends the API server that was started again.
func (s *Server) stopAgain() {
	if s.again != nil {
		_ = s.again.Process.Kill()
		_ = s.again.Wait() // it was killed
	}
}

// find returns the process of the API server and its command line.
func (s *Server) find() (pid int, command []string, err error) {
	port := []byte("--secure-port=" + s.Env.ControlPlane.GetAPIServer().Port)
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, nil, err
	}
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(line, port) || !bytes.Contains(line, []byte("kube-apiserver")) {
			continue // another's, or one that has ended meanwhile
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		return pid, strings.Split(strings.TrimRight(string(line), "\x00"), "\x00"), err
	}
	return 0, nil, fmt.Errorf("no process listens with %s", port)
}
