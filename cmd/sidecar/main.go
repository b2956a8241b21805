// Command sidecar is the second door: it stands in front of one web app and asks
// whoever the policy covers for a second factor.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"regexp"
	"strings"
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
	policy, follow, podName, podUID, probes                       string
	listen, ops, app, keys, epoch, keyPrefix, redisFile, logLevel string
	redis                                                         redisstore.Options
	replicas                                                      int
	insecureCookies                                               bool
	drain, recheck                                                time.Duration
}

const long = `The sidecar stands in front of one web app. It learns from the app who is signed
in, asks whoever the policy covers for a second factor, and passes everything else
through. Its rules are an MFAPolicy manifest, in a file (--policy) or published by
the controller (--follow); it obeys every change without a restart.

Secrets are read from files, never from flags. Nothing passes while the policy,
the keys or Redis cannot be read.`

const example = `  sidecar --policy policy.yaml --keys keys.json --redis redis://127.0.0.1:6379/0
  sidecar --policy policy.yaml --keys keys.json --redis rediss://redis:6379 \
          --redis-username-file /run/redis/username --redis-password-file /run/redis/password
  sidecar --policy policy.yaml --keys keys.json --redis redis+sentinel://s1:26379,s2:26379/mymaster/0
  sidecar --follow acme/portal --keys /var/run/sallyport/keys.json --redis-file /var/run/sallyport/redis.json
  sidecar keys > keys.json     # a new key ring; keep it: enrolments cannot be read without it`

func command() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "sidecar {--policy FILE | --follow NAMESPACE/POLICY} --keys FILE {--redis URL | --redis-file FILE}",
		Short: "Two-factor authentication in front of a web app",
		Long:  long, Example: example, Version: version, Args: noArgs,
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), f) },
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	cmd.CompletionOptions.DisableDefaultCmd = true
	p := cmd.Flags()
	p.SortFlags = false
	p.StringVar(&f.policy, "policy", "", "the MFAPolicy manifest, YAML or JSON; it, or --follow, is required")
	p.StringVar(&f.follow, "follow", "", "the policy that the controller publishes, as namespace/name, in place of --policy")
	p.StringVar(&f.podName, "pod-name", os.Getenv("POD_NAME"), "with --follow: the pod's name (default: $POD_NAME, or the host's name)")
	p.StringVar(&f.podUID, "pod-uid", os.Getenv("POD_UID"), "with --follow: the pod's UID (default: $POD_UID, or the host's name)")
	p.StringVar(&f.keys, "keys", "", "the key ring file (required), followed as it changes; 'sidecar keys' makes one")
	p.StringVar(&f.redis.URL, "redis", "",
		"Redis (it, or --redis-file, is required): redis://, rediss://, redis+sentinel://, rediss+sentinel://, redis+cluster:// or rediss+cluster://")
	p.StringVar(&f.redisFile, "redis-file", "",
		"JSON file that says how to reach Redis, in place of --redis and the flags below; credentials are read again at each connection")
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
	p.StringVar(&f.probes, "probes", "", "JSON list of the app's probes, to be made and answered under /probe/ on the operations port")
	p.StringVar(&f.app, "app", "", "origin of the app (default http://127.0.0.1 on the policy's app.port)")
	p.BoolVar(&f.insecureCookies, "insecure-cookies", false, "cookies without Secure, for development over plain HTTP only")
	p.DurationVar(&f.drain, "drain", 25*time.Second, "how long requests in flight may take after SIGTERM")
	p.DurationVar(&f.recheck, "recheck", 15*time.Second, "how often open streams and WebSockets are decided again")
	p.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	cmd.AddCommand(keysCommand(), redirectCommand())
	return cmd
}

func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{fmt.Errorf("unexpected argument %q", args[0])}
	}
	return nil
}

// markupFromFiles has the templates' runtime read the pages' markup from a folder for
// temporary files, where whoever may write there would write our pages.
const markupFromFiles = "TEMPL_DEV_MODE"

