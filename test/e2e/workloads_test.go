package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// probedManifest is an app whose health is asked for in every way there is.
const probedManifest = `
apiVersion: v1
kind: Pod
metadata: {name: probed, namespace: NAMESPACE, labels: {app: portal, probed: "yes"}}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: app
    image: sallyport.test/fixture:1
    args: [serve, ":8080"]
    ports: [{name: http, containerPort: 8080}]
    startupProbe: {tcpSocket: {port: http}, periodSeconds: 1}
    readinessProbe: {httpGet: {path: /ready, port: http}, periodSeconds: 1, failureThreshold: 1}
    livenessProbe: {grpc: {port: 8080}, periodSeconds: 1, failureThreshold: 60}
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
---
apiVersion: v1
kind: Pod
metadata: {name: examined, namespace: NAMESPACE, labels: {app: portal}}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: app
    image: sallyport.test/fixture:1
    args: [serve, ":8080"]
    ports: [{containerPort: 8080}]
    readinessProbe: {exec: {command: [/fixture, get, "http://127.0.0.1:8080/"]}, periodSeconds: 1}
    livenessProbe: {grpc: {port: 8080}, periodSeconds: 1, failureThreshold: 2}
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
---
# It asks the sidecar whether it is there, and so ends well only behind it.
apiVersion: batch/v1
kind: Job
metadata: {name: report, namespace: NAMESPACE}
spec:
  backoffLimit: 0
  template:
    metadata: {labels: {app: portal}}
    spec:
      restartPolicy: Never
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: report
        image: sallyport.test/fixture:1
        args: [get, "http://127.0.0.1:15090/healthz"]
        ports: [{containerPort: 8080}]
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
`

// workloads runs pods whose probes ask the app in each way, and a Job, with their traffic
// redirected and under Pod Security "restricted".
func workloads(t *testing.T, n *node) {
	for _, tt := range []struct{ name, label string }{
		{"redirected", "pod-security.kubernetes.io/enforce: privileged"},
		{"by-port", "pod-security.kubernetes.io/enforce: restricted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n.namespace(t, tt.name, tt.label)
			p := &portal{node: n, namespace: tt.name}
			p.policy(t)
			n.k(t, "-n", tt.name, "wait", "--for=condition=InjectionReady", "mfapolicy/portal", "--timeout=60s")
			n.apply(t, strings.ReplaceAll(probedManifest, "NAMESPACE", tt.name))
			n.k(t, "-n", tt.name, "wait", "--for=condition=Complete", "job/report", "--timeout=90s")
			n.k(t, "-n", tt.name, "wait", "--for=condition=Ready", "pod/probed", "pod/examined", "--timeout=90s")

			probed := p.pod(t, "probed")
			p.turn(t, probed, "off")
			n.k(t, "-n", tt.name, "wait", "--for=condition=Ready=false", "pod/probed", "--timeout=60s")
			p.turn(t, probed, "on")
			n.k(t, "-n", tt.name, "wait", "--for=condition=Ready", "pod/probed", "--timeout=60s")
			p.turn(t, p.pod(t, "examined"), "off")
			until(t, "gRPC's probe has the app restarted", func(ctx context.Context) error {
				for _, s := range p.pod(t, "examined").Status.ContainerStatuses {
					if s.RestartCount == 0 {
						return fmt.Errorf("%s was not", s.Name)
					}
				}
				return ctx.Err()
			})
			for _, s := range append(p.pod(t, "probed").Status.ContainerStatuses, p.pod(t, "probed").Status.InitContainerStatuses...) {
				if s.RestartCount > 0 {
					t.Errorf("container %s of a healthy pod was restarted %d times", s.Name, s.RestartCount)
				}
			}
		})
	}
}

func (p *portal) pod(t *testing.T, name string) *corev1.Pod {
	t.Helper()
	pods, err := p.podsOf(t.Context(), p.namespace, "portal")
	if err != nil {
		t.Fatal(err)
	}
	for i := range pods {
		if pods[i].Name == name {
			return &pods[i]
		}
	}
	t.Fatalf("no pod %s runs", name)
	return nil
}

// turn turns the health of a fixture app on or off, through its sidecar.
func (p *portal) turn(t *testing.T, pod *corev1.Pod, state string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+pod.Status.PodIP+":15080/ready/"+state, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("POST /ready/%s was answered %d", state, answer.StatusCode)
	}
}
