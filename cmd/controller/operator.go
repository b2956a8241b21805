package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers"
	"github.com/sallyport/sallyport/controllers/admission"
	"github.com/sallyport/sallyport/controllers/certs"
	"github.com/sallyport/sallyport/controllers/injection"
	"github.com/sallyport/sallyport/controllers/keys"
	"github.com/sallyport/sallyport/controllers/rollout"
	"github.com/sallyport/sallyport/controllers/webhook"
	"github.com/sallyport/sallyport/sidecar/redisstore"
)

const (
	// leaderLease is what replicas elect a leader by.
	leaderLease = "sallyport-controller"
	// certificateSecret holds the webhook's certificate.
	certificateSecret = "sallyport-webhook-cert"
	// rotationEvery is how often a rotation of the keys is taken a step on.
	rotationEvery = 5 * time.Second
)

// operator is the composed program.
type operator struct {
	manager ctrl.Manager
	stores  *controllers.Stores
	// password of Redis; nil where it is in the folder.
	password *keys.RedisPassword
}

// certificates is what the webhook serves with and the API server trusts.
type certificates interface {
	controllers.Certificates
	Configure(*tls.Config)
	Changed() <-chan event.GenericEvent
	Checker(address string) healthz.Checker
}

// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=sallyport-system,resources=leases,verbs=create
// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=sallyport-system,resources=leases,resourceNames=sallyport-controller,verbs=get;update
// +kubebuilder:rbac:groups="",namespace=sallyport-system,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups="",namespace=sallyport-system,resources=secrets,resourceNames=sallyport-redis-password,verbs=get

func newOperator(f *flags, config *rest.Config) (*operator, error) {
	config.UserAgent = "sallyport-controller/" + version
	// Priority and fairness at the API server bounds us; a second bound here would only
	// make a flipped lever late.
	config.QPS = -1
	listen, err := hostPort(f.webhookListen)
	if err != nil {
		return nil, &usageError{fmt.Errorf("--webhook-listen %q: write an address such as :9443", f.webhookListen)}
	}
	o := &operator{stores: controllers.NewStores(time.Now)}
	var serving certificates
	server := ctrlwebhook.NewServer(ctrlwebhook.Options{
		Host: listen.host, Port: listen.port,
		TLSOpts: []func(*tls.Config){func(c *tls.Config) { serving.Configure(c) }},
	})
	o.manager, err = ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme(), Cache: cacheOptions(), WebhookServer: server,
		Metrics:                metricsserver.Options{BindAddress: f.metricsListen},
		HealthProbeBindAddress: f.healthListen,
		LeaderElection:         f.leaderElect, LeaderElectionID: leaderLease, LeaderElectionNamespace: f.namespace,
		LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return nil, fmt.Errorf("set up the operator: %w", err)
	}
	if serving, err = f.certificates(o.manager); err != nil {
		return nil, err
	}
	master := &keys.Master{
		Client: o.manager.GetClient(), Live: o.manager.GetAPIReader(), Namespace: f.namespace,
		Random: rand.Reader, Clock: time.Now,
	}
	ring := controllers.NewKeys(master, o.manager.GetClient(), f.keyPrefix, time.Now)
	if err := o.addInjector(f, serving, listen, ring); err != nil {
		return nil, err
	}
	if err := o.addPassword(f); err != nil {
		return nil, err
	}
	return o, o.addReconciler(f, serving, ring)
}

// certificates are cert-manager's where its folder is named, else our own.
func (f *flags) certificates(mgr ctrl.Manager) (certificates, error) {
	if f.certDir != "" {
		return certs.NewFiles(mgr, certs.FilesOptions{Dir: f.certDir, Names: f.webhookNames(), Metrics: metrics.Registry, Clock: time.Now})
	}
	return certs.NewKeeper(mgr, certs.Options{
		Secret: types.NamespacedName{Namespace: f.namespace, Name: certificateSecret},
		Names:  f.webhookNames(), Metrics: metrics.Registry, Clock: time.Now, Random: rand.Reader,
	})
}

