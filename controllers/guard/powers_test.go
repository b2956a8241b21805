package guard_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/guard"
)

func TestPrivilegesThatReachTheSidecarAreFlaggedInEveryCapture(t *testing.T) {
	add := func(c corev1.Container, powers ...corev1.Capability) corev1.Container {
		c.SecurityContext = &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: powers}}
		return c
	}
	app := func(powers ...corev1.Capability) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.Containers[0] = add(p.Spec.Containers[0], powers...) }
	}
	cases := map[string]struct {
		change func(*corev1.Pod)
		says   []string // nothing: not flagged
	}{
		"the privilege to program the network": {app("NET_ADMIN"), []string{"container app has the capability NET_ADMIN", "past the sidecar", "capabilities.add"}},
		"the same by its long name":            {app("CAP_NET_ADMIN"), []string{"CAP_NET_ADMIN"}},
		"every capability":                     {app("ALL"), []string{"capability ALL", "keys"}},
		"the privilege to take over the node":  {app("CHOWN", "SYS_ADMIN"), []string{"capability SYS_ADMIN", "node"}},
		"a privileged container": {func(p *corev1.Pod) {
			p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: new(true)}
		}, []string{"container app is privileged", "privileged: false", "keys"}},
		"an init container that programs the network": {func(p *corev1.Pod) {
			p.Spec.InitContainers = append(p.Spec.InitContainers, add(corev1.Container{Name: "mesh-init"}, "NET_ADMIN"))
		}, []string{"container mesh-init has the capability NET_ADMIN"}},
		"harmless capabilities": {app("NET_BIND_SERVICE", "CHOWN"), nil},
		"a security context without capabilities": {func(p *corev1.Pod) {
			p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: new(false)}
		}, nil},
		"the injected init container": {func(p *corev1.Pod) {
			for i := range p.Spec.InitContainers {
				if p.Spec.InitContainers[i].Name == mfav1alpha1.RedirectContainer {
					p.Spec.InitContainers[i] = add(p.Spec.InitContainers[i], "NET_ADMIN")
				}
			}
		}, nil},
	}
	for name, tc := range cases {
		for capture, injected := range map[mfav1alpha1.Capture]func(string) corev1.Pod{
			mfav1alpha1.CaptureRedirect: redirected, mfav1alpha1.CapturePort: ported,
		} {
			t.Run(name+", capture "+string(capture), func(t *testing.T) {
				var wanted []want
				if tc.says != nil {
					wanted = []want{{"Pod", "a", tc.says}}
				}
				checkWays(t, guard.Ways(guard.Input{
					Policy: portal(), AppPort: appPort, Capture: capture, Pods: []corev1.Pod{with(injected("a"), tc.change)},
				}), wanted)
			})
		}
	}
}
