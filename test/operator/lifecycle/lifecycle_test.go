//go:build unfinished

// Package lifecycle_test follows policies from their creation to their end on a real
// API server, with the operator and the sidecars as processes.
//
// It may import the test helpers. It must never reach into the operator.
package lifecycle_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"net/http/cookiejar"

	"github.com/sallyport/sallyport/api/policy"
	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/test/apiserver"
	"github.com/sallyport/sallyport/test/operator"
	"github.com/sallyport/sallyport/test/stack"
)

// server is the API server that the tests of this package use one after another; a
// test that must have its own calls operator.New.
var server = sync.OnceValues(func() (*started, error) {
	s, stop, err := apiserver.Run(os.Getenv("KUBEBUILDER_ASSETS"))
	return &started{s, stop}, err
})

type started struct {
	*apiserver.Server
	stop func() error
}

var serverUsed sync.Once

func TestMain(m *testing.M) {
	code := m.Run()
	used := true
	serverUsed.Do(func() { used = false })
	if used {
		if s, err := server(); err == nil {
			_ = s.stop() // the processes are going in any case
		}
	}
	operator.Cleanup()
	os.Exit(code)
}

// cluster is the shared API server with a Redis and nothing of any other test.
func cluster(t *testing.T) *operator.Cluster {
	t.Helper()
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Skip(`no API server: run the tests with "make test", or eval "$(test/setup/install --env)" first`)
	}
	serverUsed.Do(func() {})
	s, err := server()
	if err != nil {
		t.Fatalf("start the API server: %v", err)
	}
	return operator.On(t, s.Server)
}

// portal is the policy that tests begin with.
func portal(namespace string, adjust ...func(*mfav1alpha1.MFAPolicy)) *mfav1alpha1.MFAPolicy {
	p := &mfav1alpha1.MFAPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "portal"},
		Spec: mfav1alpha1.MFAPolicySpec{
			Selector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "portal"}},
			Rules: policy.Rules{
				App:      policy.App{Port: policy.Port{Number: 8080}},
				Identity: policy.Identity{Type: policy.IdentityEndpoint, Endpoint: &policy.EndpointIdentity{}},
			},
		},
	}
	for _, f := range adjust {
		f(p)
	}
	return p
}

func pod(namespace, name string, adjust ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": "portal"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "app", Image: "registry.test/portal:1", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
		}}},
	}
	for _, f := range adjust {
		f(p)
	}
	return p
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// create makes objects, and fails the test where it cannot.
func create(t *testing.T, c *operator.Cluster, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		if err := c.Client.Create(t.Context(), o); err != nil {
			t.Fatalf("create %T %s: %v", o, o.GetName(), err)
		}
	}
}

// change patches an object as it is now.
func change[T client.Object](t *testing.T, c *operator.Cluster, object T, edit func(T)) {
	t.Helper()
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
		t.Fatalf("read %T %s: %v", object, object.GetName(), err)
	}
	base := object.DeepCopyObject().(client.Object)
	edit(object)
	if err := c.Client.Patch(t.Context(), object, client.MergeFrom(base)); err != nil {
		t.Fatalf("change %T %s: %v", object, object.GetName(), err)
	}
}

func remove(t *testing.T, c *operator.Cluster, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		if err := c.Client.Delete(t.Context(), o, client.GracePeriodSeconds(0)); err != nil {
			t.Fatalf("delete %T %s: %v", o, o.GetName(), err)
		}
	}
}

// awaitCondition waits until a condition of this generation is as it should be, and
// returns its message.
func awaitCondition(
	t *testing.T, c *operator.Cluster, p *mfav1alpha1.MFAPolicy,
	condition mfav1alpha1.ConditionType, status metav1.ConditionStatus, reason mfav1alpha1.ConditionReason,
) string {
	t.Helper()
	message := ""
	operator.Await(t, fmt.Sprintf("%s of %s/%s is %s, %s", condition, p.Namespace, p.Name, status, reason), func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		is := meta.FindStatusCondition(p.Status.Conditions, string(condition))
		if is == nil || is.ObservedGeneration != p.Generation || is.Status != status || is.Reason != string(reason) {
			return fmt.Errorf("generation %d, conditions %+v", p.Generation, p.Status.Conditions)
		}
		message = is.Message
		return nil
	})
	return message
}