// webhookNames are what the API server may call the webhook.
func (f *flags) webhookNames() []string {
	names := []string{f.webhookService + "." + f.namespace + ".svc"}
	if host, _, err := net.SplitHostPort(strings.TrimPrefix(f.webhookURL, "https://")); err == nil {
		names = append(names, host)
	}
	return names
}

func (f *flags) injected() injection.Operator {
	o := injection.Operator{Image: f.sidecarImage, Version: version, PullPolicy: corev1.PullPolicy(f.pullPolicy)}
	if f.keyPrefix != "sallyport" {
		o.ExtraArgs = []string{"--redis-key-prefix", f.keyPrefix}
	}
	return o
}

// addInjector has every replica serve admission.
func (o *operator) addInjector(f *flags, serving certificates, listen address, ring *controllers.Keys) error {
	injected := func(ctx context.Context) injection.Operator {
		operator := f.injected()
		var err error
		if operator.HookKey, err = ring.HookKey(ctx); err != nil {
			// Without it only pods with hooks on the app's port are refused, and told so.
			log.FromContext(ctx).Error(err, "Could not read the key of lifecycle hooks")
		}
		return operator
	}
	defaulter, err := webhook.New(o.manager.GetClient(), injected, time.Now, metrics.Registry)
	if err != nil {
		return err
	}
	if err := defaulter.SetupWithManager(o.manager); err != nil {
		return err
	}
	if err := o.manager.AddHealthzCheck("alive", healthz.Ping); err != nil {
		return fmt.Errorf("add a health check: %w", err)
	}
	// A replica that does not listen yet must not be sent pods.
	if err := o.manager.AddReadyzCheck("webhook", serving.Checker(listen.loopback())); err != nil {
		return fmt.Errorf("add a readiness check: %w", err)
	}
	return nil
}

func (o *operator) addReconciler(f *flags, serving certificates, ring *controllers.Keys) error {
	mgr := o.manager
	target := admission.Target{Namespace: f.namespace, Name: f.webhookService}
	if f.webhookURL != "" {
		target = admission.Target{URL: strings.TrimSuffix(f.webhookURL, "/") + admission.Path}
	}
	r := &controllers.MFAPolicyReconciler{
		Options: controllers.Options{
			Namespace: f.namespace, ServiceAccount: f.serviceAccount, Injected: f.injected(), Webhook: target,
			Redis: o.redis(f), KeyPrefix: f.keyPrefix,
			RedisUsers: f.redisUsers, NetworkPolicies: f.networkPolicies, Resync: f.resync,
		},
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Events: mgr.GetEventRecorder("sallyport-controller"),
		Certificates: serving, Keys: ring, Stores: o.stores,
		Census:    controllers.NewCensus(f.keyPrefix, f.enrolmentCount, time.Now),
		Restarter: &rollout.Restarter{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Clock: time.Now}, Clock: time.Now, Random: rand.Reader,
	}
	rotated := make(chan event.GenericEvent)
	everyone := handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, _ client.Object) []reconcile.Request {
		return r.AllPolicies(ctx)
	})
	err := r.SetupWithManager(mgr, controller.Options{MaxConcurrentReconciles: f.concurrency},
		source.Channel(serving.Changed(), everyone), source.Channel(rotated, everyone))
	if err != nil {
		return fmt.Errorf("set up the reconciler: %w", err)
	}
	oneOff := controllers.OneOff{
		Policies: r, Client: mgr.GetClient(), Events: mgr.GetEventRecorder("sallyport-controller"), Clock: time.Now,
	}
	resets := &controllers.MFAResetReconciler{OneOff: oneOff}
	if err := resets.SetupWithManager(mgr, controller.Options{}); err != nil {
		return fmt.Errorf("set up the reconciler of resets: %w", err)
	}
	tickets := &controllers.MFATicketReconciler{OneOff: oneOff}
	if err := tickets.SetupWithManager(mgr, controller.Options{}); err != nil {
		return fmt.Errorf("set up the reconciler of tickets: %w", err)
	}
	return mgr.Add(&controllers.Rotation{Reconciler: r, Every: rotationEvery, Changed: rotated})
}

