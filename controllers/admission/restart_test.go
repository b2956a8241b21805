package admission_test

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sallyport/sallyport/test/apiserver"
)

// TestAnAPIServerThatStarts looks at its first seconds, in which it does not know the
// kind MFAPolicy: no other pod is held up, and none of the policy's comes in bare. That
// it never knows the kind is the same, and takes no luck to happen.
func TestAnAPIServerThatStarts(t *testing.T) {
	t.Parallel()
	s := apiserver.Start(t)
	f := newFixture(t, s)
	t.Run("again", f.restarts(s))
	crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "mfapolicies.mfa.sallyport.dev"}}
	f.must(f.client.Delete(t.Context(), crd))
	f.eventually("the kind is gone", func() bool {
		return f.client.Get(t.Context(), client.ObjectKeyFromObject(crd), crd) != nil
	})
	t.Run("without the kind", f.restarts(s))
}

// restarts kills the API server and creates pods from then on until it has been ready
// for some seconds.
func (f *fixture) restarts(s *apiserver.Server) func(*testing.T) {
	return func(t *testing.T) {
		restart := s.Kill(t)
		restart()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		others := pod("other", func(p *corev1.Pod) { p.Namespace = "other" })
		created, refused := 0, 0
		for created < 50 || refused < 50 {
			if ctx.Err() != nil {
				t.Fatalf("the API server has created %d other pods, and refused %d bare ones, within a minute", created, refused)
			}
			switch err := f.client.Create(ctx, others.DeepCopy(), client.DryRunAll); {
			case err == nil:
				created++
			case strings.Contains(err.Error(), "sallyport"):
				t.Fatalf("a pod of another namespace was refused after %d that were not: %v", created, err)
			}
			switch err := f.client.Create(ctx, pod("bare", nil), client.DryRunAll); {
			case err == nil:
				t.Fatal("a pod that the policy selects was created without its sidecar")
			case refusal(err, "arrived without"):
				refused++
			}
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}
