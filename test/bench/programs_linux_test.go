package bench_test

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sallyport/sallyport/test/stack"
)

// program is a running process that listens.
type program struct {
	name, addr string
	pid        int
	began      time.Time
	log        string // path
	done       chan struct{}
	process    *os.Process
}

// sidecar is the product, as `make build` builds it.
type sidecar struct {
	*program
	ops string
	// ready is how long it took until it was.
	ready time.Duration
}

// program is the path of one that make built.
func (b *bench) built(name string) string {
	b.Helper()
	path, err := filepath.Abs(filepath.Join(*programs, name))
	b.must("find "+name, err)
	if _, err := os.Stat(path); *programs == "" || err != nil {
		b.Fatalf("there is no program %s in -programs %q: run make bench, which builds them", name, *programs)
	}
	return path
}

// start runs a program on a core until the test ends.
func (b *bench) start(name, addr string, core int, env []string, path string, args ...string) *program {
	b.Helper()
	p := &program{name: name, addr: addr, done: make(chan struct{}), log: b.path(fmt.Sprintf("%s-%d.log", name, time.Now().UnixNano()))}
	log, err := os.Create(p.log)
	b.must("make a log", err)
	if b.machine.pinned {
		args = append([]string{"-c", strconv.Itoa(core), path}, args...)
		path = "taskset" // which becomes the program: the process stays the same
	}
	cmd := exec.Command(path, args...) //nolint:noctx // it outlives every context, and ends in stop
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The kernel ties "die with the parent" to the thread that forked.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		defer log.Close()
		p.began = time.Now()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	b.must("start "+name, <-started)
	p.process, p.pid = cmd.Process, cmd.Process.Pid
	b.Cleanup(func() {
		b.stop(p)
		if text := b.tail(p); b.Failed() && text != "" {
			b.Logf("the last that %s said:\n%s", p.name, text)
		}
	})
	return p
}

// stop ends a program and waits until it has ended.
func (b *bench) stop(p *program) {
	if err := p.process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		b.Errorf("end %s: %v", p.name, err)
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		_ = p.process.Kill()
		<-p.done
	}
}

// await tries until the program answers as it should. It looks every half millisecond,
// for the time until then is one of the figures.
func (b *bench) await(p *program, try func(context.Context) error) time.Duration {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(time.Millisecond / 2)
	defer ticker.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return time.Since(p.began)
		}
		select {
		case <-ticker.C:
		case <-p.done:
			b.Fatalf("%s has ended; it said:\n%s", p.name, b.tail(p))
		case <-ctx.Done():
			b.Fatalf("%s is not ready after %s: %v; it said:\n%s", p.name, patience, err, b.tail(p))
		}
	}
}

// tail is the last that a program said.
func (b *bench) tail(p *program) string {
	text := b.file(p.log)
	return text[max(0, len(text)-2000):]
}