// redis says how Redis is reached, in files and, where its name is given, in a Secret
// that is made at the start: Redis waits for it.
func (o *operator) redis(f *flags) func(context.Context) (*redisstore.Document, error) {
	if f.redisPasswordSecret == "" {
		return func(context.Context) (*redisstore.Document, error) { return readRedis(f.redisDir) }
	}
	return func(ctx context.Context) (*redisstore.Document, error) {
		document, err := readRedis(f.redisDir)
		if err != nil {
			return nil, err
		}
		document.Password, err = o.password.Get(ctx)
		return document, err
	}
}

// addPassword makes the password of Redis before anybody asks for it.
func (o *operator) addPassword(f *flags) error {
	if f.redisPasswordSecret == "" {
		return nil
	}
	o.password = &keys.RedisPassword{
		Client: o.manager.GetClient(), Live: o.manager.GetAPIReader(), Random: rand.Reader, Clock: time.Now,
		Secret: types.NamespacedName{Namespace: f.namespace, Name: f.redisPasswordSecret},
	}
	return o.manager.Add(manager.RunnableFunc(func(ctx context.Context) error {
		_, err := o.password.Get(ctx)
		return err
	}))
}

// readRedis reads how Redis is reached from a mounted Secret, again at each pass: a
// changed password is used as soon as it is there.
func readRedis(dir string) (*redisstore.Document, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read how Redis is reached: %w", err)
	}
	data := make(map[string][]byte)
	for _, entry := range entries {
		// A mounted Secret holds links to its files beside hidden folders.
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		if data[entry.Name()], err = os.ReadFile(filepath.Join(dir, entry.Name())); err != nil { //nolint:gosec // the folder is a flag
			return nil, fmt.Errorf("read how Redis is reached: %w", err)
		}
	}
	document, err := keys.FromSecret(data)
	if err != nil {
		return nil, fmt.Errorf("read how Redis is reached from %s: %w", dir, err)
	}
	return document, nil
}

// cacheOptions keep what is watched small: of Secrets the sidecars' own, of admission
// rules ours, of pods what a policy's status depends upon.
func cacheOptions() cache.Options {
	ours := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{mfav1alpha1.ManagedByLabel: mfav1alpha1.ManagedBy})}
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {Field: fields.OneTermEqualSelector(metav1.ObjectNameField, mfav1alpha1.SidecarSecret)},
			&corev1.Pod{}:    {Transform: slim},
			&admissionregistrationv1.MutatingWebhookConfiguration{}:     ours,
			&admissionregistrationv1.ValidatingAdmissionPolicy{}:        ours,
			&admissionregistrationv1.ValidatingAdmissionPolicyBinding{}: ours,
		},
	}
}

// slim drops from a pod what nobody here reads: the environment of its containers,
// where people put secrets, first of all.
func slim(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	pod.ManagedFields = nil
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			c := &containers[i]
			c.Env, c.EnvFrom, c.Command, c.VolumeMounts = nil, nil, nil, nil
			if c.Name != mfav1alpha1.SidecarContainer && c.Name != mfav1alpha1.RedirectContainer {
				c.Args = nil
			}
		}
	}
	pod.Spec.Volumes, pod.Spec.Tolerations, pod.Spec.Affinity = nil, nil, nil
	pod.Status.Conditions, pod.Status.ContainerStatuses = nil, nil
	pod.Status.InitContainerStatuses = slices.DeleteFunc(pod.Status.InitContainerStatuses, func(c corev1.ContainerStatus) bool {
		return c.Name != mfav1alpha1.SidecarContainer && c.Name != mfav1alpha1.RedirectContainer
	})
	return pod, nil
}

func scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(s))
	utilruntime.Must(mfav1alpha1.AddToScheme(s))
	return s
}

// address is where something listens.
type address struct {
	host string
	port int
}

func hostPort(listen string) (address, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return address{}, err
	}
	number, err := strconv.Atoi(port)
	return address{host, number}, err
}

// loopback is the address from within the process.
func (a address) loopback() string {
	host := a.host
	if host == "" || net.ParseIP(host).IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, strconv.Itoa(a.port))
}
