// Command sidecar is the second door: it stands in front of one web app and asks
// whoever the policy covers for a second factor.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/redisstore"
	"github.com/sallyport/sallyport/sidecar/server"
)

// version is set by the linker.
var version = "dev"

const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	if err == nil {
		return
	}
	fmt.Fprintf(os.Stderr, "sidecar: %v\n", err)
	if _, ok := errors.AsType[*usageError](err); ok {
		os.Exit(exitUsage)
	}
	os.Exit(exitFailed)
}

// usageError is a mistake on the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() + " (see sidecar --help)" }
func (e *usageError) Unwrap() error { return e.err }

type flags struct {
	policy, listen, ops, app, keys, epoch, keyPrefix, logLevel string
	redis                                                      redisstore.Options
	replicas                                                   int
	insecureCookies                                            bool
	drain, recheck                                             time.Duration
}

const long = `The sidecar stands in front of one web app. It learns from the app who is signed
in, asks whoever the policy covers for a second factor, and passes everything else
through. Its rules are an MFAPolicy manifest; it follows the file as it changes.

Secrets are read from files, never from flags. Nothing passes while the policy,
the keys or Redis cannot be read.`

const example = `  sidecar --policy policy.yaml --keys keys.json --redis redis://127.0.0.1:6379/0
  sidecar --policy policy.yaml --keys keys.json --redis rediss://redis:6379 \
          --redis-username-file /run/redis/username --redis-password-file /run/redis/password
  sidecar --policy policy.yaml --keys keys.json --redis redis+sentinel://s1:26379,s2:26379/mymaster/0
  sidecar keys > keys.json     # a new key ring; keep it: enrolments cannot be read without it`

func command() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use: "sidecar --policy FILE --keys FILE --redis URL", Short: "Two-factor authentication in front of a web app",
		Long: long, Example: example, Version: version, Args: noArgs,
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), f) },
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	cmd.CompletionOptions.DisableDefaultCmd = true
	p := cmd.Flags()
	p.SortFlags = false
	p.StringVar(&f.policy, "policy", "", "the MFAPolicy manifest, YAML or JSON (required)")
	p.StringVar(&f.keys, "keys", "", "the key ring file (required); 'sidecar keys' makes one")
	p.StringVar(&f.redis.URL, "redis", "",
		"Redis (required): redis://, rediss://, redis+sentinel://, rediss+sentinel://, redis+cluster:// or rediss+cluster://")
	p.StringVar(&f.redis.UsernameFile, "redis-username-file", "", "file with the Redis user name")
	p.StringVar(&f.redis.PasswordFile, "redis-password-file", "", "file with the Redis password; read again at each connection")
	p.StringVar(&f.redis.CAFile, "redis-ca-file", "", "PEM file of the authority that signs Redis's certificate")
	p.StringVar(&f.redis.CertFile, "redis-cert-file", "", "PEM file of the client certificate for Redis")
	p.StringVar(&f.redis.KeyFile, "redis-key-file", "", "PEM file of the client certificate's key")
	p.StringVar(&f.redis.ServerName, "redis-server-name", "", "name that Redis's certificate must have (default: the host that is dialled)")
	p.StringVar(&f.redis.SentinelUsernameFile, "redis-sentinel-username-file", "", "file with the Sentinels' user name")
	p.StringVar(&f.redis.SentinelPasswordFile, "redis-sentinel-password-file", "", "file with the Sentinels' password")
	p.IntVar(&f.replicas, "redis-wait-replicas", 0, "replicas that must acknowledge a spent code before it counts")
	p.StringVar(&f.keyPrefix, "redis-key-prefix", "sallyport", "what every Redis key begins with")
	p.StringVar(&f.epoch, "epoch-file", "", "file that remembers which store held the enrolments, so that a lost store is noticed")
	p.StringVar(&f.listen, "listen", ":15080", "address for the app's traffic")
	p.StringVar(&f.ops, "ops-listen", ":15090", "address for /healthz, /readyz and /metrics")
	p.StringVar(&f.app, "app", "", "origin of the app (default http://127.0.0.1 on the policy's app.port)")
	p.BoolVar(&f.insecureCookies, "insecure-cookies", false, "cookies without Secure, for development over plain HTTP only")
	p.DurationVar(&f.drain, "drain", 25*time.Second, "how long requests in flight may take after SIGTERM")
	p.DurationVar(&f.recheck, "recheck", 15*time.Second, "how often open streams and WebSockets are decided again")
	p.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	cmd.AddCommand(keysCommand())
	return cmd
}

func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{fmt.Errorf("unexpected argument %q", args[0])}
	}
	return nil
}

func run(ctx context.Context, f flags) error {
	options, err := f.options()
	if err != nil {
		return err
	}
	defer options.Redis.Close()
	s, err := server.New(options)
	if err != nil {
		return err
	}
	traffic, err := listen(ctx, f.listen)
	if err != nil {
		return err
	}
	ops, err := listen(ctx, f.ops)
	if err != nil {
		return err
	}
	return s.Run(ctx, traffic, ops)
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", address, err)
	}
	return listener, nil
}

func (f *flags) options() (server.Options, error) {
	for _, required := range []struct{ flag, value string }{
		{"policy", f.policy}, {"keys", f.keys}, {"redis", f.redis.URL},
	} {
		if required.value == "" {
			return server.Options{}, &usageError{fmt.Errorf("--%s is required", required.flag)}
		}
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return server.Options{}, &usageError{fmt.Errorf("--log-level %q: write debug, info, warn or error", f.logLevel)}
	}
	app, err := parseApp(f.app)
	if err != nil {
		return server.Options{}, err
	}
	keys, err := os.ReadFile(f.keys)
	if err != nil {
		return server.Options{}, fmt.Errorf("read the key ring: %w; make one with: sidecar keys > %s", err, f.keys)
	}
	client, err := redisstore.Dial(f.redis)
	if err != nil {
		return server.Options{}, fmt.Errorf("--redis: %w", err)
	}
	log := slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: level}))
	redis.SetLogger(redisLog{log}) // the library has one logger for the whole process
	if f.insecureCookies {
		log.Warn("Cookies are served without Secure: for development only")
	}
	return server.Options{
		PolicyFile: f.policy, Keys: keys, Redis: client, KeyPrefix: f.keyPrefix, Replicas: f.replicas,
		EpochFile: f.epoch, App: app, InsecureCookies: f.insecureCookies, Recheck: f.recheck, Drain: f.drain,
		Hasher:  mfa.NewHasher(),
		Version: version, Clock: time.Now, Random: rand.Reader, Log: log,
	}, nil
}

// redisLog puts the Redis client's remarks into our log.
type redisLog struct{ log *slog.Logger }

func (l redisLog) Printf(ctx context.Context, format string, args ...any) {
	l.log.DebugContext(ctx, "The Redis client remarked", slog.String("remark", fmt.Sprintf(format, args...)))
}

func parseApp(raw string) (*url.URL, error) {
	if raw == "" {
		return nil, nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" || u.Host == "" || (u.Path != "" && u.Path != "/") || u.User != nil {
		return nil, &usageError{fmt.Errorf("--app %q: write an origin such as http://127.0.0.1:8080", raw)}
	}
	return u, nil
}
