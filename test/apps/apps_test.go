// Package apps_test proves the product in front of real apps, none of them written
// by us and none of them changed: each runs as a process behind the sidecar's own
// binary, with a real Redis and the policy that docs/apps shows, and a person walks
// through it in a real Chromium.
//
// The apps are built once by test/setup/install --apps, which takes minutes: so
// these tests are no part of make test, but of make apps. The package may import
// test helpers and libraries that drive browsers. It must never reach into the
// sidecar or an app, never skip, and never wait by sleeping.
package apps_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
	"github.com/sallyport/sallyport/test/chromium"
	"github.com/sallyport/sallyport/test/stack"
)

// screenshots is where the tests draw what a person sees, "" for nowhere.
var screenshots = flag.String("screenshots", "", "draw what a person sees into this folder")

// patience bounds every wait for a process or a page, on a busy machine.
const patience = 60 * time.Second

// script is what a browser says of a request that a page's script makes.
const script = "Sec-Fetch-Mode: cors"

var theBrowser = sync.OnceValues(func() (context.Context, error) { return chromium.Start() })

func TestMain(m *testing.M) {
	code := m.Run()
	if ctx, err := theBrowser(); err == nil {
		limited, cancel := context.WithTimeout(ctx, 20*time.Second)
		if err := chromedp.Cancel(limited); err != nil {
			fmt.Fprintln(os.Stderr, "end Chromium:", err)
			code = max(code, 1)
		}
		cancel()
	}
	if path, err := sidecarBinary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// program is the path of an app's program, where test/setup/install --apps has put it.
func program(t *testing.T, app string) string {
	t.Helper()
	versions, err := os.ReadFile("../setup/versions")
	if err != nil {
		t.Fatal(err)
	}
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(home, ".cache")
	}
	for line := range strings.Lines(string(versions)) {
		version, ok := strings.CutPrefix(strings.TrimSpace(line), strings.ToUpper(app)+"_VERSION=")
		if !ok {
			continue
		}
		path := filepath.Join(cache, "sallyport", app+"-"+version+"-"+runtime.Version(), app)
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("%s is not built; run test/setup/install --apps, which takes minutes: %v", app, err)
		}
		return path
	}
	t.Fatalf("test/setup/versions pins no %s", app)
	return ""
}

// sidecarBinary is built once, as cmd/sidecar is released.
var sidecarBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sallyport-apps-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "sidecar")
	build := exec.Command("go", "build", "-o", path, "../../cmd/sidecar")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the sidecar: %w: %s", err, out)
	}
	return path, nil
})

// door is an app behind a sidecar.
type door struct {
	t *testing.T
	// URL is the sidecar's, behind the app's own.
	URL, behind string
}

// newDoor picks the addresses of an app and its sidecar.
func newDoor(t *testing.T) *door {
	t.Helper()
	return &door{t: t, URL: "http://" + stack.FreeAddress(t), behind: "http://" + stack.FreeAddress(t)}
}

// guard puts the sidecar before the app, under the policy of docs/apps.
func (d *door) guard(app string) {
	d.t.Helper()
	binary, err := sidecarBinary()
	if err != nil {
		d.t.Fatal(err)
	}
	dir := d.t.TempDir()
	keys, err := exec.CommandContext(d.t.Context(), binary, "keys").Output()
	if err != nil {
		d.t.Fatalf("make keys: %v", err)
	}
	file := filepath.Join(dir, "keys.json")
	if err := os.WriteFile(file, keys, 0o600); err != nil {
		d.t.Fatal(err)
	}
	ops := stack.FreeAddress(d.t)
	run(d.t, nil, binary, "--policy", "../../docs/apps/"+app+"/policy.yaml", "--keys", file, "--epoch-file", filepath.Join(dir, "epoch.json"),
		"--redis", "redis://"+redistest.Server(d.t).Addr+"/0", "--app", d.behind, "--listen", strings.TrimPrefix(d.URL, "http://"),
		"--ops-listen", ops, "--insecure-cookies")
	d.await("http://" + ops + "/readyz")
}

// run starts a program that ends with the test, and shows what it said where the
// test fails.
func run(t *testing.T, env []string, path string, args ...string) {
	t.Helper()
	log, err := os.CreateTemp(t.TempDir(), filepath.Base(path)+"-*.log")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...) //nolint:noctx // ended below, with grace
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), log, log
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		force := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		force.Stop()
		if said, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(path), said[max(0, len(said)-8000):])
		}
	})
}

// await waits until an address answers 200.
func (d *door) await(url string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		if answer, err := get(ctx, url); err == nil && answer.StatusCode == http.StatusOK {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			d.t.Fatalf("%s did not come up", url)
		}
	}
}

func get(ctx context.Context, url string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(r)
	if err == nil {
		err = response.Body.Close()
	}
	return response, err
}

// answer is what a program without cookies of its own gets.
type answer struct {
	status int
	header http.Header
	body   map[string]any
}

// call makes a request as a script or curl does. Headers are "Name: value".
func (d *door) call(method, path, body string, headers ...string) answer {
	d.t.Helper()
	r, err := http.NewRequestWithContext(d.t.Context(), method, d.URL+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		d.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	a := answer{status: response.StatusCode, header: response.Header}
	_ = json.NewDecoder(response.Body).Decode(&a.body) // what is no JSON object is none
	return a
}

// want fails unless the status is that, and the code of a refusal is that; "" is
// an answer of the app itself.
func (d *door) want(a answer, status int, code string) {
	d.t.Helper()
	got, _ := a.body["code"].(string)
	if a.status != status || (code != "" && got != code) {
		d.t.Errorf("answered %d %q %v, want %d %q", a.status, got, a.body, status, code)
	}
}
