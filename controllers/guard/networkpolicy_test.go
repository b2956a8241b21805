package guard_test

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/guard"
	"github.com/sallyport/sallyport/test/apiserver"
)

func TestNetworkPolicyAdmitsEveryPortButThoseGiven(t *testing.T) {
	for name, closed := range map[string][]int32{
		"one port": {8080}, "the first": {1}, "the last": {65535}, "neighbours out of order, twice": {8081, 8080, 8080},
		"the sidecar's own": {mfav1alpha1.TrafficPort}, "several": {80, 8080, 15089}, "no ports": nil, "what is no port": {0, -1, 70000},
	} {
		t.Run(name, func(t *testing.T) {
			ac := guard.NetworkPolicy(portal(), closed)
			if len(ac.Spec.Ingress) != 1 || len(ac.Spec.Ingress[0].From) != 0 {
				t.Fatalf("not one rule from anywhere: %v", ac.Spec.Ingress)
			}
			admitted := map[corev1.Protocol]map[int32]bool{corev1.ProtocolTCP: {}}
			for _, p := range ac.Spec.Ingress[0].Ports {
				if *p.Protocol != corev1.ProtocolTCP {
					if p.Port != nil {
						t.Errorf("%s is limited to a port", *p.Protocol)
					}
					admitted[*p.Protocol] = nil
					continue
				}
				last := p.Port.IntVal
				if p.EndPort != nil {
					last = *p.EndPort
				}
				for n := p.Port.IntVal; n <= last; n++ {
					admitted[corev1.ProtocolTCP][n] = true
				}
			}
			for n := int32(1); n <= 65535; n++ {
				if want := !slices.Contains(closed, n); admitted[corev1.ProtocolTCP][n] != want {
					t.Fatalf("port %d admitted: %v, want %v", n, !want, want)
				}
			}
			for _, protocol := range []corev1.Protocol{corev1.ProtocolUDP, corev1.ProtocolSCTP} {
				if _, ok := admitted[protocol]; !ok {
					t.Errorf("%s is not admitted", protocol)
				}
			}
		})
	}
}

func TestNetworkPolicyNamesTheSidecarsPortsOneByOne(t *testing.T) {
	// A network plugin that ignores endPort takes a range for its first port.
	var single []int32
	for _, p := range guard.NetworkPolicy(portal(), []int32{appPort}).Spec.Ingress[0].Ports {
		if p.Port != nil && p.EndPort == nil {
			single = append(single, p.Port.IntVal)
		}
	}
	for _, own := range []int32{mfav1alpha1.TrafficPort, mfav1alpha1.OperationsPort} {
		if !slices.Contains(single, own) {
			t.Errorf("port %d is not named by itself: %v", own, single)
		}
	}
}

