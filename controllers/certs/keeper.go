package certs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// Options of a Keeper. Durations that are left out have defaults.
type Options struct {
	// Secret that holds everything, in the operator's namespace.
	Secret types.NamespacedName
	// Names that the certificate is for; the first is what the webhook's own health
	// check asks for. Example: sallyport-webhook.sallyport-system.svc.
	Names []string
	// AuthorityLifetime is a year by default, CertificateLifetime 60 days.
	AuthorityLifetime, CertificateLifetime time.Duration
	// Settle is how long every webhook configuration must have held a new authority
	// before its certificate is served: the time in which every API server notices.
	// Default: a minute.
	Settle time.Duration
	// Retain is how long an authority is trusted after it was replaced. Default: an hour.
	Retain time.Duration
	// Metrics is where the certificate's expiry is shown. May be left out.
	Metrics prometheus.Registerer
	// Clock and Random of the process.
	Clock  func() time.Time
	Random io.Reader
}

const (
	day = 24 * time.Hour
	// rest is how long the Secret is left alone when nothing changes it, and retry how
	// soon a failure is tried again.
	rest  = time.Hour
	retry = 2 * time.Second
	// conflicts bounds how often a replica yields to another at once.
	conflicts = 5
)

// Keeper makes and renews the webhook's certificate. Every replica runs one. They
// need no leader: whoever comes first makes a move, and a write that another was
// faster with is refused by its resource version, and looked at anew.
//
// Deleting the Secret begins anew with another authority: for the second or two until
// every webhook configuration trusts it, selected pods are refused.
type Keeper struct {
	*served
	options Options
	mgr     ctrl.Manager
	live    client.Client
	trust   trust
}

// NewKeeper is a Keeper that runs with the manager.
func NewKeeper(mgr ctrl.Manager, o Options) (*Keeper, error) {
	if len(o.Names) == 0 || o.Secret.Name == "" || o.Secret.Namespace == "" {
		return nil, errors.New("keep certificates: Options need Secret and Names")
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&o.AuthorityLifetime, 365 * day},
		{&o.CertificateLifetime, 60 * day},
		{&o.Settle, time.Minute},
		{&o.Retain, time.Hour},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	live, err := client.New(mgr.GetConfig(), client.Options{
		Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(), HTTPClient: mgr.GetHTTPClient(),
	})
	if err != nil {
		return nil, fmt.Errorf("keep certificates: %w", err)
	}
	served, err := newServed(o.Names, o.Clock, o.Metrics)
	if err != nil {
		return nil, err
	}
	k := &Keeper{
		served: served, options: o, mgr: mgr, live: live,
		trust: trust{reader: live, settle: o.Settle},
	}
	return k, mgr.Add(k)
}

// NeedLeaderElection says that every replica keeps and serves.
func (k *Keeper) NeedLeaderElection() bool { return false }

// +kubebuilder:rbac:groups="",namespace=sallyport-system,resources=secrets,verbs=create
// +kubebuilder:rbac:groups="",namespace=sallyport-system,resources=secrets,resourceNames=sallyport-webhook-cert,verbs=get;list;watch;update

// Start keeps the certificate until ctx ends. A failure never ends it: what is served
// stays good for weeks.
func (k *Keeper) Start(ctx context.Context) error {
	log := logf.FromContext(ctx).WithName("certificates").WithValues("secret", k.options.Secret.String())
	wake := make(chan struct{}, 1)
	wake <- struct{}{}
	if err := k.watch(ctx, wake); err != nil {
		return err
	}
	timer := time.NewTimer(rest)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		case <-timer.C:
		}
		again, err := k.keep(ctx)
		if err != nil && ctx.Err() == nil {
			log.Error(err, "The webhook's certificate could not be looked after")
			again = retry
		}
		timer.Reset(again)
	}
}

// watch wakes the loop when the Secret changes, through a cache of that one object:
// the operator may not read the Secrets around it.
func (k *Keeper) watch(ctx context.Context, wake chan<- struct{}) error {
	one, err := cache.New(k.mgr.GetConfig(), cache.Options{
		Scheme: k.mgr.GetScheme(), Mapper: k.mgr.GetRESTMapper(), HTTPClient: k.mgr.GetHTTPClient(),
		DefaultNamespaces: map[string]cache.Config{k.options.Secret.Namespace: {
			FieldSelector: fields.OneTermEqualSelector("metadata.name", k.options.Secret.Name),
		}},
	})
	if err != nil {
		return fmt.Errorf("watch the webhook's certificate: %w", err)
	}
	informer, err := one.GetInformer(ctx, &corev1.Secret{}, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch the webhook's certificate: %w", err)
	}
	news := func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { news() },
		UpdateFunc: func(any, any) { news() },
		DeleteFunc: func(any) { news() },
	})
	if err != nil {
		return fmt.Errorf("watch the webhook's certificate: %w", err)
	}
	go func() { _ = one.Start(ctx) }() // it ends with ctx, and never fails before
	return nil
}

// keep makes the moves that are due, adopts the outcome, and says when to look again.
func (k *Keeper) keep(ctx context.Context) (time.Duration, error) {
	for range conflicts {
		secret := new(corev1.Secret)
		err := k.live.Get(ctx, k.options.Secret, secret)
		if err != nil && !apierrors.IsNotFound(err) {
			return 0, fmt.Errorf("read the Secret: %w", err)
		}
		at, err := k.moment(ctx, secret.Data)
		if err != nil {
			return 0, err
		}
		next, err := material(secret.Data).advance(at)
		if err != nil {
			return 0, err
		}
		if reflect.DeepEqual(next, material(secret.Data)) {
			return k.adopt(next)
		}
		secret.Data = next
		err = k.write(ctx, secret)
		if err != nil && !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			return 0, fmt.Errorf("write the Secret: %w", err)
		}
	}
	return retry, nil
}

func (k *Keeper) moment(ctx context.Context, m material) (moment, error) {
	at := moment{
		lifetimes: lifetimes{k.options.AuthorityLifetime, k.options.CertificateLifetime, k.options.Retain},
		now:       k.options.Clock(), random: k.options.Random, names: k.options.Names,
	}
	if len(m[keyNext]) == 0 {
		return at, nil
	}
	// The configurations can hold it only once the bundle does.
	if !holds(k.Bundle(), m[keyNext]) {
		return at, nil
	}
	var err error
	at.trusted, err = k.trust.reached(ctx, m[keyNext], at.now)
	return at, err
}

// write stores the Secret if nobody else has since it was read. Server-side apply
// would take no notice of that.
func (k *Keeper) write(ctx context.Context, secret *corev1.Secret) error {
	owner := client.FieldOwner(mfav1alpha1.FieldManager)
	if secret.ResourceVersion != "" {
		return k.live.Update(ctx, secret, owner)
	}
	secret.ObjectMeta = metav1.ObjectMeta{
		Name: k.options.Secret.Name, Namespace: k.options.Secret.Namespace,
		Labels: map[string]string{mfav1alpha1.ManagedByLabel: mfav1alpha1.ManagedBy},
	}
	return k.live.Create(ctx, secret, owner)
}

// adopt serves the material and trusts its bundle.
func (k *Keeper) adopt(m material) (time.Duration, error) {
	cert, err := m.certificate()
	if err != nil {
		return 0, err
	}
	k.serve(cert, m.bundle())
	if len(m[keyNext]) > 0 {
		return max(k.options.Settle/6, 100*time.Millisecond), nil
	}
	return min(rest, k.options.CertificateLifetime/12, k.options.Retain/2), nil
}
