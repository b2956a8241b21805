package guard

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

func selectsAny(s labels.Selector, pods []corev1.Pod) bool {
	return slices.ContainsFunc(pods, func(pod corev1.Pod) bool { return s.Matches(labels.Set(pod.Labels)) })
}

// exclude reports whether no labels can satisfy both selectors.
func exclude(a, b labels.Selector) bool {
	as, aSelectable := a.Requirements()
	bs, bSelectable := b.Requirements()
	if !aSelectable || !bSelectable {
		return true
	}
	return slices.ContainsFunc(as, func(x labels.Requirement) bool {
		return slices.ContainsFunc(bs, func(y labels.Requirement) bool { return contradict(x, y) || contradict(y, x) })
	})
}

// contradict reports whether a demands of a label what b forbids.
func contradict(a, b labels.Requirement) bool {
	if a.Key() != b.Key() {
		return false
	}
	switch {
	case b.Operator() == selection.DoesNotExist:
		return isIn(a) || a.Operator() == selection.Exists
	case !isIn(a):
		return false
	case isIn(b):
		return a.Values().Intersection(b.Values()).Len() == 0
	case b.Operator() == selection.NotIn || b.Operator() == selection.NotEquals:
		return a.Values().Difference(b.Values()).Len() == 0
	default:
		return false
	}
}

func isIn(r labels.Requirement) bool {
	return r.Operator() == selection.In || r.Operator() == selection.Equals || r.Operator() == selection.DoubleEquals
}
