package lifecycle_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/test/operator"
)

func resetOf(name, user string) *mfav1alpha1.MFAReset {
	return &mfav1alpha1.MFAReset{
		ObjectMeta: metav1.ObjectMeta{Namespace: "reset", Name: name},
		Spec:       mfav1alpha1.MFAResetSpec{Policy: "portal", User: user},
	}
}

func awaitReset(t *testing.T, c *operator.Cluster, r *mfav1alpha1.MFAReset, status metav1.ConditionStatus, reason mfav1alpha1.ConditionReason) string {
	t.Helper()
	return awaitCondition(t, c, r, &r.Status.Conditions, mfav1alpha1.ConditionComplete, status, reason)
}

// awaitCondition reads an object until its condition is as wanted, and returns the message.
func awaitCondition(
	t *testing.T, c *operator.Cluster, object client.Object, conditions *[]metav1.Condition,
	of mfav1alpha1.ConditionType, status metav1.ConditionStatus, reason mfav1alpha1.ConditionReason,
) string {
	t.Helper()
	message := ""
	operator.Await(t, fmt.Sprintf("%s of %T %s is %s, %s", of, object, object.GetName(), status, reason), func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		is := meta.FindStatusCondition(*conditions, string(of))
		if is == nil || is.Status != status || is.Reason != string(reason) {
			return fmt.Errorf("conditions %+v", *conditions)
		}
		message = is.Message
		return nil
	})
	return message
}

// idOf is what the app says is the visitor's id.
func idOf(t *testing.T, visitor *operator.Visitor) string {
	t.Helper()
	var me struct {
		ID any `json:"id"`
	}
	if err := json.Unmarshal([]byte(visitor.Get("/api/me").Body), &me); err != nil || me.ID == nil {
		t.Fatalf("the app does not say who is signed in: %v", err)
	}
	return fmt.Sprint(me.ID)
}

// TestReset has an administrator end the enrolment of somebody who lost everything.
func TestReset(t *testing.T) {
	c := operator.Shared(t)
	process := c.Operator()
	p := c.Begin("reset", func(p *mfav1alpha1.MFAPolicy) { p.Spec.RequireForEveryone = true })
	_, sidecar := c.Protect(p, "portal-1", operator.App(t))
	alice, adam := c.SignIn(sidecar, "alice"), c.SignIn(sidecar, "adam")
	alice.Enrol()
	adam.Enrol()
	id := idOf(t, alice)

	nobody := resetOf("nobody", id+"x")
	elsewhere := resetOf("elsewhere", id)
	elsewhere.Spec.Policy = "portl"
	c.Create(nobody, elsewhere)
	operator.WantIn(t, "the reset of nobody", awaitReset(t, c, nobody, metav1.ConditionTrue, mfav1alpha1.ReasonNothingToReset),
		"No user with exactly this id is enrolled in workspace reset/portal")
	operator.WantIn(t, "the reset at no policy", awaitReset(t, c, elsewhere, metav1.ConditionFalse, mfav1alpha1.ReasonPolicyNotFound),
		"There is no MFAPolicy portl in namespace reset")
	if got := alice.Lands(); got != "app" {
		t.Fatalf("alice, whom nobody reset, lands at %s", got)
	}

	lost := resetOf("lost", id)
	c.Create(lost)
	awaitReset(t, c, lost, metav1.ConditionTrue, mfav1alpha1.ReasonReset)
	if lost.Status.CompletedAt == nil {
		t.Error("status.completedAt is not set")
	}
	alice.AwaitLands("enrol")
	if got := adam.Lands(); got != "app" {
		t.Errorf("adam, whom nobody reset, lands at %s", got)
	}
	operator.WantIn(t, "the event", c.AwaitEvent(lost, corev1.EventTypeNormal, mfav1alpha1.ReasonReset).Note, "two-factor can be set up anew")
	audited := regexp.MustCompile(`"msg":"Security event".*"event":"admin.reset","user":"([\w-]+)".*"policy":"reset/portal","reset":"lost","result":"Reset"`).
		FindStringSubmatch(process.Log())
	if audited == nil || !strings.Contains(sidecar.Log(), `"event":"enrol.confirm"`) || !strings.Contains(sidecar.Log(), `"user":"`+audited[1]+`"`) {
		t.Errorf("the reset was not audited under the user's hash: %q", audited)
	}
	if strings.Contains(process.Log(), `"`+id+`"`) {
		t.Error("the operator's log names the user")
	}

	// An operator that forgot that it was done ends no later enrolment; to the second.
	operator.Await(t, "the second of the reset is over", func(context.Context) error {
		if time.Since(lost.CreationTimestamp.Time) < time.Second {
			return errors.New("it is not")
		}
		return nil
	})
	alice.Enrol()
	process.Stop()
	base := lost.DeepCopy()
	lost.Status = mfav1alpha1.MFAResetStatus{}
	if err := c.Client.Status().Patch(t.Context(), lost, client.MergeFrom(base)); err != nil {
		t.Fatal(err)
	}
	c.Operator()
	operator.WantIn(t, "the reset, done again", awaitReset(t, c, lost, metav1.ConditionTrue, mfav1alpha1.ReasonEnrolledSince), "create another MFAReset")
	if got := alice.Lands(); got != "app" {
		t.Errorf("alice, who enrolled since, lands at %s", got)
	}
	mayReset(t, c)

	// A store that was lost holds nobody, and is never taken for one without her.
	c.Redis.Do("FLUSHALL")
	unknown := resetOf("unknown", id)
	c.Create(unknown)
	operator.WantIn(t, "the reset in a lost store", awaitReset(t, c, unknown, metav1.ConditionFalse, mfav1alpha1.ReasonStoreLost), "condition StoreReady of MFAPolicy portal")
}