func awaitReady(t *testing.T, c *operator.Cluster, p *mfav1alpha1.MFAPolicy) {
	t.Helper()
	awaitCondition(t, c, p, mfav1alpha1.ConditionReady, metav1.ConditionTrue, mfav1alpha1.ReasonReady)
}

// awaitGone waits until an object is no more.
func awaitGone(t *testing.T, c *operator.Cluster, object client.Object) {
	t.Helper()
	operator.Await(t, fmt.Sprintf("%T %s is gone", object, object.GetName()), func(ctx context.Context) error {
		err := c.Client.Get(ctx, client.ObjectKeyFromObject(object), object)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is there: finalizers %v, %w", object.GetFinalizers(), err)
	})
}

// wantIn fails the test for each text that does not occur.
func wantIn(t *testing.T, what, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%s does not say %q:\n%s", what, want, text)
		}
	}
}

// protect runs a pod of the policy with its sidecar in front of the app, and waits
// until the policy counts it as protected.
func protect(t *testing.T, c *operator.Cluster, p *mfav1alpha1.MFAPolicy, app string) (*corev1.Pod, *operator.Sidecar) {
	t.Helper()
	first := pod(p.Namespace, p.Name+"-1")
	create(t, c, first)
	c.Running(first)
	sidecar := c.RunSidecar(first, app)
	sidecar.AwaitReady()
	awaitCondition(t, c, p, mfav1alpha1.ConditionPodsProtected, metav1.ConditionTrue, mfav1alpha1.ReasonAllProtected)
	return first, sidecar
}

// started policy: accepted, and everything that it asks for in force.
func begin(t *testing.T, c *operator.Cluster, name string, adjust ...func(*mfav1alpha1.MFAPolicy)) *mfav1alpha1.MFAPolicy {
	t.Helper()
	create(t, c, namespace(name))
	p := portal(name, adjust...)
	create(t, c, p)
	awaitReady(t, c, p)
	return p
}

// person is somebody with a browser who is signed in at the app.
type person struct {
	*stack.Browser
	t      *testing.T
	c      *operator.Cluster
	secret string
	used   time.Time
}

func signIn(t *testing.T, c *operator.Cluster, sidecar *operator.Sidecar, user string) *person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := (&stack.Browser{Base: sidecar.URL, Client: &http.Client{
		Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}).For(t)
	if answer := b.SignIn(user, user+"-demo"); answer.Status != http.StatusSeeOther {
		t.Fatalf("the app answered %d to the sign-in of %s:\n%s", answer.Status, user, answer.Body)
	}
	return &person{Browser: b, t: t, c: c}
}

// enrol gives the person a phone.
func (p *person) enrol() {
	p.t.Helper()
	pending := p.Submit(p.Visit(stack.Prefix), "/enable", nil)
	p.secret = pending.Secret()
	p.c.Confide("a user's seed", p.secret)
	code, err := totp.GenerateCode(p.secret, time.Now())
	if err != nil {
		p.t.Fatalf("read the seed off the page: %v\n%s", err, pending.Body)
	}
	done := p.Submit(pending, "/confirm", map[string]string{"code": code})
	codes := done.Codes()
	if done.Status != http.StatusOK || len(codes) == 0 {
		p.t.Fatalf("enrolling answered %d:\n%s", done.Status, done.Body)
	}
	for _, c := range codes {
		p.c.Confide("a recovery code", c)
	}
}

// lands says where a person is let: "app", "challenge", "enrol", or the status.
func (p *person) lands() string {
	p.t.Helper()
	answer := p.Get("/my/profile")
	switch {
	case answer.Status == http.StatusOK:
		return "app"
	case answer.Status == http.StatusSeeOther && strings.HasPrefix(answer.Location(), stack.Prefix+"/challenge"):
		return "challenge"
	case answer.Status == http.StatusSeeOther && strings.HasPrefix(answer.Location(), stack.Prefix):
		return "enrol"
	}
	return fmt.Sprint(answer.Status)
}