func TestMayRestrict(t *testing.T) {
	policy := portal()
	policy.Spec.Selector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "legacy", Operator: metav1.LabelSelectorOpDoesNotExist}}
	expression := func(r metav1.LabelSelectorRequirement) networkingv1.NetworkPolicy {
		n := networkPolicy("other", nil)
		n.Spec.PodSelector.MatchExpressions = []metav1.LabelSelectorRequirement{r}
		return n
	}
	change := func(n networkingv1.NetworkPolicy, change func(*networkingv1.NetworkPolicy)) networkingv1.NetworkPolicy {
		change(&n)
		return n
	}
	owner := metav1.OwnerReference{APIVersion: mfav1alpha1.GroupVersion.String(), Kind: "MFAPolicy", Name: "shop", UID: "u", Controller: new(true)}
	cases := map[string]struct {
		other                  networkingv1.NetworkPolicy
		withoutPods, withAPods bool // whether ours may be applied
	}{
		"everything is selected":                       {networkPolicy("deny", nil), false, false},
		"the very pods are selected":                   {networkPolicy("other", map[string]string{"app": "portal"}), false, false},
		"some of the pods are selected":                {networkPolicy("other", map[string]string{"one": "yes"}), false, false},
		"no pod yet, but it cannot be ruled out":       {networkPolicy("other", map[string]string{"tier": "db"}), false, true},
		"another app is selected":                      {networkPolicy("other", map[string]string{"app": "db"}), true, true},
		"the app among others is selected":             {expression(metav1.LabelSelectorRequirement{Key: "app", Operator: metav1.LabelSelectorOpIn, Values: []string{"portal", "shop"}}), false, false},
		"whatever has the label is selected":           {expression(metav1.LabelSelectorRequirement{Key: "app", Operator: metav1.LabelSelectorOpExists}), false, false},
		"whatever lacks the label is selected":         {expression(metav1.LabelSelectorRequirement{Key: "app", Operator: metav1.LabelSelectorOpDoesNotExist}), true, true},
		"everything but the app is selected":           {expression(metav1.LabelSelectorRequirement{Key: "app", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"portal"}}), true, true},
		"everything but another app is selected":       {expression(metav1.LabelSelectorRequirement{Key: "app", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"db"}}), false, false},
		"what the policy excludes is selected":         {expression(metav1.LabelSelectorRequirement{Key: "legacy", Operator: metav1.LabelSelectorOpExists}), true, true},
		"a selector that cannot be read":               {expression(metav1.LabelSelectorRequirement{Key: "app", Operator: "Like"}), false, false},
		"a policy of ours for another MFAPolicy":       {change(networkPolicy("sallyport-shop", nil), func(n *networkingv1.NetworkPolicy) { n.OwnerReferences = []metav1.OwnerReference{owner} }), true, true},
		"a policy that only has a name like ours":      {networkPolicy("sallyport-shop", nil), false, false},
		"a policy of another name that claims us":      {change(networkPolicy("deny", nil), func(n *networkingv1.NetworkPolicy) { n.OwnerReferences = []metav1.OwnerReference{owner} }), false, false},
		"only egress is limited":                       {change(networkPolicy("out", nil), func(n *networkingv1.NetworkPolicy) { n.Spec.PolicyTypes = []networkingv1.PolicyType{"Egress"} }), true, true},
		"no types means ingress":                       {change(networkPolicy("deny", nil), func(n *networkingv1.NetworkPolicy) { n.Spec.PolicyTypes = nil }), false, false},
		"a policy of another namespace is not in play": {change(networkPolicy("deny", nil), func(n *networkingv1.NetworkPolicy) { n.Namespace = "other" }), true, true},
	}
	pods := []corev1.Pod{ported("a"), with(ported("b"), func(p *corev1.Pod) { p.Labels["one"] = "yes" })}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			others := []networkingv1.NetworkPolicy{tc.other}
			if got := guard.MayRestrict(policy, others); got != tc.withoutPods {
				t.Errorf("without pods: %v, want %v", got, tc.withoutPods)
			}
			if got := guard.MayRestrict(policy, others, pods...); got != tc.withAPods {
				t.Errorf("with pods: %v, want %v", got, tc.withAPods)
			}
		})
	}
	if !guard.MayRestrict(policy, nil) {
		t.Error("nothing stands in the way, and yet")
	}
}

func TestNetworkPolicyIsWhatTheAPIServerTakes(t *testing.T) {
	s := apiserver.Start(t)
	policy := portal()
	policy.Spec.Selector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "tier", Operator: metav1.LabelSelectorOpIn, Values: []string{"web"}}}
	if err := s.Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		t.Fatal(err)
	}
	for _, ports := range [][]int32{{appPort}, {9090}} { // applied again, it is replaced
		ac := guard.NetworkPolicy(policy, ports)
		if err := s.Client.Apply(t.Context(), ac, client.FieldOwner(mfav1alpha1.FieldManager), client.ForceOwnership); err != nil {
			t.Fatalf("apply it for %v: %v", ports, err)
		}
		got := new(networkingv1.NetworkPolicy)
		if err := s.Client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "sallyport-portal"}, got); err != nil {
			t.Fatal(err)
		}
		if !metav1.IsControlledBy(got, policy) || got.Labels[mfav1alpha1.ManagedByLabel] != mfav1alpha1.ManagedBy {
			t.Errorf("not marked as ours: %v %v", got.OwnerReferences, got.Labels)
		}
		if got.OwnerReferences[0].BlockOwnerDeletion != nil {
			t.Error("it holds up the policy's deletion")
		}
		if got.Spec.PodSelector.MatchLabels["app"] != "portal" || len(got.Spec.PodSelector.MatchExpressions) != 1 {
			t.Errorf("it selects %v", got.Spec.PodSelector)
		}
		if !guard.MayRestrict(policy, []networkingv1.NetworkPolicy{*got}) {
			t.Error("it stands in its own way")
		}
		if first := got.Spec.Ingress[0].Ports[0]; len(got.Spec.Ingress) != 1 || *first.EndPort != ports[0]-1 {
			t.Errorf("it was not replaced: %v", got.Spec.Ingress)
		}
	}
}
