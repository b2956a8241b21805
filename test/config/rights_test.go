package config_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sallyport/sallyport/test/apiserver"
)

// authenticated are the groups of every service account of the operator's namespace.
var authenticated = []string{"system:serviceaccounts", "system:serviceaccounts:" + system, "system:authenticated"}

// operator is the API server as the operator's service account sees it, with the
// rights of config/rbac in force.
func operator(t *testing.T) client.Client {
	t.Helper()
	s := shared(t)
	apply(t, s.Client, render(t, "config/rbac"))
	c := as(t, s, "sallyport-controller")
	for _, granted := range []right{
		{verb: "list", group: "mfa.sallyport.dev", resource: "mfapolicies"},
		{verb: "get", resource: "secrets", namespace: system, name: "sallyport-master-keys"},
	} {
		eventually(t, "the operator may "+granted.String(), func() bool { return may(t, c, granted) })
	}
	return c
}

// as is a client of a service account of the operator's namespace.
func as(t *testing.T, s *apiserver.Server, account string) client.Client {
	t.Helper()
	config := rest.CopyConfig(s.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + system + ":" + account, Groups: authenticated}
	c, err := client.New(config, client.Options{Scheme: apiserver.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// right is one thing that somebody may do. An empty namespace means all of them.
type right struct{ verb, group, resource, subresource, namespace, name string }

func (r right) String() string {
	resource := strings.Trim(r.resource+"."+r.group, ".")
	if r.subresource != "" {
		resource += "/" + r.subresource
	}
	where := "everywhere"
	if r.namespace != "" {
		where = "in " + r.namespace
	}
	return strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s", r.verb, resource, r.name, where)), " ")
}

func may(t *testing.T, c client.Client, r right) bool {
	t.Helper()
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: r.verb, Group: r.group, Version: "*", Resource: r.resource, Subresource: r.subresource,
			Namespace: r.namespace, Name: r.name,
		},
	}}
	if err := c.Create(t.Context(), review); err != nil {
		t.Fatalf("ask whether it may %s: %v", r, err)
	}
	return review.Status.Allowed
}

const (
	admission = "admissionregistration.k8s.io"
	ours      = "mfa.sallyport.dev"
)

// needed is what the operator's code does.
var needed = []right{
	{verb: "watch", group: ours, resource: "mfapolicies"},
	{verb: "patch", group: ours, resource: "mfapolicies", namespace: tenant, name: "portal"},
	{verb: "patch", group: ours, resource: "mfapolicies", subresource: "status", namespace: tenant, name: "portal"},
	{verb: "watch", resource: "pods"},
	{verb: "watch", resource: "services"},
	{verb: "watch", resource: "namespaces"},
	{verb: "watch", resource: "secrets", name: "sallyport-sidecar"},
	{verb: "create", resource: "secrets", namespace: tenant, name: "sallyport-sidecar"},
	{verb: "patch", resource: "secrets", namespace: tenant, name: "sallyport-sidecar"},
	{verb: "delete", resource: "secrets", namespace: tenant, name: "sallyport-sidecar"},
	{verb: "create", resource: "secrets", namespace: system},
	{verb: "get", resource: "secrets", namespace: system, name: "sallyport-master-keys"},
	{verb: "update", resource: "secrets", namespace: system, name: "sallyport-master-keys"},
	{verb: "get", resource: "secrets", namespace: system, name: "sallyport-webhook-cert"},
	{verb: "list", resource: "secrets", namespace: system, name: "sallyport-webhook-cert"},
	{verb: "watch", resource: "secrets", namespace: system, name: "sallyport-webhook-cert"},
	{verb: "update", resource: "secrets", namespace: system, name: "sallyport-webhook-cert"},
	{verb: "create", group: "coordination.k8s.io", resource: "leases", namespace: system},
	{verb: "get", group: "coordination.k8s.io", resource: "leases", namespace: system, name: "sallyport-controller"},
	{verb: "update", group: "coordination.k8s.io", resource: "leases", namespace: system, name: "sallyport-controller"},
	{verb: "create", resource: "events", namespace: system},
	{verb: "create", group: "events.k8s.io", resource: "events", namespace: tenant},
	{verb: "watch", group: admission, resource: "mutatingwebhookconfigurations"},
	{verb: "delete", group: admission, resource: "mutatingwebhookconfigurations", name: "sallyport.acme.portal"},
	{verb: "watch", group: admission, resource: "validatingadmissionpolicies"},
	{verb: "create", group: admission, resource: "validatingadmissionpolicies", name: "sallyport-backstop"},
	{verb: "patch", group: admission, resource: "validatingadmissionpolicies", name: "sallyport.acme.portal"},
	{verb: "delete", group: admission, resource: "validatingadmissionpolicies", name: "sallyport.acme.portal"},
	{verb: "delete", group: admission, resource: "validatingadmissionpolicybindings", name: "sallyport.acme.portal"},
	{verb: "delete", group: "networking.k8s.io", resource: "networkpolicies", namespace: tenant, name: "sallyport-portal"},
	{verb: "list", group: "apps", resource: "deployments", namespace: tenant},
	{verb: "patch", group: "apps", resource: "deployments", namespace: tenant, name: "portal"},
	{verb: "patch", group: "apps", resource: "statefulsets", namespace: tenant, name: "portal"},
	{verb: "patch", group: "apps", resource: "daemonsets", namespace: tenant, name: "portal"},
}