// awaitLands waits until the person is let there.
func (p *person) awaitLands(want string) {
	p.t.Helper()
	operator.Await(p.t, "the person is let to "+want, func(context.Context) error {
		if got := p.lands(); got != want {
			return fmt.Errorf("they are let to %s", got)
		}
		return nil
	})
}

// events of an object, oldest first.
func events(t *testing.T, c *operator.Cluster, of client.Object) []eventsv1.Event {
	t.Helper()
	list := new(eventsv1.EventList)
	if err := c.Client.List(t.Context(), list, client.InNamespace(of.GetNamespace())); err != nil {
		t.Fatalf("list the events: %v", err)
	}
	var found []eventsv1.Event
	for _, e := range list.Items {
		if e.Regarding.UID == of.GetUID() {
			found = append(found, e)
		}
	}
	return found
}

// awaitEvent waits for an event of the policy.
func awaitEvent(t *testing.T, c *operator.Cluster, of client.Object, kind string, reason mfav1alpha1.ConditionReason) eventsv1.Event {
	t.Helper()
	var found eventsv1.Event
	operator.Await(t, fmt.Sprintf("an event %s %s", kind, reason), func(context.Context) error {
		all := events(t, c, of)
		for _, e := range all {
			if e.Reason == string(reason) && e.Type == kind {
				found = e
				return nil
			}
		}
		return fmt.Errorf("there are %d others", len(all))
	})
	return found
}

// sidecarSecret is the namespace's Secret; nil where there is none.
func sidecarSecret(t *testing.T, c *operator.Cluster, namespace string) *corev1.Secret {
	t.Helper()
	secret := new(corev1.Secret)
	err := c.Client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: mfav1alpha1.SidecarSecret}, secret)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatalf("read the sidecars' Secret: %v", err)
	}
	return secret
}

// epochOf is what the cluster remembers of a realm's store.
func epochOf(t *testing.T, c *operator.Cluster, realm string) string {
	t.Helper()
	namespace, _, _ := strings.Cut(realm, "/")
	secret := sidecarSecret(t, c, namespace)
	if secret == nil {
		return ""
	}
	epochs := map[string]string{}
	if err := json.Unmarshal(secret.Data[mfav1alpha1.EpochsKey], &epochs); err != nil {
		t.Fatalf("read the epochs of %s: %v", namespace, err)
	}
	return epochs[realm]
}

// rule reads a policy's webhook configuration and the binding of its backstop, nil
// where they are not there.
func rules(t *testing.T, c *operator.Cluster, p client.Object) (
	*admissionregistrationv1.MutatingWebhookConfiguration, *admissionregistrationv1.ValidatingAdmissionPolicyBinding,
) {
	t.Helper()
	of := client.MatchingLabels{mfav1alpha1.PolicyNamespaceLabel: p.GetNamespace(), mfav1alpha1.PolicyNameLabel: p.GetName()}
	webhooks, bindings := new(admissionregistrationv1.MutatingWebhookConfigurationList), new(admissionregistrationv1.ValidatingAdmissionPolicyBindingList)
	for _, list := range []client.ObjectList{webhooks, bindings} {
		if err := c.Client.List(t.Context(), list, of); err != nil {
			t.Fatalf("list the admission rules: %v", err)
		}
	}
	if len(webhooks.Items) > 1 || len(bindings.Items) > 1 {
		t.Errorf("%s/%s has %d webhooks and %d bindings", p.GetNamespace(), p.GetName(), len(webhooks.Items), len(bindings.Items))
	}
	var webhook *admissionregistrationv1.MutatingWebhookConfiguration
	var binding *admissionregistrationv1.ValidatingAdmissionPolicyBinding
	if len(webhooks.Items) > 0 {
		webhook = &webhooks.Items[0]
	}
	if len(bindings.Items) > 0 {
		binding = &bindings.Items[0]
	}
	return webhook, binding
}

func injected(p *corev1.Pod) bool {
	for _, c := range p.Spec.InitContainers {
		if c.Name == mfav1alpha1.SidecarContainer {
			return true
		}
	}
	return false
}
