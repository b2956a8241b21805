package chart_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
	"github.com/sallyport/sallyport/test/apiserver"
	"github.com/sallyport/sallyport/test/stack"
)

const (
	tenant = "acme"
	// newest is a field that the CRD of the version before is made to lack.
	newest = "requireForAdmins"
)

// previous is the chart of the version before, which testdata holds as it was packaged.
// Its CRD is made to lack a field, whatever has changed since.
func previous(t *testing.T) string {
	t.Helper()
	packages, err := filepath.Glob("testdata/previous/*.tgz")
	if err != nil || len(packages) != 1 {
		t.Fatalf("packages of the version before: %q, %v; want one", packages, err)
	}
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "tar", "-xzf", packages[0], "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("unpack %s: %v\n%s", packages[0], err, out)
	}
	crd := filepath.Join(dir, "sallyport", "templates", "crd.yaml")
	text, err := os.ReadFile(crd)
	if err != nil {
		t.Fatal(err)
	}
	field := regexp.MustCompile(`(?m)^( {14})` + newest + `:\n(?: {15,}.*\n)*`)
	if found := field.FindAllString(string(text), -1); len(found) != 1 {
		t.Fatalf("the CRD has field %s %d times", newest, len(found))
	}
	if err := os.WriteFile(crd, field.ReplaceAll(text, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "sallyport")
}

// TestLifecycle goes from the first installation through upgrade, rollback and
// uninstallation, with an operator that has written what is its own.
func TestLifecycle(t *testing.T) {
	for minor, start := range minors {
		t.Run(minor, func(t *testing.T) {
			c := bare(t, start)
			c.runJobs(t)
			before := previous(t)
			values := []string{"--values", "testdata/values/default.yaml"}
			upgrade := func(more ...string) {
				t.Helper()
				c.does(t, append([]string{"upgrade", "sallyport", folder, "--values", "testdata/values/default.yaml"}, more...)...)
			}
			c.does(t, append([]string{"install", "sallyport", before, "--create-namespace"}, values...)...)
			c.wantField(t, false)
			upgrade()
			c.wantField(t, true)

			policy := c.work(t)
			owned := c.owned(t)
			unchanged := func(after string) {
				t.Helper()
				if diff := cmp.Diff(owned, c.owned(t)); diff != "" {
					t.Errorf("what the operator wrote, after %s (-before +after):\n%s", after, diff)
				}
			}
			c.wantNotInManifest(t, owned)

			versions := c.released(t)
			upgrade()
			if diff := cmp.Diff(versions, c.released(t)); diff != "" {
				t.Errorf("the same again changes (-before +after):\n%s", diff)
			}
			unchanged("the same again")
			upgrade("--set", "controller.logLevel=debug,sidecar.image.tag=v0.1.1")
			unchanged("an upgrade")
			c.does(t, "rollback", "sallyport", "1")
			c.wantField(t, false)
			unchanged("a rollback")
			upgrade()
			c.wantField(t, true)
			unchanged("an upgrade after the rollback")

			c.refuse(t, policy)
			unchanged("a refused uninstallation")
			// As an uninstallation leaves it that was broken off after it ended the operator.
			if out, err := c.kubectl(t, "", "-n", system, "scale", "deployment", "sallyport-controller", "--replicas=0"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			upgrade("--set", "uninstall.force=true")
			if got := c.replicas(t); got != 2 {
				t.Errorf("%d replicas after an upgrade, want 2", got)
			}
			c.uninstall(t, policy, owned)
			c.does(t, append([]string{"install", "sallyport", folder}, values...)...)
		})
	}
}

// work has an operator, as the release installs it, put a policy in force, and ends it.
func (c *cluster) work(t *testing.T) *mfav1alpha1.MFAPolicy {
	t.Helper()
	redis := redistest.Server(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "url"), []byte("redis://"+redis.Addr), 0o600); err != nil {
		t.Fatal(err)
	}
	deployment := new(appsv1.Deployment)
	if err := c.Client.Get(t.Context(), client.ObjectKey{Namespace: system, Name: "sallyport-controller"}, deployment); err != nil {
		t.Fatal(err)
	}
	webhook := strings.Replace(stack.FreeAddress(t), "127.0.0.1", "localhost", 1)
	stop := c.operate(t, deployment.Spec.Template.Spec, webhook, dir)
	password := new(corev1.Secret)
	eventually(t, "the operator has chosen a password for Redis", func(ctx context.Context) error {
		return c.Client.Get(ctx, client.ObjectKey{Namespace: system, Name: "sallyport-redis-password"}, password)
	})
	if err := redis.Client().ConfigSet(t.Context(), "requirepass", string(password.Data["password"])).Err(); err != nil {
		t.Fatal(err)
	}

	c.namespace(t, tenant, nil)
	text, err := os.ReadFile(root + "/config/samples/mfa_v1alpha1_mfapolicy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	policy := new(mfav1alpha1.MFAPolicy)
	if err := yaml.UnmarshalStrict(text, policy); err != nil {
		t.Fatal(err)
	}
	policy.Namespace = tenant
	c.create(t, policy)
	eventually(t, "the policy's rules are in force", func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(policy), policy); err != nil {
			return err
		}
		for _, kind := range []string{"Accepted", "KeysReady", "StoreReady", "InjectionReady"} {
			if condition := meta.FindStatusCondition(policy.Status.Conditions, kind); condition == nil || condition.Status != metav1.ConditionTrue {
				return fmt.Errorf("%s: %+v", kind, condition)
			}
		}
		return nil
	})
	stop()
	return policy
}

