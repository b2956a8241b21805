package operator_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/sidecar/probe"
	"github.com/sallyport/sallyport/test/operator"
	"github.com/sallyport/sallyport/test/person"
	"github.com/sallyport/sallyport/test/stack"
)

// obeys returns the generation that a sidecar's metrics say is in force.
func obeys(ctx context.Context, s *operator.Sidecar) (int64, error) {
	_, metrics, err := operator.Status(ctx, s.OpsURL+"/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(metrics) {
		if value, ok := strings.CutPrefix(line, "sallyport_policy_generation "); ok {
			generation, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return int64(generation), err
		}
	}
	return 0, fmt.Errorf("the metrics name no generation")
}

func awaitGeneration(t *testing.T, s *operator.Sidecar, want int64) {
	t.Helper()
	operator.Await(t, fmt.Sprintf("the sidecar obeys generation %d", want), func(ctx context.Context) error {
		if got, err := obeys(ctx, s); err != nil || got != want {
			return fmt.Errorf("it obeys generation %d, %w", got, err)
		}
		return nil
	})
}

// TestChainInABrowser has two people meet, through the pages, what is written to
// the Kubernetes API, with no restart in between.
func TestChainInABrowser(t *testing.T) {
	window := person.Browser(t)
	c := operator.Shared(t)
	c.Operator()
	p := c.Begin("chain")
	app := operator.App(t)
	_, first := c.Protect(p, "portal-1", app)

	alice, ines := person.New(t, window, first.URL), person.New(t, window, first.URL)
	alice.SignsIn("alice")
	alice.IsAt("/my")
	ines.SignsIn("ines")
	ines.IsAt("/my")
	phone, recovery := alice.Enrols()
	alice.Open("/my")
	alice.IsAt("/my")
	alice.SignsOut()
	alice.SignsIn("alice")
	alice.Passes(phone.Code(1), "/my")

	// The lever: whoever has no second factor must set one up, at the next click.
	c.RequireForEveryone(p, true)
	c.AwaitReady(p)
	ines.Open("/my/documents")
	ines.MustEnrol()
	alice.Open("/my/documents")
	alice.IsAt("/my/documents")

	// Another pod of the app knows them both.
	_, second := c.Protect(p, "portal-2", app)
	alice.Open(second.URL + "/my")
	alice.IsAt("/my")
	alice.Open(second.URL + stack.Prefix)
	alice.InState("enabled")
	ines.Open(second.URL + "/my")
	ines.MustEnrol()
	operator.Await(t, "the status counts one enrolled person", func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		if e := p.Status.Enrolment; e == nil || e.Enabled != 1 {
			return fmt.Errorf("enrolment %+v", e)
		}
		return nil
	})

	// Deleting the policy demands nothing of anybody, and opens nobody's account.
	if err := c.Client.Delete(t.Context(), p); err != nil {
		t.Fatalf("delete the policy: %v", err)
	}
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil || p.DeletionTimestamp == nil {
		t.Fatalf("the policy went while pods carry its sidecar: %v", err)
	}
	awaitGeneration(t, first, p.Generation)
	awaitGeneration(t, second, p.Generation)
	ines.Open(first.URL + "/my")
	ines.IsAt("/my")
	alice.Open(first.URL + "/my")
	alice.IsAt("/my")
	alice.SignsOut()
	alice.Moves(second.URL)
	alice.SignsIn("alice")
	alice.Challenged()
	alice.Open("/my/documents")
	alice.Challenged()
	alice.Click("Lost your phone? Use a recovery code")
	alice.Write("Recovery code", recovery[0])
	alice.Press("Use recovery code")
	alice.IsAt("/my/documents")

	for _, name := range []string{"portal-1", "portal-2"} {
		if err := c.Client.Delete(t.Context(), operator.Pod("chain", name)); err != nil {
			t.Fatalf("delete pod %s: %v", name, err)
		}
	}
	operator.Await(t, "the policy is gone with its last pod", func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(p), p); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is still there: %v, %w", p.Status.Pods, err)
		}
		return nil
	})
}

// probed is a pod of the app as its people wrote it: all its probes go to its port.
func probed(namespace, name string) *corev1.Pod {
	p := operator.Pod(namespace, name)
	get := corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
		Path: "/healthz", Port: intstr.FromString("http"), HTTPHeaders: []corev1.HTTPHeader{{Name: "X-Price", Value: "$(5)"}},
	}}
	app := &p.Spec.Containers[0]
	app.ReadinessProbe = &corev1.Probe{ProbeHandler: get, TimeoutSeconds: 2}
	app.StartupProbe = &corev1.Probe{ProbeHandler: get}
	app.LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(8080)}}}
	return p
}