// denied is what whoever holds the operator's token must not be able to do.
var denied = []right{
	{verb: "get", resource: "secrets"},
	{verb: "list", resource: "secrets"},
	{verb: "watch", resource: "secrets"},
	{verb: "delete", resource: "secrets"},
	{verb: "deletecollection", resource: "secrets"},
	{verb: "create", resource: "secrets", namespace: tenant},
	{verb: "get", resource: "secrets", namespace: tenant, name: "database-password"},
	{verb: "list", resource: "secrets", namespace: tenant},
	{verb: "get", resource: "secrets", namespace: "kube-system", name: "anything"},
	{verb: "get", resource: "secrets", namespace: system, name: "sallyport-redis"},
	{verb: "list", resource: "secrets", namespace: system},
	{verb: "delete", resource: "secrets", namespace: system, name: "sallyport-master-keys"},
	{verb: "patch", resource: "secrets", namespace: system, name: "sallyport-redis"},
	{verb: "get", resource: "secrets", namespace: tenant, name: "sallyport-master-keys"},
	{verb: "get", resource: "configmaps"},
	{verb: "create", resource: "pods", namespace: tenant},
	{verb: "create", resource: "pods", namespace: system},
	{verb: "patch", resource: "pods", namespace: tenant, name: "portal"},
	{verb: "delete", resource: "pods", namespace: tenant, name: "portal"},
	{verb: "create", resource: "pods", subresource: "exec", namespace: tenant, name: "portal"},
	{verb: "get", resource: "pods", subresource: "exec", namespace: tenant, name: "portal"},
	{verb: "create", resource: "pods", subresource: "attach", namespace: tenant, name: "portal"},
	{verb: "create", resource: "pods", subresource: "portforward", namespace: tenant, name: "portal"},
	{verb: "get", resource: "pods", subresource: "log", namespace: tenant, name: "portal"},
	{verb: "update", resource: "pods", subresource: "ephemeralcontainers", namespace: tenant, name: "portal"},
	{verb: "patch", resource: "namespaces", name: tenant},
	{verb: "create", resource: "namespaces"},
	{verb: "create", resource: "serviceaccounts", subresource: "token", namespace: system, name: "sallyport-controller"},
	{verb: "create", resource: "serviceaccounts", namespace: tenant},
	{verb: "impersonate", resource: "users", name: "admin"},
	{verb: "impersonate", resource: "groups", name: "system:masters"},
	{verb: "impersonate", resource: "serviceaccounts", namespace: "kube-system", name: "default"},
	{verb: "get", resource: "nodes", subresource: "proxy"},
	{verb: "create", group: "apps", resource: "deployments", namespace: tenant},
	{verb: "delete", group: "apps", resource: "deployments", namespace: tenant},
	{verb: "update", group: "apps", resource: "deployments", subresource: "scale", namespace: tenant, name: "portal"},
	{verb: "create", group: "batch", resource: "jobs", namespace: tenant},
	{verb: "create", group: ours, resource: "mfapolicies", namespace: tenant},
	{verb: "update", group: ours, resource: "mfapolicies", namespace: tenant, name: "portal"},
	{verb: "delete", group: ours, resource: "mfapolicies", namespace: tenant, name: "portal"},
	{verb: "deletecollection", group: admission, resource: "validatingadmissionpolicies"},
	{verb: "patch", group: admission, resource: "validatingwebhookconfigurations", name: "someone-elses"},
	{verb: "deletecollection", group: admission, resource: "mutatingwebhookconfigurations"},
	{verb: "update", group: "coordination.k8s.io", resource: "leases", namespace: system, name: "another"},
	{verb: "get", group: "coordination.k8s.io", resource: "leases", namespace: "kube-system", name: "kube-controller-manager"},
	{verb: "approve", group: "certificates.k8s.io", resource: "signers", name: "kubernetes.io/kube-apiserver-client"},
	{verb: "patch", group: "apiextensions.k8s.io", resource: "customresourcedefinitions", name: "mfapolicies.mfa.sallyport.dev"},
}