// mayReset checks who may reset whom, and what a reset may say.
func mayReset(t *testing.T, c *operator.Cluster) {
	t.Helper()
	tenant := "KUBECONFIG=" + c.Kubeconfig("tenant") + " kubectl -n reset "
	manifest := tenant + "create -f - 2>&1 <<'YAML' || true\n{apiVersion: mfa.sallyport.dev/v1alpha1, kind: MFAReset, metadata: {name: %s}, spec: {policy: portal, user: nobody}}\nYAML"
	operator.WantIn(t, "kubectl, for one without the right", c.Kubectl(fmt.Sprintf(manifest, "denied")), "forbidden")
	c.Kubectl("kubectl apply -f ../../../config/rbac/mfareset_editor_role.yaml && " +
		"kubectl -n reset create rolebinding help-desk --clusterrole=sallyport-mfareset-editor --user=tenant")
	operator.Await(t, "the right is granted", func(context.Context) error {
		if out := c.Kubectl(fmt.Sprintf(manifest, "allowed")); !strings.Contains(out, "created") {
			return fmt.Errorf("kubectl said %s", out)
		}
		return nil
	})
	operator.WantIn(t, "kubectl get", c.Kubectl(tenant+"get mfaresets"), "POLICY", "USER", "COMPLETE", "REASON", "lost", "EnrolledSince")

	change := resetOf("lost", "somebody-else")
	for name, try := range map[string]struct {
		spec string
		want string
	}{
		"another user": {"kubectl -n reset patch mfareset lost --type=merge -p '{\"spec\":{\"user\":\"" + change.Spec.User + "\"}}'", "spec: Invalid value: cannot change: a reset happens once; create another MFAReset"},
		"no user":      {"kubectl -n reset create -f - <<'YAML'\n{apiVersion: mfa.sallyport.dev/v1alpha1, kind: MFAReset, metadata: {name: x}, spec: {policy: portal, user: \"\"}}\nYAML", "spec.user"},
		"no policy":    {"kubectl -n reset create -f - <<'YAML'\n{apiVersion: mfa.sallyport.dev/v1alpha1, kind: MFAReset, metadata: {name: x}, spec: {user: nobody}}\nYAML", "spec.policy: Required value"},
	} {
		operator.WantIn(t, name, c.Kubectl("{ "+try.spec+"\n} 2>&1 || true"), try.want)
	}
}
