// Package selection decides which policy governs a pod.
//
// It is pure: it may import api/v1alpha1 and the API machinery, and must never
// read a cluster. Whoever asks brings all policies of the pod's namespace.
package selection

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// Governing returns the policies of one namespace whose selectors cover a pod with
// these labels, the oldest first: that one governs the pod. Policies of the same
// second are ordered by name, so that everyone who asks gets the same answer.
//
// A policy that is being deleted governs only where no other does: pods are not to
// be left without a second factor because an older policy lingers. One whose selector
// cannot be read was not accepted with it, and governs nothing.
func Governing(policies []mfav1alpha1.MFAPolicy, pod labels.Set) []*mfav1alpha1.MFAPolicy {
	var covering []*mfav1alpha1.MFAPolicy
	for i := range policies {
		if covers, err := Covers(&policies[i], pod); err == nil && covers {
			covering = append(covering, &policies[i])
		}
	}
	slices.SortFunc(covering, older)
	return covering
}

// Covers reports whether the policy's selector covers a pod with these labels.
func Covers(p *mfav1alpha1.MFAPolicy, pod labels.Set) (bool, error) {
	selector, err := metav1.LabelSelectorAsSelector(&p.Spec.Selector)
	if err != nil {
		return false, fmt.Errorf("read the selector of policy %s/%s: %w", p.Namespace, p.Name, err)
	}
	return selector.Matches(pod), nil
}

func older(a, b *mfav1alpha1.MFAPolicy) int {
	if deleting := a.DeletionTimestamp != nil; deleting != (b.DeletionTimestamp != nil) {
		if deleting {
			return 1
		}
		return -1
	}
	if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
		return c
	}
	return strings.Compare(a.Name, b.Name)
}
