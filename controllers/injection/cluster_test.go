package injection_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"
	podsecurity "k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/injection"
	"github.com/sallyport/sallyport/test/apiserver"
)

// What the API server makes of an injected pod is valid, and comes back through the
// webhook without a change, with the token that ServiceAccount, and the limits that
// LimitRanger, add to every container.
func TestAPIServerTakesInjectedPods(t *testing.T) {
	for _, server := range []struct {
		name  string
		start func(testing.TB) *apiserver.Server
	}{{"current", apiserver.Start}, {"oldest supported", apiserver.StartOldest}} {
		t.Run(server.name, func(t *testing.T) {
			s := server.start(t)
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "acme"}}
			if err := s.Client.Create(t.Context(), namespace); err != nil {
				t.Fatal(err)
			}
			limits := &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Name: "defaults", Namespace: "acme"}}
			limits.Spec.Limits = []corev1.LimitRangeItem{{
				Type:    corev1.LimitTypeContainer,
				Default: corev1.ResourceList{corev1.ResourceEphemeralStorage: *quantity("1Gi")},
			}}
			if err := s.Client.Create(t.Context(), limits); err != nil {
				t.Fatal(err)
			}
			injected(t, func(t *testing.T, _ shape, settings injection.Settings, out *corev1.Pod) {
				took := out.DeepCopy()
				if err := s.Client.Create(t.Context(), took, client.DryRunAll); err != nil {
					t.Fatalf("the API server refuses: %v", err)
				}
				addToken(took)
				again := took.DeepCopy()
				if err := injection.Inject(again, settings); err != nil {
					t.Fatalf("Inject of what the API server made of it: %v", err)
				}
				if !equality.Semantic.DeepEqual(took, again) {
					t.Errorf("it comes back changed (-sent +back):\n%s", cmp.Diff(took, again))
				}
			})
		})
	}
}

// addToken does as the API server's plugin ServiceAccount does.
func addToken(pod *corev1.Pod) {
	mount := corev1.VolumeMount{Name: "kube-api-access-y", ReadOnly: true, MountPath: "/var/run/secrets/kubernetes.io/serviceaccount"}
	add := func(c *corev1.Container) {
		for _, m := range c.VolumeMounts {
			if m.MountPath == mount.MountPath {
				return
			}
		}
		c.VolumeMounts = append(c.VolumeMounts, mount)
	}
	for i := range pod.Spec.InitContainers {
		add(&pod.Spec.InitContainers[i])
	}
	for i := range pod.Spec.Containers {
		add(&pod.Spec.Containers[i])
	}
}

func TestInjectionKeepsThePodSecurityLevel(t *testing.T) {
	evaluator, err := podsecurity.NewEvaluator(podsecurity.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	evaluate := func(level api.Level, pod *corev1.Pod) (bool, string) {
		result := podsecurity.AggregateCheckResults(evaluator.EvaluatePod(
			api.LevelVersion{Level: level, Version: api.LatestVersion()}, &pod.ObjectMeta, &pod.Spec))
		return result.Allowed, result.ForbiddenDetail()
	}
	restricted := 0
	injected(t, func(t *testing.T, s shape, settings injection.Settings, out *corev1.Pod) {
		for _, level := range []api.Level{api.LevelBaseline, api.LevelRestricted} {
			before, _ := evaluate(level, s.pod)
			after, why := evaluate(level, out)
			blamed := strings.Contains(why, fmt.Sprintf("%q", mfav1alpha1.SidecarContainer)) ||
				strings.Contains(why, fmt.Sprintf("%q", mfav1alpha1.SidecarVolume))
			if settings.Capture == mfav1alpha1.CapturePort && (before != after || blamed) {
				t.Errorf("level %s: %v before, %v after: %s", level, before, after, why)
			}
			if settings.Capture == mfav1alpha1.CaptureRedirect && after {
				t.Errorf("level %s admits NET_ADMIN; ResolveCapture takes Port for nothing", level)
			}
			if level == api.LevelRestricted && after {
				restricted++
			}
		}
	})
	if restricted == 0 {
		t.Error("no shape was admitted as restricted; the test shows nothing")
	}
}