func run(ctx context.Context, f flags) error {
	if os.Getenv(markupFromFiles) != "" {
		return &usageError{fmt.Errorf("the variable %s is set, by which pages would come from files; unset it", markupFromFiles)}
	}
	settleMemory(memoryLimit)
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
	if err := f.check(); err != nil {
		return server.Options{}, err
	}
	follow, err := f.followed()
	if err != nil {
		return server.Options{}, err
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
	log := slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: level}))
	redis.SetLogger(redisLog{log}) // the library has one logger for the whole process
	probes, err := probesHandler(f.probes, log)
	if err != nil {
		return server.Options{}, err
	}
	client, replicas, err := f.dial()
	if err != nil {
		return server.Options{}, err
	}
	if f.insecureCookies {
		log.Warn("Cookies are served without Secure: for development only")
	}
	return server.Options{
		PolicyFile: f.policy, Follow: follow, Keys: keys, KeysFile: f.keys,
		Redis: client, KeyPrefix: f.keyPrefix, Replicas: replicas,
		EpochFile: f.epoch, App: app, InsecureCookies: f.insecureCookies, Recheck: f.recheck, Drain: f.drain,
		Hasher: mfa.NewHasher(), Probes: probes,
		Version: version, Clock: time.Now, Random: rand.Reader, Log: log,
	}, nil
}

// check finds what is missing among the flags, and what is said twice.
func (f *flags) check() error {
	for _, mistake := range []struct {
		made bool
		says string
	}{
		{f.policy == "" && f.follow == "", "--policy is required, or --follow"},
		{f.policy != "" && f.follow != "", "--policy and --follow exclude each other"},
		{f.keys == "", "--keys is required"},
		{f.redis.URL == "" && f.redisFile == "", "--redis is required, or --redis-file"},
		{f.redisFile != "" && f.describesRedis(), "--redis-file takes the place of --redis and the files beside it"},
		{f.follow != "" && f.epoch != "", "--epoch-file has no use with --follow: the controller tells the epoch"},
	} {
		if mistake.made {
			return &usageError{errors.New(mistake.says)}
		}
	}
	return nil
}

// followed is the policy to follow, nil where there is a policy file.
func (f *flags) followed() (*server.Follow, error) {
	if f.follow == "" {
		return nil, nil
	}
	namespace, name, ok := strings.Cut(f.follow, "/")
	if !ok || !kubernetesName.MatchString(namespace) || !kubernetesName.MatchString(name) {
		return nil, &usageError{fmt.Errorf("--follow %q: write namespace/policy, such as acme/portal", f.follow)}
	}
	host, err := os.Hostname()
	if err != nil && (f.podName == "" || f.podUID == "") {
		return nil, &usageError{fmt.Errorf("--pod-name and --pod-uid are required: %w", err)}
	}
	return &server.Follow{
		Namespace: namespace, Policy: name, Pod: cmp.Or(f.podName, host), PodUID: cmp.Or(f.podUID, host),
	}, nil
}

// describesRedis reports whether a flag says how to reach Redis.
func (f *flags) describesRedis() bool {
	o := f.redis
	return o.URL+o.UsernameFile+o.PasswordFile+o.CAFile+o.CertFile+o.KeyFile+o.ServerName+
		o.SentinelUsernameFile+o.SentinelPasswordFile != "" || f.replicas != 0
}

var kubernetesName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)

// dial returns a client of the Redis that the flags name, and how many of its
// replicas must acknowledge a spent code.
func (f *flags) dial() (client redis.UniversalClient, replicas int, err error) {
	flag, options, replicas := "--redis", f.redis, f.replicas
	if f.redisFile != "" {
		flag, options.Document = "--redis-file", redisstore.DocumentFile(f.redisFile)
		document, err := options.Document()
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", flag, err)
		}
		if replicas, err = document.Replicas(); err != nil {
			return nil, 0, fmt.Errorf("%s: %w", flag, err)
		}
	}
	if client, err = redisstore.Dial(options); err != nil {
		return nil, 0, fmt.Errorf("%s: %w", flag, err)
	}
	return client, replicas, nil
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
