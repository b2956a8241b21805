package e2e_test

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

//go:embed portal.yaml
var portalManifest string

// policyManifest is the policy of the demo portal, with more of its spec appended.
const policyManifest = `
apiVersion: mfa.sallyport.dev/v1alpha1
kind: MFAPolicy
metadata: {name: portal, namespace: %s}
spec:
  selector: {matchLabels: {app: portal}}
  app:
    port: 8080
    passwordCheck: {type: Form, path: /login, usernameField: username, passwordField: password}
  identity:
    type: Endpoint
    endpoint: {path: /api/me, cookies: [session], subject: /id, account: /username, roles: /roles}
  exempt:
  - {path: /healthz}
%s`

// portal is the demo portal behind its second factor.
type portal struct {
	*node
	namespace string
	// front is the ingress before its Service.
	front *ingress
}

// protect deploys the portal and its policy, the policy first, and waits until all of it
// is in force. The namespace goes with the test.
func (n *node) protect(t *testing.T, namespace string, replicas int, spec ...string) *portal {
	t.Helper()
	p := &portal{node: n, namespace: namespace}
	n.namespace(t, namespace)
	p.policy(t, spec...)
	n.k(t, "-n", namespace, "wait", "--for=condition=InjectionReady", "mfapolicy/portal", "--timeout=60s")
	p.deploy(t, replicas)
	p.await(t)
	p.front = newIngress(t, n.nodePort(t, namespace, "portal"))
	return p
}

// policy applies the policy, with more of its spec.
func (p *portal) policy(t *testing.T, spec ...string) {
	t.Helper()
	more := ""
	for _, line := range spec {
		more += "  " + line + "\n"
	}
	p.apply(t, fmt.Sprintf(policyManifest, p.namespace, more))
}

// deploy deploys the portal and waits until it is rolled out.
func (p *portal) deploy(t *testing.T, replicas int) {
	t.Helper()
	p.apply(t, strings.NewReplacer("NAMESPACE", p.namespace, "REPLICAS", strconv.Itoa(replicas)).Replace(p.images(portalManifest)))
	p.rolledOut(t)
}

func (p *portal) rolledOut(t *testing.T) {
	t.Helper()
	p.k(t, "-n", p.namespace, "rollout", "status", "deployment/sessions", "--timeout=2m")
	p.k(t, "-n", p.namespace, "rollout", "status", "deployment/portal", "--timeout=3m")
	until(t, "the pods of before have ended", func(ctx context.Context) error { // open connections may still lead to them
		list := new(corev1.PodList)
		if err := p.List(ctx, list, client.InNamespace(p.namespace), client.MatchingLabels{"app": "portal"}); err != nil {
			return err
		}
		for _, pod := range list.Items {
			if pod.DeletionTimestamp != nil {
				return fmt.Errorf("%s is still ending", pod.Name)
			}
		}
		return nil
	})
}

// await waits until the policy counts every pod of the Deployment as protected.
func (p *portal) await(t *testing.T) {
	t.Helper()
	deployment := new(appsv1.Deployment)
	if err := p.Get(t.Context(), keyOf(p.namespace, "portal"), deployment); err != nil {
		t.Fatal(err)
	}
	until(t, "the policy says that every pod is protected", func(ctx context.Context) error {
		policy, err := p.read(ctx)
		if err != nil {
			return err
		}
		ready := meta.FindStatusCondition(policy.Status.Conditions, string(mfav1alpha1.ConditionReady))
		switch pods := policy.Status.Pods; {
		case ready == nil || ready.Status != metav1.ConditionTrue || ready.ObservedGeneration != policy.Generation:
			return fmt.Errorf("Ready: %+v", ready)
		case pods == nil || pods.Selected != *deployment.Spec.Replicas || pods.Protected != pods.Selected:
			return fmt.Errorf("pods: %+v", pods)
		}
		return nil
	})
}

// read returns the policy as it is.
func (p *portal) read(ctx context.Context) (*mfav1alpha1.MFAPolicy, error) {
	policy := new(mfav1alpha1.MFAPolicy)
	err := p.Get(ctx, keyOf(p.namespace, "portal"), policy)
	return policy, err
}

// change edits the policy's spec.
func (p *portal) change(t *testing.T, edit func(*mfav1alpha1.MFAPolicy)) {
	t.Helper()
	policy, err := p.read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before := policy.DeepCopy()
	edit(policy)
	if err := p.Patch(t.Context(), policy, client.MergeFrom(before)); err != nil {
		t.Fatalf("change the policy: %v", err)
	}
}

// pods of the portal that run.
func (p *portal) pods(t *testing.T) []corev1.Pod {
	t.Helper()
	pods, err := p.podsOf(t.Context(), p.namespace, "portal")
	if err != nil {
		t.Fatal(err)
	}
	if len(pods) == 0 {
		t.Fatal("no pod of the portal runs")
	}
	return pods
}

// nodePort is where a Service of type NodePort is reached.
func (n *node) nodePort(t *testing.T, namespace, name string) string {
	t.Helper()
	service := new(corev1.Service)
	if err := n.Get(t.Context(), keyOf(namespace, name), service); err != nil {
		t.Fatal(err)
	}
	if len(service.Spec.Ports) == 0 || service.Spec.Ports[0].NodePort == 0 {
		t.Fatal(errors.New("the Service has no NodePort"))
	}
	return n.address + ":" + strconv.Itoa(int(service.Spec.Ports[0].NodePort))
}
