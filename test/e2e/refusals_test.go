package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// plainPod is a pod that no policy selects, or one that a policy of its namespace does.
const plainPod = `
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: %s, labels: {app: %s}}
spec:
  terminationGracePeriodSeconds: 1
  hostNetwork: %t
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: app
    image: sallyport.test/fixture:1
    args: [serve, ":8080"]
    ports: [{name: http, containerPort: 8080}]
    resources: {requests: {cpu: 1m, memory: 8Mi}, limits: {memory: 32Mi}}
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
`

// expected is a condition that tells a person what is wrong and what to do.
type expected struct {
	condition mfav1alpha1.ConditionType
	status    metav1.ConditionStatus
	says      []string
}

// refusals does what people do wrong, and what happens to them. Each is told in words
// that say what to do, and holds up nobody else's pods.
func refusals(t *testing.T, n *node) {
	n.namespace(t, "bystander")
	for _, tt := range []struct {
		name string
		// spec is more of the policy's; objects are applied before it.
		spec    []string
		objects string
		want    expected
	}{
		{
			name: "nothing-selected",
			want: expected{mfav1alpha1.ConditionPodsProtected, metav1.ConditionTrue, []string{"No running pod is selected"}},
		},
		{
			name: "no-redis-secret", spec: []string{"redis: {secretRef: {name: shop-redis}}"},
			want: expected{mfav1alpha1.ConditionStoreReady, metav1.ConditionFalse, []string{"shop-redis"}},
		},
		{
			name: "no-redis", spec: []string{"redis: {secretRef: {name: shop-redis}}"},
			objects: redisOf("no-redis", `url: "redis://nobody.no-redis:6379/0"`),
			want:    expected{mfav1alpha1.ConditionStoreReady, metav1.ConditionFalse, []string{"nobody.no-redis", "that url in Secret shop-redis leads to it"}},
		},
		{
			name: "wrong-password", spec: []string{"redis: {secretRef: {name: shop-redis}}"},
			objects: redisOf("wrong-password", `url: "redis://sallyport-redis.`+system+`:6379/0", password: not-it`),
			want:    expected{mfav1alpha1.ConditionStoreReady, metav1.ConditionFalse, []string{"WRONGPASS", "Correct username and password in Secret shop-redis"}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n.namespace(t, tt.name)
			p := &portal{node: n, namespace: tt.name}
			if tt.objects != "" {
				n.apply(t, tt.objects)
			}
			p.policy(t, tt.spec...)
			p.awaitCondition(t, "portal", tt.want)
			n.unaffected(t)
		})
	}
	t.Run("the operator's own namespace", func(t *testing.T) { ownNamespace(t, n) })
	t.Run("two policies", func(t *testing.T) { twoPolicies(t, n) })
	t.Run("the host's network", func(t *testing.T) { hostNetwork(t, n) })
	t.Run("a quota", func(t *testing.T) { quota(t, n) })
	t.Run("an image that is not there", func(t *testing.T) { noImage(t, n) })
	t.Run("a namespace that goes", func(t *testing.T) { goingNamespace(t, n) })
}

// redisOf is a Secret that says how a Redis is reached, and the operator's right to it.
func redisOf(namespace, data string) string {
	return strings.NewReplacer("NAMESPACE", namespace, "DATA", data, "SYSTEM", system).Replace(`
apiVersion: v1
kind: Secret
metadata: {name: shop-redis, namespace: NAMESPACE}
stringData: {DATA}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: shop-redis, namespace: NAMESPACE}
rules: [{apiGroups: [""], resources: [secrets], resourceNames: [shop-redis], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: shop-redis, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: shop-redis}
subjects: [{kind: ServiceAccount, name: sallyport-controller, namespace: SYSTEM}]
`)
}

// awaitCondition waits until a policy's condition says so.
func (p *portal) awaitCondition(t *testing.T, name string, want expected) {
	t.Helper()
	until(t, fmt.Sprintf("%s of %s/%s is %s", want.condition, p.namespace, name, want.status), func(ctx context.Context) error {
		policy := new(mfav1alpha1.MFAPolicy)
		if err := p.Get(ctx, keyOf(p.namespace, name), policy); err != nil {
			return err
		}
		c := meta.FindStatusCondition(policy.Status.Conditions, string(want.condition))
		if c == nil || c.Status != want.status {
			return fmt.Errorf("%+v", c)
		}
		for _, words := range want.says {
			if !strings.Contains(c.Message, words) {
				return fmt.Errorf("the message %q does not say %q", c.Message, words)
			}
		}
		t.Logf("%s: %s", c.Reason, c.Message)
		return nil
	})
}

