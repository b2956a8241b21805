// Command demo runs the whole product on one machine, with nothing but Go: a
// workspace app, a Redis in memory (or a real one), and the sidecar in front.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"golang.org/x/sync/errgroup"

	"github.com/sallyport/sallyport/cmd/workspace/portal"
	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/redisstore"
	"github.com/sallyport/sallyport/sidecar/seal"
	"github.com/sallyport/sallyport/sidecar/server"
)

// settings are what a user of the demo may choose.
type settings struct {
	port, opsPort, redis, dir string
	verbose                   bool
}

func main() {
	var s settings
	flag.StringVar(&s.port, "port", "8080", "port of the workspace on 127.0.0.1")
	flag.StringVar(&s.opsPort, "ops-port", "9090", "port of health, readiness and metrics on 127.0.0.1")
	flag.StringVar(&s.redis, "redis", "", "URL of a real Redis (default: one in memory)")
	flag.StringVar(&s.dir, "dir", ".demo", "folder of the policy and the keys")
	flag.BoolVar(&s.verbose, "v", false, "write the sidecar's log to the terminal instead of a file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, s, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings, out io.Writer) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("make the demo's folder: %w", err)
	}
	logTo, err := s.logFile()
	if err != nil {
		return err
	}
	defer func() { _ = logTo.Close() }()
	log := slog.New(slog.NewJSONHandler(logTo, nil))
	redis.SetLogger(&logging.VoidLogger{}) // what matters is in the sidecar's log
	traffic, err := listen(ctx, s.port, "PORT")
	if err != nil {
		return err
	}
	ops, err := listen(ctx, s.opsPort, "OPS_PORT")
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	app, err := startApp(ctx, group, log)
	if err != nil {
		return err
	}
	sidecar, release, err := s.sidecar(app, log)
	if err != nil {
		return err
	}
	defer release()
	group.Go(func() error { return sidecar.Run(ctx, traffic, ops) })
	s.explain(out)
	err = group.Wait()
	fmt.Fprintln(out, "\nThe demo has ended.")
	return err
}

// listen on loopback only: the demo's passwords are public.
func listen(ctx context.Context, port, variable string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return nil, fmt.Errorf("%w; choose another port: make demo %s=…", err, variable)
	}
	return listener, nil
}

func (s settings) logFile() (*os.File, error) {
	if s.verbose {
		return os.Stderr, nil
	}
	file, err := os.OpenFile(filepath.Join(s.dir, "sidecar.log"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	return file, nil
}

// startApp serves the workspace app on a port of its own, which only the sidecar knows.
func startApp(ctx context.Context, group *errgroup.Group, log *slog.Logger) (*url.URL, error) {
	app, err := portal.New(portal.Config{Users: portal.DemoUsers(), Clock: time.Now, Random: rand.Reader, Log: log})
	if err != nil {
		return nil, fmt.Errorf("start the workspace app: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the workspace app: %w", err)
	}
	base, cut := context.WithCancel(context.WithoutCancel(ctx))
	httpServer := &http.Server{
		Handler: app.Handler(), ReadHeaderTimeout: 5 * time.Second,
		BaseContext: func(net.Listener) context.Context { return base },
	}
	group.Go(func() error {
		if err := httpServer.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		cut()
		return httpServer.Close()
	})
	return &url.URL{Scheme: "http", Host: listener.Addr().String()}, nil
}

func (s settings) sidecar(app *url.URL, log *slog.Logger) (*server.Server, func(), error) {
	keys, err := s.keep("keys.json", func() ([]byte, error) { return seal.Generate(rand.Reader, time.Now()) })
	if err != nil {
		return nil, nil, err
	}
	if _, err := s.keep("policy.yaml", func() ([]byte, error) { return []byte(demoPolicy), nil }); err != nil {
		return nil, nil, err
	}
	redisURL, epochFile := s.redis, filepath.Join(s.dir, "epoch.json")
	stopRedis := func() {}
	if redisURL == "" {
		memory, err := miniredis.Run()
		if err != nil {
			return nil, nil, fmt.Errorf("start a Redis in memory: %w", err)
		}
		stopRedis = memory.Close
		redisURL, epochFile = "redis://"+memory.Addr(), "" // it forgets everything anyway
	}
	client, err := redisstore.Dial(redisstore.Options{URL: redisURL})
	if err != nil {
		return nil, nil, fmt.Errorf("REDIS: %w", err)
	}
	release := func() {
		_ = client.Close()
		stopRedis()
	}
	sidecar, err := server.New(server.Options{
		PolicyFile: filepath.Join(s.dir, "policy.yaml"), Keys: keys, Redis: client, KeyPrefix: "sallyport-demo",
		EpochFile: epochFile, App: app, Hasher: mfa.NewHasher(), InsecureCookies: true, Recheck: 5 * time.Second, Drain: 3 * time.Second,
		Version: "demo", Clock: time.Now, Random: rand.Reader, Log: log,
	})
	if err != nil {
		release()
		return nil, nil, err
	}
	return sidecar, release, nil
}

// keep returns a file of the demo's folder, made on the first start and never
// overwritten.
func (s settings) keep(name string, content func() ([]byte, error)) ([]byte, error) {
	path := filepath.Join(s.dir, name)
	kept, err := os.ReadFile(path) //nolint:gosec // the folder is the user's choice, the name is ours
	if err == nil {
		return kept, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	fresh, err := content()
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", path, err)
	}
	if err := os.WriteFile(path, fresh, 0o600); err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return fresh, nil
}
