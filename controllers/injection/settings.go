package injection

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sallyport/sallyport/api/policy"
	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// Operator is what every pod of the cluster is injected with.
type Operator struct {
	// Image of the sidecar.
	Image string
	// Version of the operator, for people to read on the pod.
	Version string
	// PullPolicy of the Image. Default: IfNotPresent.
	PullPolicy corev1.PullPolicy
	// ExtraArgs follow the sidecar's own arguments, as they are. The backstop of
	// package admission admits --redis-key-prefix and no other.
	ExtraArgs []string
	// HookKey is a secret from which the tokens of captured lifecycle hooks are made;
	// all replicas of the operator must have the same. Without it, pods with such
	// hooks are refused. It is no part of the Revision.
	HookKey []byte
}

// Settings are what the pods of one policy are injected with.
type Settings struct {
	// Namespace and Policy name the policy.
	Namespace, Policy string
	Operator
	// App is the app's port.
	App policy.Port
	// Capture is Port or Redirect.
	Capture mfav1alpha1.Capture
	// Resources of the injected containers.
	Resources corev1.ResourceRequirements
	// LogLevel of the sidecar.
	LogLevel string
	// RedisKey is the key of the namespace's Secret that says how to reach Redis.
	RedisKey string
}

const (
	podSecurityEnforce    = "pod-security.kubernetes.io/enforce"
	podSecurityPrivileged = "privileged"
)

// ResolveCapture decides Auto: Redirect, unless the namespace enforces a Pod Security
// level that forbids it. A level that is not known is enforced as restricted.
func ResolveCapture(want mfav1alpha1.Capture, namespaceLabels map[string]string) mfav1alpha1.Capture {
	if want != mfav1alpha1.CaptureAuto && want != "" {
		return want
	}
	level, enforced := namespaceLabels[podSecurityEnforce]
	if enforced && level != podSecurityPrivileged {
		return mfav1alpha1.CapturePort
	}
	return mfav1alpha1.CaptureRedirect
}

// For returns the Settings of a policy, with the defaults filled in. Capture is what
// ResolveCapture returned.
func For(p *mfav1alpha1.MFAPolicy, capture mfav1alpha1.Capture, o Operator) Settings {
	s := Settings{
		Namespace: p.Namespace, Policy: p.Name, Operator: o,
		App: p.Spec.App.Port, Capture: capture,
		Resources: defaultResources(),
		LogLevel:  cmp.Or(string(p.Spec.Sidecar.LogLevel), "info"),
		RedisKey:  mfav1alpha1.RedisKey,
	}
	if p.Spec.Sidecar.Resources != nil {
		s.Resources = *p.Spec.Sidecar.Resources.DeepCopy()
	}
	if p.Spec.Redis != nil {
		s.RedisKey = mfav1alpha1.RedisKeyOf(p.Name)
	}
	return s
}

func defaultResources() corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{
			corev1.ResourceCPU:    resource.MustParse("10m"),
			corev1.ResourceMemory: resource.MustParse("32Mi"),
		},
		Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("128Mi")},
	}
}

// Revision is a hash of everything that changes what is injected. It is made of the
// containers and volumes themselves, so that it changes too when this package does.
func (s Settings) Revision() string {
	injected := struct {
		Capture                    mfav1alpha1.Capture
		App                        policy.Port
		Sidecar, Redirect, Volumes any
	}{s.Capture, s.App, s.sidecar(taken{}, nil), s.redirect(0, nil), s.volumes()}
	document, err := json.Marshal(injected)
	if err != nil {
		panic(fmt.Sprintf("marshal Kubernetes types: %v", err)) // they always can be
	}
	sum := sha256.Sum256(document)
	return hex.EncodeToString(sum[:10])
}

// check reports Settings that nothing could be injected with.
func (s Settings) check() error {
	switch {
	case s.Namespace == "" || s.Policy == "":
		return fmt.Errorf("settings of the injection: no policy")
	case s.Image == "":
		return fmt.Errorf("settings of the injection: no image")
	case s.RedisKey == "":
		return fmt.Errorf("settings of the injection: no key for Redis")
	case s.App.Name == "" && (s.App.Number < 1 || s.App.Number > 65535):
		return fmt.Errorf("settings of the injection: app.port is %d", s.App.Number)
	case s.Capture != mfav1alpha1.CapturePort && s.Capture != mfav1alpha1.CaptureRedirect:
		return fmt.Errorf("settings of the injection: capture is %q", s.Capture)
	}
	return nil
}
