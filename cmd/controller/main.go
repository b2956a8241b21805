// Command controller is the operator: it turns MFAPolicies into what the cluster and
// the sidecars obey, and injects the sidecar into the pods that a policy selects.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"
)

// version is set by the linker.
var version = "dev"

const (
	exitFailed  = 1
	exitUsage   = 2
	exitRefused = 3
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	if err == nil {
		return
	}
	fmt.Fprintf(os.Stderr, "controller: %v\n", err)
	if _, ok := errors.AsType[*usageError](err); ok {
		os.Exit(exitUsage)
	}
	if _, ok := errors.AsType[*refusal](err); ok {
		os.Exit(exitRefused)
	}
	os.Exit(exitFailed)
}

// usageError is a mistake on the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() + " (see controller --help)" }
func (e *usageError) Unwrap() error { return e.err }

type flags struct {
	namespace, serviceAccount     string
	sidecarImage, pullPolicy      string
	redisDir, keyPrefix           string
	redisPasswordSecret           string
	redisUsers, networkPolicies   bool
	webhookListen, webhookService string
	webhookURL, certDir           string
	metricsListen, healthListen   string
	leaderElect                   bool
	resync, enrolmentCount        time.Duration
	concurrency                   int
	logLevel                      string
}

const long = `The controller reconciles MFAPolicies: it delivers keys, publishes the rules to the
sidecars, keeps the admission rules that send a policy's pods to its injector, and
says in each policy's status what is in force.

It talks to the cluster of its service account, or of KUBECONFIG. Secrets are read
from files, never from flags.`

const example = `  controller --sidecar-image registry.example.com/sallyport-sidecar:v1 --redis-dir /etc/sallyport/redis`

func command() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use: "controller --sidecar-image IMAGE --redis-dir DIR", Short: "The operator of MFAPolicies",
		Long: long, Example: example, Version: version, Args: cobra.NoArgs,
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), &f) },
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.AddCommand(uninstallCommand())
	p := cmd.Flags()
	p.SortFlags = false
	p.StringVar(&f.sidecarImage, "sidecar-image", "", "image of the sidecar that pods are injected with (required)")
	p.StringVar(&f.pullPolicy, "sidecar-pull-policy", "IfNotPresent", "when that image is pulled: Always, IfNotPresent or Never")
	p.StringVar(&f.redisDir, "redis-dir", "", "folder that says how Redis is reached, one file each (required): url, and where there is one "+
		"username, password, ca.crt, tls.crt, tls.key, server-name, sentinel-username, "+
		"sentinel-password, wait-replicas")
	p.StringVar(&f.redisPasswordSecret, "redis-password-secret", "", "Secret of the operator's namespace with the password of Redis, which is made where "+
		"there is none (default: the password is in the folder)")
	p.StringVar(&f.keyPrefix, "redis-key-prefix", "sallyport", "what every Redis key begins with")
	p.BoolVar(&f.redisUsers, "redis-users", false, "keep a Redis user for each namespace, confined to its keys (Redis 7; needs the right to run ACL)")
	p.BoolVar(&f.networkPolicies, "network-policies", true, "close the app's own port by a NetworkPolicy where capture is Port")
	p.StringVar(&f.namespace, "namespace", os.Getenv("POD_NAMESPACE"), "namespace of the operator (default: POD_NAMESPACE)")
	p.StringVar(&f.serviceAccount, "service-account", "sallyport-controller", "service account of the operator, for the messages that name it")
	p.StringVar(&f.webhookListen, "webhook-listen", ":9443", "address for the API server's requests")
	p.StringVar(&f.webhookService, "webhook-service", "sallyport-webhook", "Service through which the API server reaches them")
	p.StringVar(&f.webhookURL, "webhook-url", "", "https URL in place of that Service, for an operator outside the cluster")
	p.StringVar(&f.certDir, "cert-dir", "", "folder with tls.crt, tls.key and ca.crt, such as cert-manager's (default: certificates of its own)")
	p.StringVar(&f.metricsListen, "metrics-listen", ":8080", "address for /metrics, 0 for none")
	p.StringVar(&f.healthListen, "health-listen", ":8081", "address for /healthz and /readyz, 0 for none")
	p.BoolVar(&f.leaderElect, "leader-elect", true, "let one of several replicas reconcile; all of them inject")
	p.DurationVar(&f.resync, "resync", 30*time.Second, "how often a policy at rest is looked at again")
	p.DurationVar(&f.enrolmentCount, "enrolment-count", 5*time.Minute, "how often enrolled users are counted")
	p.IntVar(&f.concurrency, "concurrency", 4, "how many policies are reconciled at a time")
	p.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	return cmd
}

func run(ctx context.Context, f *flags) error {
	if err := f.check(); err != nil {
		return err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return &usageError{fmt.Errorf("--log-level %q: write debug, info, warn or error", f.logLevel)}
	}
	ctrl.SetLogger(logr.FromSlogHandler(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: level})))
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the cluster: %w; set KUBECONFIG, or run in a pod", err)
	}
	o, err := newOperator(f, config)
	if err != nil {
		return err
	}
	defer o.stores.Close()
	if err := o.manager.Start(ctx); err != nil {
		return fmt.Errorf("run the operator: %w", err)
	}
	return nil
}

func (f *flags) check() error {
	for _, required := range []struct{ flag, value string }{
		{"sidecar-image", f.sidecarImage}, {"redis-dir", f.redisDir}, {"namespace", f.namespace},
	} {
		if required.value == "" {
			return &usageError{fmt.Errorf("--%s is required", required.flag)}
		}
	}
	if f.webhookURL != "" && !strings.HasPrefix(f.webhookURL, "https://") {
		return &usageError{fmt.Errorf("--webhook-url %q: the API server takes https only", f.webhookURL)}
	}
	if f.concurrency < 1 {
		return &usageError{fmt.Errorf("--concurrency %d: write at least 1", f.concurrency)}
	}
	switch f.pullPolicy {
	case "Always", "IfNotPresent", "Never":
	default:
		return &usageError{fmt.Errorf("--sidecar-pull-policy %q: write Always, IfNotPresent or Never", f.pullPolicy)}
	}
	return nil
}
