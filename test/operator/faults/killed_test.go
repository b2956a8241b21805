package faults_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/test/operator"
)

// patch matches a request that changes what a path names; $ is the path's end.
func patch(part string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return r.Method == http.MethodPatch && strings.Contains(r.URL.Path+"$", part)
	}
}

// TestKilledInTheMiddleOfAPass kills the operator right after, or right before, each
// write of its first pass over a policy. The next one goes on where it was, and a
// policy that was there before never notices.
func TestKilledInTheMiddleOfAPass(t *testing.T) {
	c := operator.Shared(t)
	first := c.Operator()
	steady := c.Begin("steady", func(p *mfav1alpha1.MFAPolicy) { p.Spec.RequireForAdmins = true })
	_, sidecar := c.Protect(steady, "portal-1", operator.App(t))
	alice := c.SignIn(sidecar, "alice")
	alice.Enrol()
	epoch, master := c.EpochOf("steady/portal"), masterSecret(t, c)
	first.Stop()

	for _, tt := range []struct {
		name, namespace string
		before          bool
		match           func(*http.Request) bool
	}{
		{"after the finalizer", "finalizer", false, patch("/finalizer/mfapolicies/portal$")},
		{"after the keys were delivered", "delivered", false, patch("/delivered/secrets/sallyport-sidecar")},
		{"after the record was published", "published", true, patch("mutatingwebhookconfigurations")},
		{"after the webhook", "hooked", false, patch("mutatingwebhookconfigurations")},
		{"after the first binding", "bound", false, patch("/validatingadmissionpolicybindings/")},
		{"after the NetworkPolicy", "closed", false, patch("/closed/networkpolicies/")},
		{"before the status", "unsaid", true, patch("/unsaid/mfapolicies/portal/status")},
		{"after the status", "said", false, patch("/said/mfapolicies/portal/status")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := c.For(t)
			behind, gate := c.BehindGate()
			match := ofNamespace(tt.namespace, tt.match)
			var stands <-chan struct{}
			if tt.before {
				stands = gate.ShutBefore(match)
			} else {
				stands = gate.ShutAfter(match)
			}
			process := behind.Operator()
			p := operator.Portal(tt.namespace, func(p *mfav1alpha1.MFAPolicy) { p.Spec.Capture = mfav1alpha1.CapturePort })
			c.Create(operator.NewNamespace(tt.namespace), p)
			select {
			case <-stands:
			case <-time.After(time.Minute):
				t.Fatalf("the operator never came to that write:\n%s", process.Log())
			}
			process.Kill()
			remembered := c.EpochOf(tt.namespace + "/portal")

			c.Operator()
			c.AwaitReady(p)
			wantWhole(t, c, p)
			if remembered != "" && remembered != c.EpochOf(tt.namespace+"/portal") {
				t.Error("the store's epoch was made again")
			}
			if now := masterSecret(t, c); now != master {
				t.Error("the master keys were made again")
			}
			c.SignIn(sidecar, "alice").AwaitLands("challenge")
		})
	}
	if c.EpochOf("steady/portal") != epoch {
		t.Error("the epoch of the policy that was there before is another one")
	}
}

// ofNamespace narrows writes of things that have no namespace to those of one policy:
// their names hold its namespace.
func ofNamespace(namespace string, match func(*http.Request) bool) func(*http.Request) bool {
	return func(r *http.Request) bool { return match(r) && strings.Contains(r.URL.Path, namespace) }
}

// wantWhole fails the test unless everything that a policy has is there once.
func wantWhole(t *testing.T, c *operator.Cluster, p *mfav1alpha1.MFAPolicy) {
	t.Helper()
	if rules := c.RulesOf(p); !rules.Complete() {
		t.Errorf("%d webhooks, %d policies and %d bindings", len(rules.Webhooks), len(rules.Policies), len(rules.Bindings))
	}
	if len(p.Finalizers) != 1 {
		t.Errorf("finalizers %v", p.Finalizers)
	}
	secrets, closed := new(corev1.SecretList), new(networkingv1.NetworkPolicyList)
	for _, list := range []client.ObjectList{secrets, closed} {
		if err := c.Client.List(t.Context(), list, client.InNamespace(p.Namespace)); err != nil {
			t.Fatal(err)
		}
	}
	if len(secrets.Items) != 1 || len(closed.Items) != 1 {
		t.Errorf("%d Secrets and %d NetworkPolicies, want one of each", len(secrets.Items), len(closed.Items))
	}
	if p.Status.PublishedGeneration != p.Generation || !exists(c, "sallyport:{"+p.Namespace+"}:policy:portal") {
		t.Errorf("generation %d of %d is published", p.Status.PublishedGeneration, p.Generation)
	}
	c.Admit(operator.Pod(p.Namespace, "portal-1"))
}

