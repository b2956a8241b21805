package e2e_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// moreServices lead to the portal in each way that is not by the port's name, and a pod
// asks from within the cluster.
const moreServices = `
apiVersion: v1
kind: Service
metadata: {name: numeric, namespace: NAMESPACE}
spec:
  type: NodePort
  selector: {app: portal}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: NAMESPACE}
spec:
  clusterIP: None
  selector: {app: portal}
  ports: [{port: 8080, targetPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: inside, namespace: NAMESPACE, labels: {app: inside}}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: inside
    image: sallyport.test/fixture:1
    args: [pause]
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
`

// arrivals says of each way to the portal where a signed-in person who must enrol ends.
func (p *portal) arrivals(t *testing.T, cookie string) map[string]outcome {
	t.Helper()
	service := func(name string) *corev1.Service {
		s := new(corev1.Service)
		if err := p.Get(t.Context(), keyOf(p.namespace, name), s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	to := func(address string) (arrived outcome) {
		c := &http.Client{
			Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		until(t, address+" leads somewhere", func(ctx context.Context) error { // the node learns of a Service in its own time
			if arrived = ask(ctx, c, "http://"+address+"/my", cookie); arrived == lost {
				return errors.New("not yet")
			}
			return nil
		})
		return arrived
	}
	pods := p.pods(t)
	return map[string]outcome{
		"the Service by name":              to(net.JoinHostPort(service("portal").Spec.ClusterIP, "80")),
		"the NodePort by name":             to(p.nodePort(t, p.namespace, "portal")),
		"the Service by number":            to(net.JoinHostPort(service("numeric").Spec.ClusterIP, "80")),
		"the NodePort by number":           to(p.nodePort(t, p.namespace, "numeric")),
		"the pod's address":                to(net.JoinHostPort(pods[0].Status.PodIP, "8080")),
		"the headless Service, from a pod": p.fromInside(t, "http://headless:8080/my", cookie),
	}
}

// fromInside asks from another pod of the namespace, which knows the cluster's names.
func (p *portal) fromInside(t *testing.T, url, cookie string) outcome {
	t.Helper()
	out := ""
	until(t, url+" leads somewhere", func(ctx context.Context) (err error) { // names take a moment too
		out, err = run(ctx, "", p.kubectl, "-n", p.namespace, "exec", "inside", "--", "/fixture", "visit", url, cookie)
		return err
	})
	status, location, _ := strings.Cut(strings.TrimSpace(out), " ")
	switch {
	case status == strconv.Itoa(http.StatusOK):
		return opened
	case strings.HasPrefix(location, "/my/profile/two-factor"):
		return sentToEnrol
	}
	return outcome(out)
}

func (p *portal) addServices(t *testing.T) {
	t.Helper()
	p.apply(t, strings.ReplaceAll(moreServices, "NAMESPACE", p.namespace))
	p.k(t, "-n", p.namespace, "wait", "--for=condition=Ready", "pod/inside", "--timeout=60s")
}

// ways are the names of the ways around that the status lists, as "Kind name".
func (p *portal) ways(ctx context.Context, t *testing.T) []string {
	t.Helper()
	policy, err := p.read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var ways []string
	for _, w := range policy.Status.WaysAround {
		ways = append(ways, w.Kind+" "+w.Name)
	}
	slices.Sort(ways)
	return ways
}

// captureRedirect tries every way to a pod whose traffic is redirected.
func captureRedirect(t *testing.T, n *node) {
	p := n.protect(t, "redirect", 1, "requireForEveryone: true")
	policy, err := p.read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if policy.Status.Capture != mfav1alpha1.CaptureRedirect {
		t.Fatalf("capture is %s", policy.Status.Capture)
	}
	p.addServices(t)
	for way, got := range p.arrivals(t, p.signIn(t, "alice").cookies(t)) {
		if got != sentToEnrol {
			t.Errorf("by %s: %s, want %s", way, got, sentToEnrol)
		}
	}
	if ways := p.ways(t.Context(), t); len(ways) > 0 {
		t.Errorf("the status lists ways around: %v", ways)
	}
}

// capturePort runs the portal under Pod Security "restricted". What can be reached there
// without the sidecar must be what the status says, neither more nor less.
func capturePort(t *testing.T, n *node) {
	n.namespace(t, "restricted", "pod-security.kubernetes.io/enforce: restricted")
	p := &portal{node: n, namespace: "restricted"}
	p.policy(t, "requireForEveryone: true")
	n.k(t, "-n", p.namespace, "wait", "--for=condition=InjectionReady", "mfapolicy/portal", "--timeout=60s")
	p.deploy(t, 1)
	p.await(t)
	p.front = newIngress(t, n.nodePort(t, p.namespace, "portal"))
	p.addServices(t)
	want := map[string]outcome{
		"the Service by name": sentToEnrol, "the NodePort by name": sentToEnrol,
		"the Service by number": opened, "the NodePort by number": opened,
		"the pod's address": opened, "the headless Service, from a pod": opened,
	}
	if diff := cmp.Diff(want, p.arrivals(t, p.signIn(t, "alice").cookies(t))); diff != "" {
		t.Errorf("what is reached (-want +got):\n%s", diff)
	}
	listed := []string{"Pod " + p.pods(t)[0].Name, "Service headless", "Service numeric"}
	until(t, "the status lists the ways around", func(ctx context.Context) error {
		return differ(listed, p.ways(ctx, t))
	})
	n.k(t, "-n", p.namespace, "delete", "service", "numeric", "headless")
	until(t, "the status lists those that are left", func(ctx context.Context) error {
		return differ(listed[:1], p.ways(ctx, t))
	})
}