// wantProbes fails unless the sidecar reads, in the arguments that the webhook wrote,
// the probes that the pod's people wrote.
func wantProbes(t *testing.T, admitted *corev1.Pod) {
	t.Helper()
	at := slices.IndexFunc(admitted.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == mfav1alpha1.SidecarContainer })
	args := admitted.Spec.InitContainers[at].Args
	flag := slices.Index(args, "--probes")
	if flag < 0 || flag+1 >= len(args) {
		t.Fatalf("the sidecar is given no probes: %q", args)
	}
	document := args[flag+1]
	got, err := probe.Decode([]byte(document))
	if err != nil {
		t.Fatalf("the sidecar would refuse the probes that it is given: %v\n%s", err, document)
	}
	get := &probe.HTTPGet{Path: "/healthz", Port: 8080, Scheme: "HTTP", Headers: []probe.Header{{Name: "X-Price", Value: "$(5)"}}}
	want := []probe.Probe{
		{Container: "app", Kind: probe.Liveness, TimeoutSeconds: 1, TCPSocket: &probe.TCPSocket{Port: 8080}},
		{Container: "app", Kind: probe.Readiness, TimeoutSeconds: 2, HTTPGet: get},
		{Container: "app", Kind: probe.Startup, TimeoutSeconds: 1, HTTPGet: get},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the sidecar reads other probes than the pod had (-want +got):\n%s", diff)
	}
	again, err := probe.Encode(got)
	if err != nil || string(again) != document {
		t.Errorf("the webhook writes\n%s\nand the sidecar would write\n%s (%v)", document, again, err)
	}
}

// TestChainInAPodsNetwork runs the injected containers of a pod with exactly the
// arguments that the webhook gave them, in a network like a pod's.
func TestChainInAPodsNetwork(t *testing.T) {
	network := operator.NewPodNetwork(t)
	c := operator.Shared(t)
	c.Operator()
	c.Begin("podnet", func(p *mfav1alpha1.MFAPolicy) {
		p.Spec.RequireForEveryone, p.Spec.Capture = true, mfav1alpha1.CaptureRedirect
	})
	admitted := probed("podnet", "portal-1")
	c.Admit(admitted)
	wantProbes(t, admitted)

	app := network.App(8080)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	neighbour := network.Neighbour()
	neighbour.Jar = jar
	visitor := (&stack.Browser{Base: "http://" + network.IP + ":8080", Client: neighbour}).For(t)
	get := func(url string) (int, error) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			return 0, err
		}
		answer, err := network.Neighbour().Do(request)
		if err != nil {
			return 0, err
		}
		return answer.StatusCode, answer.Body.Close()
	}
	await := func(what, url string, want int) {
		t.Helper()
		operator.Await(t, what, func(context.Context) error {
			if status, err := get(url); err != nil || status != want {
				return fmt.Errorf("%s answers %d, %w", url, status, err)
			}
			return nil
		})
	}
	await("the app answers by the pod's address", visitor.Base+"/healthz", http.StatusOK)
	visitor.SignIn("alice", "alice-demo")
	if page := visitor.Get("/my"); page.Status != http.StatusOK {
		t.Fatalf("without the injected containers, the app itself answers %d", page.Status)
	}

	network.RunContainer(c, admitted, mfav1alpha1.RedirectContainer).AwaitSuccess()
	if status, err := get(visitor.Base + "/healthz"); err == nil {
		t.Fatalf("between redirect and sidecar somebody answers %d; nobody should", status)
	}
	network.Reaches(c.Redis.Addr)
	sidecar := network.RunContainer(c, admitted, mfav1alpha1.SidecarContainer)
	ops := fmt.Sprintf("http://%s:%d", network.IP, mfav1alpha1.OperationsPort)
	await("the sidecar is ready", ops+"/readyz", http.StatusOK)

	// The session that was begun around the door has become worth nothing.
	page := visitor.Get("/my")
	if page.Status != http.StatusSeeOther || page.Location() != stack.Prefix+"?return_to=%2Fmy" {
		t.Errorf("the app's port, by the pod's address, answers %d to %q; want a way to the set-up page",
			page.Status, page.Header.Get("Location"))
	}
	if page = visitor.Visit("/my"); page.State() != "not-configured" {
		t.Errorf("the set-up page is in state %q", page.State())
	}
	if status, err := get(fmt.Sprintf("http://%s:%d/login", network.IP, mfav1alpha1.TrafficPort)); err != nil || status != http.StatusOK {
		t.Errorf("the sidecar's own port answers %d, %v", status, err)
	}

	// What the kubelet asks, as the admitted pod has it.
	container := &admitted.Spec.Containers[0]
	asked := map[string]string{}
	for kind, p := range map[string]*corev1.Probe{
		"liveness": container.LivenessProbe, "readiness": container.ReadinessProbe, "startup": container.StartupProbe,
	} {
		asked[kind] = fmt.Sprintf("http://%s:%d%s", network.IP, p.HTTPGet.Port.IntVal, p.HTTPGet.Path)
		await("the "+kind+" probe succeeds", asked[kind], http.StatusOK)
	}
	app.Stop()
	for kind, url := range asked {
		await("the "+kind+" probe fails with the app", url, http.StatusServiceUnavailable)
	}
	begin := time.Now()
	sidecar.Stop()
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("the sidecar took %s to stop", took)
	}
}