// owned are the objects that the operator writes, with their versions.
func (c *cluster) owned(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, list := range []client.ObjectList{
		new(corev1.SecretList), new(networkingv1.NetworkPolicyList), new(admissionregistrationv1.MutatingWebhookConfigurationList),
		new(admissionregistrationv1.ValidatingAdmissionPolicyList), new(admissionregistrationv1.ValidatingAdmissionPolicyBindingList),
	} {
		if err := c.Client.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		if err := meta.EachListItem(list, func(item runtime.Object) error {
			object := item.(client.Object)
			if ours := object.GetLabels()[mfav1alpha1.ManagedByLabel] == mfav1alpha1.ManagedBy; ours || strings.HasPrefix(object.GetName(), "sallyport-") {
				all[fmt.Sprintf("%T %s/%s", item, object.GetNamespace(), object.GetName())] = string(object.GetUID()) + " " + object.GetResourceVersion()
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	// The release's own NetworkPolicies are not the operator's.
	delete(all, "*v1.NetworkPolicy "+system+"/sallyport-controller")
	delete(all, "*v1.NetworkPolicy "+system+"/sallyport-redis")
	for _, name := range []string{
		"*v1.Secret " + system + "/sallyport-master-keys", "*v1.Secret " + system + "/sallyport-redis-password",
		"*v1.Secret " + system + "/sallyport-webhook-cert", "*v1.Secret " + tenant + "/sallyport-sidecar",
		"*v1.ValidatingAdmissionPolicy /sallyport-backstop",
	} {
		if all[name] == "" {
			t.Errorf("the operator has not written %s", name)
		}
	}
	if len(all) < 9 {
		t.Errorf("the operator has written %d objects, want its webhook configuration, backstop and two bindings too: %v", len(all), all)
	}
	return all
}

// released are the objects of the release's manifest, with their versions.
func (c *cluster) released(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, o := range decode(t, c.does(t, "get", "manifest", "sallyport")) {
		if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			t.Fatalf("%s of the manifest: %v", named(o), err)
		}
		all[named(o)] = o.GetResourceVersion()
	}
	if len(all) < 15 {
		t.Fatalf("%d objects in the manifest", len(all))
	}
	return all
}

func (c *cluster) wantNotInManifest(t *testing.T, owned map[string]string) {
	t.Helper()
	for _, o := range decode(t, c.does(t, "get", "manifest", "sallyport")) {
		if name := fmt.Sprintf("*v1.%s %s/%s", o.GetKind(), o.GetNamespace(), o.GetName()); owned[name] != "" {
			t.Errorf("%s is in the release, and the operator writes it", name)
		}
	}
}

// wantField fails unless the CRD knows the newest field, or does not.
func (c *cluster) wantField(t *testing.T, want bool) {
	t.Helper()
	crd := new(apiextensionsv1.CustomResourceDefinition)
	if err := c.Client.Get(t.Context(), client.ObjectKey{Name: "mfapolicies.mfa.sallyport.dev"}, crd); err != nil {
		t.Fatal(err)
	}
	_, got := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties[newest]
	if got != want {
		t.Errorf("the CRD knows %s: %t, want %t", newest, got, want)
	}
}

func (c *cluster) replicas(t *testing.T) int32 {
	t.Helper()
	deployment := new(appsv1.Deployment)
	if err := c.Client.Get(t.Context(), client.ObjectKey{Namespace: system, Name: "sallyport-controller"}, deployment); err != nil {
		t.Fatal(err)
	}
	return *deployment.Spec.Replicas
}

// refuse tries to uninstall while there is a policy. Helm has marked the release as on
// its way out by then: the README says how it comes back.
func (c *cluster) refuse(t *testing.T, policy *mfav1alpha1.MFAPolicy) {
	t.Helper()
	if out, err := c.helm(t, "uninstall", "sallyport"); err == nil {
		t.Fatalf("uninstalled while %s is there:\n%s", policy.Name, out)
	}
	if got := c.replicas(t); got != 2 {
		t.Errorf("%d replicas after a refusal, want 2", got)
	}
	if err := c.Client.Create(t.Context(), portal()); err == nil {
		t.Error("a pod of the policy was created without its sidecar after a refusal")
	}
	if _, err := c.helm(t, "upgrade", "sallyport", folder, "--reuse-values"); err == nil || !strings.Contains(err.Error(), "has no deployed releases") {
		t.Errorf("an upgrade right after a refusal: %v; if Helm takes it now, the README need not speak of it", err)
	}
	history := strings.Split(strings.TrimSpace(c.does(t, "history", "sallyport")), "\n")
	revision := strings.Fields(history[len(history)-1])[0]
	c.does(t, "rollback", "sallyport", revision)
}

// uninstall goes on although the policy is left, as uninstall.force says.
func (c *cluster) uninstall(t *testing.T, policy *mfav1alpha1.MFAPolicy, owned map[string]string) {
	t.Helper()
	manifest := decode(t, c.does(t, "get", "manifest", "sallyport"))
	c.does(t, "uninstall", "sallyport")
	eventually(t, "pods of the policy's are created again", func(ctx context.Context) error { return c.Client.Create(ctx, portal()) })
	for _, o := range manifest {
		err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o)
		if kept := o.GetKind() == "CustomResourceDefinition"; kept != (err == nil) || !kept && !apierrors.IsNotFound(err) {
			t.Errorf("%s after the uninstallation: %v", named(o), err)
		}
	}
	for name := range owned {
		kind, key, _ := strings.Cut(name, " ")
		if kind == "*v1.Secret" {
			namespace, name, _ := strings.Cut(key, "/")
			if err := c.Client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, new(corev1.Secret)); err != nil {
				t.Errorf("a Secret is lost: %v", err)
			}
		}
	}
	left := new(mfav1alpha1.MFAPolicy)
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(policy), left); err != nil || left.UID != policy.UID {
		t.Errorf("the policy did not outlive the chart: %v", err)
	}
	if jobs, err := c.kubectl(t, "", "-n", system, "get", "jobs,serviceaccounts,rolebindings", "-o", "name"); err != nil || strings.Contains(jobs, "sallyport") {
		t.Errorf("what is left of the hook: %v\n%s", err, jobs)
	}
}