// deniedRoles is that the operator can give nobody a right, itself included.
func deniedRoles() []right {
	var all []right
	for _, r := range []right{{resource: "clusterroles"}, {resource: "roles", namespace: system}} {
		for _, r.verb = range []string{"bind", "escalate", "create", "update", "patch"} {
			r.group = rbacv1.GroupName
			all = append(all, r)
		}
	}
	for _, r := range []right{{resource: "clusterrolebindings"}, {resource: "rolebindings", namespace: system}} {
		for _, r.verb = range []string{"create", "update", "patch"} {
			r.group = rbacv1.GroupName
			all = append(all, r)
		}
	}
	return all
}

func TestRights(t *testing.T) {
	c := operator(t)
	for want, table := range map[bool][]right{true: needed, false: slices.Concat(denied, deniedRoles())} {
		for _, r := range table {
			name := "must not " + r.String()
			if want {
				name = "must " + r.String()
			}
			t.Run(name, func(t *testing.T) {
				if got := may(t, c, r); got != want {
					t.Errorf("may: %t, want %t", got, want)
				}
			})
		}
	}
}

// The golden file is everything that the API server lets the operator do beyond what
// it lets every service account do. A line more is a decision.
func TestRightsAreTheGoldenOnes(t *testing.T) {
	c := operator(t)
	nobody := as(t, server, "nobody-in-particular")
	var got strings.Builder
	for _, namespace := range []string{tenant, system} {
		fmt.Fprintf(&got, "# in namespace %s\n", namespace)
		everyones := rulesIn(t, nobody, namespace)
		for _, line := range slices.Sorted(maps.Keys(rulesIn(t, c, namespace))) {
			if !everyones[line] {
				fmt.Fprintln(&got, line)
			}
		}
	}
	const golden = "testdata/rights.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got.String(), "\n")); diff != "" {
		t.Errorf("rights; if they are meant, run with -update (-want +got):\n%s", diff)
	}
}

// rulesIn is what the API server says that the client may do in a namespace: lines
// of resource, name and verbs.
func rulesIn(t *testing.T, c client.Client, namespace string) map[string]bool {
	t.Helper()
	review := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace}}
	if err := c.Create(t.Context(), review); err != nil {
		t.Fatalf("ask for the rules in %s: %v", namespace, err)
	}
	if review.Status.Incomplete {
		t.Fatalf("the rules in %s are incomplete: %s", namespace, review.Status.EvaluationError)
	}
	verbs := make(map[string][]string)
	for _, rule := range review.Status.ResourceRules {
		for _, what := range things(rule) {
			verbs[what] = append(verbs[what], rule.Verbs...)
		}
	}
	for _, rule := range review.Status.NonResourceRules {
		for _, path := range rule.NonResourceURLs {
			verbs[path] = append(verbs[path], rule.Verbs...)
		}
	}
	lines := make(map[string]bool)
	for what, may := range verbs {
		slices.Sort(may)
		lines[what+": "+strings.Join(slices.Compact(may), " ")] = true
	}
	return lines
}

// things are what a rule is about: resources, by name where it names some.
func things(rule authorizationv1.ResourceRule) []string {
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{""} // all of them
	}
	var all []string
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			resource, sub, _ := strings.Cut(resource, "/")
			what := strings.TrimSuffix(strings.TrimSuffix(resource+"."+group, ".")+"/"+sub, "/")
			for _, name := range names {
				all = append(all, strings.TrimSpace(what+" "+name))
			}
		}
	}
	return all
}
