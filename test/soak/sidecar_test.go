package soak_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// sidecar is one process of the program.
type sidecar struct{ url, ops string }

func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "sidecar")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "github.com/sallyport/sallyport/cmd/sidecar").CombinedOutput()
	if err != nil {
		t.Fatalf("build the sidecar: %v\n%s", err, out)
	}
	return program
}

const policy = `
apiVersion: mfa.sallyport.dev/v1alpha1
kind: MFAPolicy
metadata: {name: portal, namespace: acme}
spec:
  selector: {matchLabels: {app: portal}}
  requireForEveryone: true
  app: {port: 8080}
  identity: {type: Endpoint, endpoint: {path: /whoami, cookies: [session]}}
`

func (r *run) startSidecar(program string) *sidecar {
	r.Helper()
	dir := r.TempDir()
	if len(r.sidecars) == 0 {
		keys, err := exec.CommandContext(r.Context(), program, "keys").Output()
		if err != nil {
			r.Fatalf("make keys: %v", err)
		}
		r.app.keys = keys
	}
	for name, content := range map[string]string{"keys.json": string(r.app.keys), "policy.yaml": policy} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			r.Fatal(err)
		}
	}
	cmd := exec.CommandContext(r.Context(), program, "--policy", dir+"/policy.yaml", "--keys", dir+"/keys.json",
		"--redis", r.redis.url(), "--redis-wait-replicas", "1", "--epoch-file", dir+"/epochs.json", "--app", r.app.url,
		"--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--insecure-cookies")
	out, err := cmd.StdoutPipe()
	if err != nil {
		r.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	var serving struct{ Msg, Listen, Ops string }
	for serving.Msg != "Serving" && lines.Scan() {
		if err := json.Unmarshal(lines.Bytes(), &serving); err != nil {
			r.Fatalf("%v: %s", err, lines.Text())
		}
	}
	if serving.Ops == "" {
		r.Fatal("the sidecar does not serve")
	}
	go r.count(lines)
	s := &sidecar{url: "http://" + serving.Listen, ops: "http://" + serving.Ops}
	r.waitFor("a sidecar to be ready", 30*time.Second, s.ready)
	return s
}

// count counts what the sidecars complain of.
func (r *run) count(lines *bufio.Scanner) {
	for lines.Scan() {
		if line := lines.Text(); strings.Contains(line, `"level":"ERROR"`) || strings.Contains(line, `"level":"WARN"`) {
			r.figures.complaints.Add(1)
		}
	}
}

func (s *sidecar) get(path string) (int, string) {
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(s.ops + path) //nolint:noctx // the client has a time-out
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(body)
}

func (s *sidecar) ready() bool {
	status, _ := s.get("/readyz")
	return status == http.StatusOK
}

// size is what a sidecar takes, as it was seen for a while. Live is what was reachable
// when garbage was last collected; RSS is that and all that Go has not given back.
type size struct{ live, rss, goroutines span }

type span struct{ least, most float64 }

func (s *span) add(value float64) {
	if *s == (span{}) {
		*s = span{value, value}
	}
	s.least, s.most = min(s.least, value), max(s.most, value)
}

// measure watches the sidecars for a while.
func (r *run) measure() []size {
	r.Helper()
	all := make([]size, len(r.sidecars))
	for end := time.Now().Add(watched); time.Now().Before(end); time.Sleep(250 * time.Millisecond) {
		for i, s := range r.sidecars {
			_, page := s.get("/metrics")
			all[i].live.add(r.metric(page, "go_gc_heap_live_bytes"))
			all[i].rss.add(r.metric(page, "process_resident_memory_bytes"))
			all[i].goroutines.add(r.metric(page, "go_goroutines"))
		}
	}
	for i, s := range all {
		r.say("sidecar %d: live %s MiB, RSS %s MiB, %.0f to %.0f goroutines", i+1, s.live.mib(), s.rss.mib(), s.goroutines.least, s.goroutines.most)
	}
	return all
}

func (r *run) metric(page, name string) float64 {
	r.Helper()
	for line := range strings.Lines(page) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err == nil {
				return value
			}
		}
	}
	r.Fatalf("there is no metric %s", name)
	return 0
}

// compare proves that no sidecar has grown.
func (r *run) compare(before, after []size) {
	for i := range before {
		if after[i].live.least > before[i].live.least+moreLive {
			r.violate("sidecar %d used %.1f MiB and uses %.1f", i+1, mib(before[i].live.least), mib(after[i].live.least))
		}
		// What is not Go's heap is in RSS alone.
		if after[i].rss.least > before[i].rss.most+moreRSS {
			r.violate("sidecar %d had at most %.0f MiB of RSS and has at least %.0f", i+1, mib(before[i].rss.most), mib(after[i].rss.least))
		}
		if after[i].goroutines.least > before[i].goroutines.most+moreGoroutines {
			r.violate("sidecar %d had at most %.0f goroutines and has at least %.0f", i+1, before[i].goroutines.most, after[i].goroutines.least)
		}
	}
}

func (s span) mib() string { return fmt.Sprintf("%.1f to %.1f", mib(s.least), mib(s.most)) }

func mib(bytes float64) float64 { return bytes / (1 << 20) }
