package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sidecar/control"
	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
	"github.com/sallyport/sallyport/sidecar/seal"
)

// The program as a pod runs it: it says who it is, is not ready without a policy,
// and takes its heartbeat back when it is told to end.
func TestFollowingProgram(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	dir := t.TempDir()
	keys, _, _ := sidecar(t, "keys")
	for name, content := range map[string]string{"keys.json": keys, "redis.json": `{"url":"redis://` + node.Addr + `"}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "--follow", "acme/portal",
		"--keys", dir+"/keys.json", "--redis-file", dir+"/redis.json",
		"--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--app", "http://127.0.0.1:1")
	cmd.Env = append(os.Environ(), "RUN_SIDECAR=1", "POD_NAME=portal-7d9f", "POD_UID=1f2e3d")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var serving struct{ Msg, Listen, Ops string }
	for serving.Msg != "Serving" && lines.Scan() {
		if err := json.Unmarshal(lines.Bytes(), &serving); err != nil {
			t.Fatalf("%v: %s", err, lines.Text())
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	if serving.Ops == "" {
		t.Fatal("the program does not serve")
	}

	ring, err := seal.Parse([]byte(keys), "acme")
	if err != nil {
		t.Fatal(err)
	}
	channel := control.New(control.Config{
		Client: node.Client(), Prefix: "sallyport", Namespace: "acme", Ring: ring, Clock: time.Now,
	})
	beats := func() []control.Heartbeat {
		found, err := channel.Heartbeats(t.Context(), "portal")
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	deadline := time.Now().Add(20 * time.Second)
	for len(beats()) == 0 {
		if time.Now().After(deadline) {
			t.Fatal("the program says no heartbeat")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if b := beats()[0]; b.Pod != "portal-7d9f" || b.PodUID != "1f2e3d" || b.Generation != 0 {
		t.Errorf("it says it is %+v", b)
	}
	for address, want := range map[string]int{
		serving.Ops + "/healthz": http.StatusOK, serving.Ops + "/readyz": http.StatusServiceUnavailable,
		serving.Listen + "/": http.StatusServiceUnavailable,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s answers %d, want %d", strings.TrimPrefix(address, serving.Ops), response.StatusCode, want)
		}
	}

	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if left := beats(); len(left) > 0 {
		t.Errorf("it left %+v", left)
	}
}