// unaffected fails unless a pod that no policy selects comes up.
func (n *node) unaffected(t *testing.T) {
	t.Helper()
	n.apply(t, fmt.Sprintf(plainPod, "other", "bystander", "other", false))
	n.k(t, "-n", "bystander", "wait", "--for=condition=Ready", "pod/other", "--timeout=60s")
	n.k(t, "-n", "bystander", "delete", "pod", "other", "--wait=true")
}

// ownNamespace has a policy select the operator itself.
func ownNamespace(t *testing.T, n *node) {
	p := &portal{node: n, namespace: system}
	p.policy(t)
	t.Cleanup(func() {
		if _, err := run(context.WithoutCancel(t.Context()), "", n.kubectl, "-n", system, "delete", "mfapolicy", "portal", "--timeout=60s"); err != nil {
			t.Error(err)
		}
	})
	p.awaitCondition(t, "portal", expected{mfav1alpha1.ConditionAccepted, metav1.ConditionFalse, []string{"namespace"}})
	n.k(t, "-n", system, "rollout", "restart", "deployment/sallyport-controller")
	n.k(t, "-n", system, "rollout", "status", "deployment/sallyport-controller", "--timeout=2m")
	n.unaffected(t)
}

// twoPolicies has two policies select the same pod.
func twoPolicies(t *testing.T, n *node) {
	n.namespace(t, "two")
	p := &portal{node: n, namespace: "two"}
	p.policy(t)
	n.k(t, "-n", "two", "wait", "--for=condition=InjectionReady", "mfapolicy/portal", "--timeout=60s")
	n.apply(t, strings.Replace(fmt.Sprintf(policyManifest, "two", ""), "name: portal", "name: second", 1))
	n.apply(t, fmt.Sprintf(plainPod, "portal", "two", "portal", false))
	p.awaitCondition(t, "second", expected{mfav1alpha1.ConditionConflicted, metav1.ConditionTrue, []string{"Policy portal is older", "narrow the selector"}})
	n.k(t, "-n", "two", "wait", "--for=condition=Ready", "pod/portal", "--timeout=60s")
	n.unaffected(t)
}

// hostNetwork asks for a pod that cannot be protected.
func hostNetwork(t *testing.T, n *node) {
	n.namespace(t, "hosted")
	p := &portal{node: n, namespace: "hosted"}
	p.policy(t)
	n.k(t, "-n", "hosted", "wait", "--for=condition=InjectionReady", "mfapolicy/portal", "--timeout=60s")
	until(t, "the pod is refused, and why", func(ctx context.Context) error {
		out, err := run(ctx, fmt.Sprintf(plainPod, "portal", "hosted", "portal", true), n.kubectl, "create", "--dry-run=server", "-f", "-")
		if err == nil || !strings.Contains(out, "hostNetwork") {
			return fmt.Errorf("%q, %w", out, err)
		}
		t.Log(out)
		return nil
	})
	n.unaffected(t)
}

// quota leaves room for the app and none for its sidecar.
func quota(t *testing.T, n *node) {
	n.namespace(t, "quota")
	p := &portal{node: n, namespace: "quota"}
	n.apply(t, "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: small, namespace: quota}\nspec: {hard: {limits.memory: 100Mi}}\n")
	p.policy(t)
	n.k(t, "-n", "quota", "wait", "--for=condition=InjectionReady", "mfapolicy/portal", "--timeout=60s")
	until(t, "the quota refuses the pod, and why", func(ctx context.Context) error {
		out, err := run(ctx, fmt.Sprintf(plainPod, "portal", "quota", "portal", false), n.kubectl, "create", "-f", "-")
		if err == nil || !strings.Contains(out, "exceeded quota: small") {
			return fmt.Errorf("%q, %w", out, err)
		}
		t.Log(out)
		return nil
	})
	n.unaffected(t)
}

// noImage has the operator inject an image that no registry has.
func noImage(t *testing.T, n *node) {
	p := n.protect(t, "missing", 1)
	n.upgrade(t, "sidecar.image.tag=nowhere")
	defer n.upgrade(t)
	n.k(t, "-n", "missing", "rollout", "restart", "deployment/portal")
	p.awaitCondition(t, "portal", expected{mfav1alpha1.ConditionPodsProtected, metav1.ConditionFalse, []string{"sidecar:nowhere", "cannot be pulled"}})
	if got := p.signIn(t, "alice").asks(t.Context()); got != opened { // the old pod still serves
		t.Errorf("alice is %s", got)
	}
	n.unaffected(t)
}

// goingNamespace deletes a namespace with all that is in it, at once.
func goingNamespace(t *testing.T, n *node) {
	n.namespace(t, "going")
	p := &portal{node: n, namespace: "going"}
	p.policy(t)
	p.deploy(t, 1)
	n.k(t, "delete", "namespace", "going", "--timeout=2m")
	n.unaffected(t)
}