// TestKilledAfterTheBackstop is about the rule that all policies share: it is made
// with the first of them.
func TestKilledAfterTheBackstop(t *testing.T) {
	c := operator.Shared(t)
	behind, gate := c.BehindGate()
	stands := gate.ShutAfter(patch("/validatingadmissionpolicies/"))
	process := behind.Operator()
	p := operator.Portal("backstop", func(p *mfav1alpha1.MFAPolicy) { p.Spec.Capture = mfav1alpha1.CapturePort })
	c.Create(operator.NewNamespace("backstop"), p)
	<-stands
	process.Kill()
	c.Operator()
	c.AwaitReady(p)
	wantWhole(t, c, p)
}

func masterSecret(t *testing.T, c *operator.Cluster) types.UID {
	t.Helper()
	secret := new(corev1.Secret)
	if err := c.Client.Get(t.Context(), client.ObjectKey{Namespace: operator.Namespace, Name: mfav1alpha1.MasterSecret}, secret); err != nil {
		t.Fatalf("read the master keys: %v", err)
	}
	return secret.UID
}

// TestKilledInTheMiddleOfAChange kills the operator when the sidecars obey and the status
// does not say so yet, and in the middle of a deletion.
func TestKilledInTheMiddleOfAChange(t *testing.T) {
	c := operator.Shared(t)
	behind, gate := c.BehindGate()
	process := behind.Operator()
	p := c.Begin("changing")
	pod, sidecar := c.Protect(p, "portal-1", operator.App(t))
	alice := c.SignIn(sidecar, "alice")
	stands := gate.ShutBefore(patch("/changing/mfapolicies/portal/status"))
	c.RequireForEveryone(p, true)
	alice.AwaitLands("enrol") // told by Redis, though the API server is cut off
	<-stands
	process.Kill()

	behind, gate = c.BehindGate()
	process = behind.Operator()
	c.AwaitReady(p)
	if p.Status.PublishedGeneration != p.Generation {
		t.Errorf("generation %d of %d is published", p.Status.PublishedGeneration, p.Generation)
	}
	alice.Enrol()

	// The webhook goes before the backstop's bindings, or the other way round: whichever
	// is left alone must not stay.
	stands = gate.ShutAfter(ofNamespace("changing", func(r *http.Request) bool { return r.Method == http.MethodDelete }))
	c.Remove(p)
	<-stands
	process.Kill()
	c.Operator()
	operator.Await(t, "the admission rules are withdrawn", func(context.Context) error {
		if !c.RulesOf(p).None() {
			return errors.New("they are there")
		}
		return nil
	})
	c.SignIn(sidecar, "alice").AwaitLands("challenge")
	sidecar.Stop()
	c.Remove(pod)
	c.AwaitGone(p)
}

// TestAStartWritesNoRuleThatIsRight: a thousand policies would else be five thousand
// requests, at the very moment when everybody waits for the operator.
func TestAStartWritesNoRuleThatIsRight(t *testing.T) {
	c := operator.Shared(t)
	process := c.Operator()
	p := c.Begin("again")
	c.AwaitReady(p)
	process.AwaitPasses(3) // a rule that was changed is confirmed once, seconds later
	operator.Await(t, "the webhook configuration is confirmed", func(context.Context) error {
		if rules := c.RulesOf(p); !rules.Complete() || rules.Webhooks[0].Annotations[mfav1alpha1.ConfirmedAnnotation] == "" {
			return errors.New("it is not yet")
		}
		return nil
	})
	process.Kill()
	behind, gate := c.BehindGate()
	wrote := gate.ShutBefore(func(r *http.Request) bool {
		// The webhook's address is another for each process here.
		return r.Method != http.MethodGet && strings.Contains(r.URL.Path, "/validatingadmissionpolic")
	})
	behind.Operator().AwaitPasses(2)
	select {
	case <-wrote:
		t.Error("an admission rule was written although it was as it should be")
	default:
	}
	c.Admit(operator.Pod("again", "portal-1"))
}