// portal is a pod that the policy of the samples selects.
func portal() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: tenant, GenerateName: "portal-", Labels: map[string]string{"app": "portal"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}
}

// What kubectl put there is not Helm's: it says so, and the README says what to do.
func TestCRDThatKubectlInstalledIsTakenOver(t *testing.T) {
	c := bare(t, apiserver.Start)
	if out, err := c.kubectl(t, "", "apply", "--server-side", "-k", root+"/config/crd"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := c.kubectl(t, "", "patch", "crd", "mfapolicies.mfa.sallyport.dev", "--field-manager=kubectl", "--type=json", "-p",
		`[{"op":"remove","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/`+newest+`"}]`); err != nil {
		t.Fatalf("make it an older one: %v\n%s", err, out)
	}
	c.wantField(t, false)
	c.namespace(t, tenant, nil)
	policy := &mfav1alpha1.MFAPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: "portal"}}
	text, err := os.ReadFile(root + "/config/samples/mfa_v1alpha1_mfapolicy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := c.kubectl(t, string(text), "apply", "-n", tenant, "-f", "-"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	install := []string{"upgrade", "--install", "sallyport", folder, "--create-namespace", "--values", "testdata/values/default.yaml"}
	for _, c2 := range []struct {
		flags []string
		says  string
	}{
		{nil, "exists and cannot be imported into the current release: invalid ownership metadata"},
		{[]string{"--take-ownership"}, `conflict with "kubectl"`},
	} {
		if _, err := c.helm(t, append(install, c2.flags...)...); err == nil || !strings.Contains(err.Error(), c2.says) {
			t.Errorf("helm with %q: %v, want it to say %q", c2.flags, err, c2.says)
		}
		c.wantField(t, false)
	}
	c.does(t, append(install, "--take-ownership", "--force-conflicts")...)
	c.wantField(t, true)
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(policy), policy); err != nil {
		t.Errorf("the policy is lost: %v", err)
	}
}
