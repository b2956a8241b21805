package bench_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/redisstore"
	"github.com/sallyport/sallyport/sidecar/server"
	"github.com/sallyport/sallyport/test/stack"
)

// profiledSettings is the variable by which this test's binary is told to be a sidecar
// that profiles itself. The product has no port and no flag for that, on purpose: who
// can profile a sidecar can read keys and codes out of its memory.
const profiledSettings = "SALLYPORT_BENCH_SIDECAR"

// profiled is how the sidecar of this binary runs.
type profiled struct{ Policy, Keys, Redis, App, Listen, Ops, Folder string }

// profile puts that sidecar under a verified user's load, and nothing else. It shares
// keys, policy and Redis with the one at which she passed the challenge.
func (b *bench) profile(folder string) {
	b.Helper()
	folder, err := filepath.Abs(folder)
	b.must("find the folder for profiles", err)
	b.must("make the folder for profiles", os.MkdirAll(folder, 0o750))
	self, err := os.Executable()
	b.must("find this program", err)
	s := &sidecar{ops: stack.FreeAddress(b)}
	addr := stack.FreeAddress(b)
	settings, err := json.Marshal(profiled{
		Policy: b.path("policy.yaml"), Keys: b.path("keys.json"), Redis: b.redisURL, App: "http://" + b.app.addr,
		Listen: addr, Ops: s.ops, Folder: folder,
	})
	b.must("write the settings", err)
	s.program = b.start("profiled", addr, b.machine.proxies, []string{profiledSettings + "=" + string(settings)}, self)
	b.awaitReady(s)
	b.say("profiling for %s", *duration)
	clients, err := dial(b.Context(), addr, 16, get("/page", b.alice.cookies()))
	b.must("connect", err)
	before := b.counters()
	result, err := run(clients, *duration)
	b.must("put load on", err)
	b.must("put load on", agrees(contender{verified: true}, result, before, b.counters()))
	hangUp(clients)
	b.stop(s.program)
	for _, name := range []string{cpuProfile, allocsProfile} {
		file, err := os.Stat(filepath.Join(folder, name))
		if err != nil || file.Size() == 0 {
			b.Fatalf("the sidecar wrote no %s: %v; it said:\n%s", name, err, b.tail(s.program))
		}
	}
	b.say("%d requests; look at them with: go tool pprof -http : %s", result.requests, filepath.Join(folder, cpuProfile))
}

const (
	cpuProfile    = "cpu.pprof"
	allocsProfile = "allocs.pprof"
)

// serveProfiled is a sidecar composed as its program does, with a profile of its whole
// life.
func serveProfiled(ctx context.Context, document string) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	var settings profiled
	if err := json.Unmarshal([]byte(document), &settings); err != nil {
		return fmt.Errorf("read %s: %w", profiledSettings, err)
	}
	keys, err := os.ReadFile(settings.Keys)
	if err != nil {
		return err
	}
	client, err := redisstore.Dial(redisstore.Options{URL: settings.Redis})
	if err != nil {
		return err
	}
	defer client.Close()
	app, err := url.Parse(settings.App)
	if err != nil {
		return err
	}
	s, err := server.New(server.Options{
		PolicyFile: settings.Policy, Keys: keys, KeysFile: settings.Keys, Redis: client, KeyPrefix: "sallyport", App: app, InsecureCookies: true,
		Recheck: 15 * time.Second, Drain: time.Second, Hasher: mfa.NewHasher(),
		Version: "profiled", Clock: time.Now, Random: rand.Reader, Log: slog.New(slog.NewJSONHandler(os.Stdout, nil)),
	})
	if err != nil {
		return err
	}
	traffic, err := new(net.ListenConfig).Listen(ctx, "tcp", settings.Listen)
	if err != nil {
		return err
	}
	ops, err := new(net.ListenConfig).Listen(ctx, "tcp", settings.Ops)
	if err != nil {
		return err
	}
	cpu, err := os.Create(filepath.Join(settings.Folder, cpuProfile))
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return err
	}
	if err := s.Run(ctx, traffic, ops); err != nil {
		return err
	}
	pprof.StopCPUProfile()
	if err := cpu.Close(); err != nil {
		return err
	}
	allocs, err := os.Create(filepath.Join(settings.Folder, allocsProfile))
	if err != nil {
		return err
	}
	if err := pprof.Lookup("allocs").WriteTo(allocs, 0); err != nil {
		return err
	}
	return allocs.Close()
}
