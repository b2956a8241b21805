package apiserver_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/test/apiserver"
)

func TestServersKnowMFAPolicy(t *testing.T) {
	for name, start := range map[string]func(testing.TB) *apiserver.Server{
		"the current minor":          apiserver.Start,
		"the oldest supported minor": apiserver.StartOldest,
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			if err := s.Client.List(t.Context(), new(mfav1alpha1.MFAPolicyList)); err != nil {
				t.Errorf("list policies: %v", err)
			}
			if err := s.Client.List(t.Context(), new(corev1.PodList)); err != nil {
				t.Errorf("list pods: %v", err)
			}
		})
	}
}