func (b *bench) awaitPort(p *program) time.Duration {
	b.Helper()
	return b.await(p, func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.addr)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

func (b *bench) startApp() *program {
	b.Helper()
	addr := stack.FreeAddress(b)
	p := b.start("app", addr, b.machine.other, nil, b.built("app"), "-listen", addr)
	b.awaitPort(p)
	return p
}

func (b *bench) startBare() *program {
	b.Helper()
	addr := stack.FreeAddress(b)
	p := b.start("bare", addr, b.machine.proxies, nil, b.built("bare"), "-listen", addr, "-app", "http://"+b.app.addr)
	b.awaitPort(p)
	return p
}

// nginxConf is a plain proxy with one worker that keeps its connections on both sides
// for as long as a run takes, and writes no access log, as the others do not.
const nginxConf = `daemon off;
worker_processes 1;
pid %[1]s/nginx.pid;
error_log stderr error;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 100000000;
  client_body_temp_path %[1]s/nginx-body;
  proxy_temp_path %[1]s/nginx-proxy;
  fastcgi_temp_path %[1]s/nginx-fastcgi;
  uwsgi_temp_path %[1]s/nginx-uwsgi;
  scgi_temp_path %[1]s/nginx-scgi;
  upstream app { server %[2]s; keepalive 256; keepalive_requests 100000000; }
  server {
    listen %[3]s;
    location / {
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
    }
  }
}
`

// startNginx returns nil where there is no nginx: the run goes on, and says so.
func (b *bench) startNginx() *program {
	b.Helper()
	path, err := exec.LookPath("nginx")
	if err != nil {
		path = "/usr/sbin/nginx" // where Debian has it, which is not on everybody's PATH
	}
	out, err := exec.CommandContext(b.Context(), path, "-v").CombinedOutput()
	if err != nil {
		b.noNginx = "there is none on this machine; test/setup/install --bench brings it"
		b.say("without nginx: %s", b.noNginx)
		return nil
	}
	_, b.machine.nginx, _ = strings.Cut(strings.TrimSpace(string(out)), "/")
	addr, conf := stack.FreeAddress(b), b.path("nginx.conf")
	b.must("configure nginx", os.WriteFile(conf, fmt.Appendf(nil, nginxConf, b.dir, b.app.addr, addr), 0o600))
	p := b.start("nginx", addr, b.machine.proxies, nil, path, "-c", conf, "-p", b.dir, "-e", "stderr")
	b.awaitPort(p)
	return p
}

// startRival starts oauth2-proxy where the run compares with it, and signs somebody in:
// by a password of its own, so that the run needs no identity provider. The session is
// in the cookie, as is its default. It writes no log of requests, as the others do not.
func (b *bench) startRival() {
	b.Helper()
	if *rival == "" {
		return
	}
	out, err := exec.CommandContext(b.Context(), *rival, "--version").Output()
	b.must("ask oauth2-proxy who it is", err)
	b.machine.rival = strings.Join(strings.Fields(string(out))[:2], " ")
	sum := sha1.Sum([]byte("alice")) // a form of password that its file may have
	users := b.path("users")
	b.must("write a password", os.WriteFile(users, []byte("alice:{SHA}"+base64.StdEncoding.EncodeToString(sum[:])+"\n"), 0o600))
	addr := stack.FreeAddress(b)
	nowhere := "http://127.0.0.1:1/"
	b.rival = b.start("oauth2-proxy", addr, b.machine.proxies, nil, *rival,
		"--http-address", addr, "--upstream", "http://"+b.app.addr+"/", "--htpasswd-file", users, "--email-domain", "*",
		"--cookie-secret", rand.Text()[:16], "--cookie-secure=false", "--request-logging=false", "--auth-logging=false",
		"--provider", "oidc", "--skip-oidc-discovery", "--oidc-issuer-url", nowhere, "--login-url", nowhere, "--redeem-url", nowhere,
		"--oidc-jwks-url", nowhere, "--redirect-url", "http://"+addr+"/oauth2/callback", "--client-id", "bench", "--client-secret", "bench")
	b.awaitPort(b.rival)
	const session = "_oauth2_proxy"
	browser := b.newBrowser(b.rival)
	answer := browser.Post("/oauth2/sign_in", url.Values{"username": {"alice"}, "password": {"alice"}})
	if browser.Cookie(session) == "" {
		b.Fatalf("oauth2-proxy answered %d and set no session cookie; it said:\n%s", answer.Status, b.tail(b.rival))
	}
	b.rivalCookie = session + "=" + browser.Cookie(session)
	b.say("%s has signed somebody in", b.machine.rival)
}

// writePolicy writes the rules and the keys that every sidecar of the run has.
func (b *bench) writePolicy() {
	b.Helper()
	_, port, err := net.SplitHostPort(b.app.addr)
	b.must("read the app's address", err)
	document, err := json.Marshal(map[string]any{
		"apiVersion": "mfa.sallyport.dev/v1alpha1", "kind": "MFAPolicy",
		"metadata": map[string]any{"name": "bench", "namespace": "bench"},
		"spec": map[string]any{
			"selector": map[string]any{}, "issuer": "Bench", "app": map[string]any{"port": json.Number(port)},
			"identity": map[string]any{"type": "Endpoint", "endpoint": map[string]any{
				"path": "/api/me", "cookies": []string{"session"}, "account": "/username",
			}},
		},
	})
	b.must("write the policy", err)
	b.must("write the policy", os.WriteFile(b.path("policy.yaml"), document, 0o600))
	keys, err := exec.CommandContext(b.Context(), b.built("sidecar"), "keys").Output()
	b.must("make the keys", err)
	b.must("write the keys", os.WriteFile(b.path("keys.json"), keys, 0o600))
}

// startSidecar starts one and waits until it is ready.
func (b *bench) startSidecar() *sidecar {
	b.Helper()
	s := &sidecar{ops: stack.FreeAddress(b)}
	addr := stack.FreeAddress(b)
	s.program = b.start("sidecar", addr, b.machine.proxies, nil, b.built("sidecar"),
		"--policy", b.path("policy.yaml"), "--keys", b.path("keys.json"), "--redis", b.redisURL, "--app", "http://"+b.app.addr,
		"--listen", addr, "--ops-listen", s.ops, "--insecure-cookies")
	s.ready = b.awaitReady(s)
	return s
}

func (b *bench) awaitReady(s *sidecar) time.Duration {
	b.Helper()
	return b.await(s.program, func(ctx context.Context) error {
		body, status, err := fetch(ctx, "http://"+s.ops+"/readyz")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("/readyz answers %d: %s", status, body)
		}
		return err
	})
}

// fetch asks once, on a connection of its own.
func fetch(ctx context.Context, url string) (body []byte, status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, 0, err
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, 0, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	return body, response.StatusCode, err
}

// counters are what the app has counted.
type counters struct {
	Pages    int64 `json:"pages"`
	Verified int64 `json:"verified"`
	Asked    int64 `json:"asked"`
}

func (b *bench) counters() counters {
	b.Helper()
	body, _, err := fetch(b.Context(), "http://"+b.app.addr+"/counters")
	b.must("ask the app what it counted", err)
	var c counters
	b.must("ask the app what it counted", json.Unmarshal(body, &c))
	return c
}
