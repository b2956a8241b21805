package config_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	rules "github.com/sallyport/sallyport/controllers/admission"
	"github.com/sallyport/sallyport/test/apiserver"
)

func webhookConfiguration(name string) *admissionregistrationv1.MutatingWebhookConfiguration {
	return &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func admissionPolicy(name string) *admissionregistrationv1.ValidatingAdmissionPolicy {
	return &admissionregistrationv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func binding(name string) *admissionregistrationv1.ValidatingAdmissionPolicyBinding {
	return &admissionregistrationv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// makes runs a target of the Makefile against the server as a person does.
func makes(t *testing.T, s *apiserver.Server) func(arguments ...string) (string, error) {
	t.Helper()
	user, err := s.Env.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, kubeconfig, 0o600); err != nil {
		t.Fatal(err)
	}
	// Not the flags of the make that runs this test.
	environment := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS")
	})
	environment = append(environment, "KUBECONFIG="+file)
	return func(arguments ...string) (string, error) {
		command := exec.CommandContext(t.Context(), "make", append(arguments, "KUBECTL="+kubectl(t))...)
		command.Dir, command.Env = root, environment
		out, err := command.CombinedOutput()
		return string(out), err
	}
}

func TestDeployAndUndeploy(t *testing.T) {
	// One of its own: what is removed here others need.
	s := apiserver.Start(t)
	if err := s.Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: tenant}}); err != nil {
		t.Fatal(err)
	}
	run := makes(t, s)
	images := []string{"CONTROLLER_IMAGE=example.com/controller:v1", "SIDECAR_IMAGE=example.com/sidecar:v1"}

	if out, err := run("install"); err != nil {
		t.Fatalf("make install: %v\n%s", err, out)
	}
	if out, err := run("deploy"); err == nil {
		t.Errorf("make deploy without images went well:\n%s", out)
	}
	if out, err := run(append(images, "deploy")...); err == nil || !strings.Contains(out, "sallyport-redis") {
		t.Errorf("make deploy without the Secret of Redis: %v, want it to name sallyport-redis:\n%s", err, out)
	}
	for _, name := range []string{"sallyport-redis", mfav1alpha1.MasterSecret} {
		if err := s.Client.Create(t.Context(), secret(system, name)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := run(append(images, "deploy")...); err != nil {
		t.Fatalf("make deploy: %v\n%s", err, out)
	}
	present(t, s, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "sallyport-controller"}}, true)

	p := samplePolicy(t, tenant)
	if err := s.Client.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	install(t, s, p)
	for _, target := range []string{"undeploy", "uninstall"} {
		if out, err := run(target); err == nil || !strings.Contains(out, p.Name) {
			t.Errorf("make %s while there is a policy: %v, want it to name the policy:\n%s", target, err, out)
		}
	}
	present(t, s, webhookConfiguration(rules.WebhookName(tenant, p.Name)), true)
	if err := s.Client.Create(t.Context(), pod(tenant)); err == nil {
		t.Error("a pod of the policy was created without its sidecar while the rules stand, so this test proves nothing")
	}

	// The policy is gone and its rules have outlived it.
	if err := s.Client.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	foreign := webhookConfiguration("someone-elses")
	if err := s.Client.Create(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	if out, err := run("undeploy"); err != nil {
		t.Fatalf("make undeploy: %v\n%s", err, out)
	}
	eventually(t, "pods of the policy's are created again", func() bool { return s.Client.Create(t.Context(), pod(tenant)) == nil })
	for object, want := range map[client.Object]bool{
		webhookConfiguration(rules.WebhookName(tenant, p.Name)):                                            false,
		binding(rules.WebhookName(tenant, p.Name)):                                                         false,
		admissionPolicy(rules.BackstopName):                                                                false,
		admissionPolicy(rules.WebhookName(tenant, p.Name)):                                                 false,
		&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "sallyport-controller"}}: false,
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "sallyport-controller"}}:                   false,
		foreign: true,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: system}}: true,
		secret(system, mfav1alpha1.MasterSecret):                       true,
		secret(system, "sallyport-redis"):                              true,
		crd():                                                          true,
	} {
		present(t, s, object, want)
	}
	if out, err := run("undeploy"); err != nil {
		t.Errorf("make undeploy once more: %v\n%s", err, out)
	}
	if out, err := run("uninstall"); err != nil {
		t.Errorf("make uninstall: %v\n%s", err, out)
	}
	eventually(t, "the CRD is gone", func() bool {
		return apierrors.IsNotFound(s.Client.Get(t.Context(), client.ObjectKeyFromObject(crd()), crd()))
	})
	if out, err := run("undeploy"); err != nil {
		t.Errorf("make undeploy without the CRD: %v\n%s", err, out)
	}
}

func crd() *apiextensionsv1.CustomResourceDefinition {
	return &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "mfapolicies.mfa.sallyport.dev"}}
}

// install puts the rules of a policy in force, as the controller does.
func install(t *testing.T, s *apiserver.Server, p *mfav1alpha1.MFAPolicy) {
	t.Helper()
	target := rules.Target{Namespace: system, Name: "sallyport-webhook"}
	for _, rule := range []runtime.ApplyConfiguration{
		rules.Backstop(), rules.BackstopBinding(p), rules.PolicyBackstop(p), rules.PolicyBackstopBinding(p), rules.Webhook(p, target),
	} {
		if err := s.Client.Apply(t.Context(), rule, client.FieldOwner(mfav1alpha1.FieldManager)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the rules are in force", func() bool {
		return s.Client.Create(t.Context(), pod(tenant), client.DryRunAll) != nil
	})
}

func present(t *testing.T, s *apiserver.Server, object client.Object, want bool) {
	t.Helper()
	err := s.Client.Get(t.Context(), client.ObjectKeyFromObject(object), object)
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	if got := err == nil; got != want {
		t.Errorf("%s is there: %t, want %t", fmt.Sprintf("%T %s", object, object.GetName()), got, want)
	}
}
