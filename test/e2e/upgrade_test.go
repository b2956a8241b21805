package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// keyRotation rotates the master keys under people who use the portal. Where it waits for
// an hour, the test turns the time back that it waits since.
func keyRotation(t *testing.T, n *node) {
	p := n.protect(t, "rotation", 2)
	people := p.people(t)
	l := underLoad(t, people)
	l.settles("verified", opened, 20)
	n.k(t, "-n", system, "annotate", "secret", mfav1alpha1.MasterSecret, "--overwrite", mfav1alpha1.RotateAnnotation+"=e2e")
	p.awaitKeys(t, "Distributing")
	n.ageKeys(t)
	p.awaitKeys(t, "Resealing")
	l.settles("verified", opened, 40)
	l.ends(map[string][]outcome{"verified": {opened}, "another": {opened}, "password only": {challenged}})
	// The seed is sealed anew as it is used.
	again := p.signIn(t, "alice")
	again.phone = people["verified"].phone
	again.passes(t)
	if got := again.asks(t.Context()); got != opened {
		t.Errorf("alice has passed the challenge, and is %s", got)
	}
}

func (p *portal) awaitKeys(t *testing.T, phase string) {
	t.Helper()
	until(t, "the rotation is "+phase, func(ctx context.Context) error {
		policy, err := p.read(ctx)
		if err != nil {
			return err
		}
		if policy.Status.Keys == nil || policy.Status.Keys.Phase != phase {
			return fmt.Errorf("keys: %+v", policy.Status.Keys)
		}
		return nil
	})
}

// ageKeys has every key be an hour older.
func (n *node) ageKeys(t *testing.T) {
	t.Helper()
	secret := new(corev1.Secret)
	if err := n.Get(t.Context(), keyOf(system, mfav1alpha1.MasterSecret), secret); err != nil {
		t.Fatal(err)
	}
	var ring map[string]any
	if err := json.Unmarshal(secret.Data[mfav1alpha1.KeysKey], &ring); err != nil {
		t.Fatal(err)
	}
	entries, _ := ring["keys"].([]any)
	for _, e := range entries {
		entry, _ := e.(map[string]any)
		text, _ := entry["created"].(string)
		created, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		entry["created"] = created.Add(-time.Hour).UTC().Format(time.RFC3339)
	}
	before := secret.DeepCopy()
	var err error
	if secret.Data[mfav1alpha1.KeysKey], err = json.Marshal(ring); err != nil {
		t.Fatal(err)
	}
	if err := n.Patch(t.Context(), secret, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
}

// chartUpgrade upgrades operator and sidecars to the next version under load, and rolls
// that back.
func chartUpgrade(t *testing.T, n *node) {
	p := n.protect(t, "upgraded", 2)
	people := p.people(t)
	l := underLoad(t, people)
	l.settles("verified", opened, 20)
	n.upgrade(t, "controller.image.tag="+n.next, "sidecar.image.tag="+n.next)
	p.restartAs(t)
	p.runs(t, n.next)
	mustRun(t, "", n.helm, "rollback", "-n", system, "sallyport", "--wait", "--timeout=4m")
	n.awaitNewReplicas(t)
	p.restartAs(t)
	p.runs(t, n.version)
	l.settles("verified", opened, 20)
	l.ends(map[string][]outcome{"verified": {opened}, "another": {opened}, "password only": {challenged}})
}

// restartAs runs the command that the status names for pods with older settings.
func (p *portal) restartAs(t *testing.T) {
	t.Helper()
	command := ""
	until(t, "the status names the command", func(ctx context.Context) error {
		policy, err := p.read(ctx)
		if err != nil {
			return err
		}
		if policy.Status.Pods == nil || policy.Status.Pods.Outdated == 0 {
			return fmt.Errorf("pods: %+v", policy.Status.Pods)
		}
		command = policy.Status.Pods.Command
		return nil
	})
	p.shell(t, command)
	p.rolledOut(t)
	p.await(t)
}

// runs fails unless every pod has the sidecar of a version.
func (p *portal) runs(t *testing.T, version string) {
	t.Helper()
	for _, pod := range p.pods(t) {
		at := slices.IndexFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == mfav1alpha1.SidecarContainer })
		if at < 0 || !strings.HasSuffix(pod.Spec.InitContainers[at].Image, "/sidecar:"+version) {
			t.Errorf("pod %s runs another sidecar than %s", pod.Name, version)
		}
	}
}

// uninstall removes everything as the documents say, and tries what is left.
func uninstall(t *testing.T, n *node) {
	p := n.protect(t, "leaving", 1)
	out, err := run(t.Context(), "", n.helm, "uninstall", "-n", system, "sallyport", "--timeout=90s")
	if err == nil {
		t.Fatalf("the chart was uninstalled while there is a policy:\n%s", out)
	}
	t.Logf("helm uninstall, while there is a policy:\n%s", out)
	p.await(t) // nothing was removed

	n.k(t, "delete", "mfapolicies", "-A", "--all", "--wait=false")
	until(t, "the policy asks for the pod to be restarted", func(ctx context.Context) error {
		policy, err := p.read(ctx)
		if err != nil {
			return err
		}
		if policy.DeletionTimestamp == nil || policy.Status.Pods == nil || policy.Status.Pods.Command == "" {
			return errors.New("not yet")
		}
		return nil
	})
	n.k(t, "-n", p.namespace, "rollout", "restart", "deployment/portal")
	p.rolledOut(t)
	n.k(t, "-n", p.namespace, "wait", "--for=delete", "mfapolicy/portal", "--timeout=90s")
	mustRun(t, "", n.helm, "uninstall", "-n", system, "sallyport", "--wait", "--timeout=3m")

	for _, kind := range []string{"mutatingwebhookconfigurations", "validatingadmissionpolicies", "validatingadmissionpolicybindings"} {
		if left := n.k(t, "get", kind, "-l", "app.kubernetes.io/managed-by=sallyport", "-o", "name"); left != "" {
			t.Errorf("%s are left: %s", kind, left)
		}
	}
	n.k(t, "get", "crd", "mfapolicies.mfa.sallyport.dev")
	n.k(t, "-n", system, "get", "secret", mfav1alpha1.MasterSecret)
	n.k(t, "-n", p.namespace, "rollout", "restart", "deployment/portal")
	p.rolledOut(t)
}
