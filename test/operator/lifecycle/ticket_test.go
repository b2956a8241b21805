package lifecycle_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sallyport/sallyport/api/policy"
	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/test/operator"
	"github.com/sallyport/sallyport/test/stack"
)

// newTicket makes a ticket that no log, event or message may tell, nor its digest.
func newTicket(t *testing.T, c *operator.Cluster) (ticket, digest string) {
	t.Helper()
	ticket = stack.NewTicket(t)
	sum := sha256.Sum256([]byte(ticket))
	digest = hex.EncodeToString(sum[:])
	c.Confide("an enrolment ticket", ticket)
	c.Confide("the digest of an enrolment ticket", digest)
	return ticket, digest
}

// ticketOf is an MFATicket with a new ticket.
func ticketOf(t *testing.T, c *operator.Cluster, name, user string) (object *mfav1alpha1.MFATicket, ticket string) {
	t.Helper()
	ticket, digest := newTicket(t, c)
	return &mfav1alpha1.MFATicket{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ticket", Name: name},
		Spec:       mfav1alpha1.MFATicketSpec{Policy: "portal", User: user, SHA256: digest},
	}, ticket
}

func awaitTicket(t *testing.T, c *operator.Cluster, o *mfav1alpha1.MFATicket, status metav1.ConditionStatus, reason mfav1alpha1.ConditionReason) string {
	t.Helper()
	return awaitCondition(t, c, o, &o.Status.Conditions, mfav1alpha1.ConditionIssued, status, reason)
}

// refuses checks that a ticket brings nobody a QR code.
func refuses(t *testing.T, visitor *operator.Visitor, what, ticket string) {
	t.Helper()
	if answer := visitor.Ask(ticket); answer.Status != http.StatusUnprocessableEntity || answer.Secret() != "" {
		t.Errorf("with %s, the sidecar answers %d and shows the secret %q", what, answer.Status, answer.Secret())
	}
}

// TestTicket has an administrator say who may enrol, where a password is not enough.
func TestTicket(t *testing.T) {
	c := operator.Shared(t)
	process := c.Operator()
	p := c.Begin("ticket", func(p *mfav1alpha1.MFAPolicy) {
		p.Spec.RequireForEveryone, p.Spec.Enrolment.Mode = true, policy.EnrolmentTicket
	})
	app := operator.App(t)
	_, sidecar := c.Protect(p, "portal-1", app)
	// Whoever must enrol first cannot ask the app through the sidecar.
	direct := &operator.Sidecar{URL: app}
	id, adamsID := idOf(t, c.SignIn(direct, "alice")), idOf(t, c.SignIn(direct, "adam"))
	alice, adam := c.SignIn(sidecar, "alice"), c.SignIn(sidecar, "adam")

	adams, ofAdam := ticketOf(t, c, "adams", adamsID)
	c.Create(adams)
	awaitTicket(t, c, adams, metav1.ConditionTrue, mfav1alpha1.ReasonIssued)
	wrong, _ := newTicket(t, c)
	refuses(t, alice, "no ticket", "")
	refuses(t, alice, "a ticket that nobody issued", wrong)
	refuses(t, alice, "adam's ticket", ofAdam)

	// As docs/mfaticket.md has people make one.
	hers, digest := newTicket(t, c)
	c.Kubectl(`ticket=` + hers + `; sha256=$(printf %s "$ticket" | sha256sum | cut -d' ' -f1); test $sha256 = ` + digest + `
kubectl create -f - <<YAML
{apiVersion: mfa.sallyport.dev/v1alpha1, kind: MFATicket, metadata: {name: hers, namespace: ticket}, spec: {policy: portal, user: "` + id + `", sha256: "$sha256"}}
YAML`)
	object, _ := ticketOf(t, c, "hers", id)
	message := awaitTicket(t, c, object, metav1.ConditionTrue, mfav1alpha1.ReasonIssued)
	if want := object.CreationTimestamp.Add(mfa.TicketLifetime); object.Status.ExpiresAt == nil || !object.Status.ExpiresAt.Time.Equal(want) {
		t.Errorf("status.expiresAt is %v, want %v", object.Status.ExpiresAt, want)
	}
	if strings.Contains(message, "does not ask") {
		t.Errorf("where the policy asks for tickets, the condition says %q", message)
	}
	operator.WantIn(t, "the event", c.AwaitEvent(object, corev1.EventTypeNormal, mfav1alpha1.ReasonIssued).Note, "in workspace ticket/portal with the ticket, once, until ")
	goneBefore(t, c, object)
	refuses(t, adam, "alice's ticket", hers)
	alice.EnrolWith(hers)
	if got := alice.Lands(); got != "app" {
		t.Errorf("alice, who enrolled, lands at %s", got)
	}
	audited := regexp.MustCompile(`"msg":"Security event".*"event":"admin.ticket","user":"([\w-]+)".*"policy":"ticket/portal","ticket":"hers","result":"Issued"`).
		FindStringSubmatch(process.Log())
	if audited == nil || !strings.Contains(sidecar.Log(), `"event":"enrol.confirm"`) || !strings.Contains(sidecar.Log(), `"user":"`+audited[1]+`"`) {
		t.Errorf("the ticket was not audited under the user's hash: %q", audited)
	}
	if strings.Contains(process.Log(), `"`+id+`"`) {
		t.Error("the operator's log names the user")
	}

	lost := resetOf("lost", id)
	lost.Namespace = "ticket"
	c.Create(lost)
	awaitReset(t, c, lost, metav1.ConditionTrue, mfav1alpha1.ReasonReset)
	alice.AwaitLands("enrol")
	refuses(t, alice, "the ticket that was spent", hers)

	process.Stop()
	forget(t, c, object)
	forget(t, c, adams)
	c.Operator()
	operator.WantIn(t, "the spent ticket, of which it was forgotten that it was issued",
		awaitTicket(t, c, object, metav1.ConditionFalse, mfav1alpha1.ReasonInterrupted), "cannot tell whether it was used")
	refuses(t, alice, "the ticket that was spent, after it was forgotten", hers)
	awaitTicket(t, c, adams, metav1.ConditionTrue, mfav1alpha1.ReasonIssued)

	newerCounts(t, c, alice, id)
	comesWithItsPolicy(t, c, adam, adamsID, ofAdam)
	storeThatRefuses(t, c, id)
	mayIssue(t, c)

	// A store that was lost takes no ticket: nobody could enrol.
	c.Redis.Do("FLUSHALL")
	unknown, _ := ticketOf(t, c, "unknown", id)
	c.Create(unknown)
	operator.WantIn(t, "the ticket in a lost store", awaitTicket(t, c, unknown, metav1.ConditionFalse, mfav1alpha1.ReasonStoreLost), "condition StoreReady of MFAPolicy portal")
	if unknown.Status.ExpiresAt != nil {
		t.Error("a ticket that was not issued has a time at which it expires")
	}
}

// goneBefore checks that the store keeps no ticket for longer than it can be used.
func goneBefore(t *testing.T, c *operator.Cluster, object *mfav1alpha1.MFATicket) {
	t.Helper()
	left := time.Until(object.Status.ExpiresAt.Time)
	keys, ok := c.Redis.Do("KEYS", "*").([]any)
	if !ok {
		t.Fatal("Redis does not list its keys")
	}
	tickets := 0
	for _, key := range keys {
		if !strings.HasSuffix(fmt.Sprint(key), "}:t") {
			continue
		}
		tickets++
		ttl, _ := c.Redis.Do("PTTL", key).(int64)
		if got := time.Duration(ttl) * time.Millisecond; got <= left-time.Minute || got > left+time.Second {
			t.Errorf("Redis keeps %s for %v, and it expires in %v", key, got, left)
		}
	}
	if tickets != 2 {
		t.Errorf("Redis has %d tickets, want adam's and alice's: %v", tickets, keys)
	}
}

// forget takes from a status what an operator writes after it has issued a ticket, as if
// it had been killed in between.
func forget(t *testing.T, c *operator.Cluster, object *mfav1alpha1.MFATicket) {
	t.Helper()
	base := object.DeepCopy()
	object.Status.Conditions = nil
	if err := c.Client.Status().Patch(t.Context(), object, client.MergeFrom(base)); err != nil {
		t.Fatal(err)
	}
}

// newerCounts has the operator come to an older ticket after it has issued a newer one:
// it learns only then that both are for the same user.
func newerCounts(t *testing.T, c *operator.Cluster, alice *operator.Visitor, id string) {
	t.Helper()
	older, leaked := ticketOf(t, c, "z-older", id)
	older.Spec.Policy = "intranet"
	c.Create(older)
	operator.WantIn(t, "the ticket of no policy", awaitTicket(t, c, older, metav1.ConditionFalse, mfav1alpha1.ReasonPolicyNotFound),
		"There is no MFAPolicy intranet in namespace ticket. Create the MFATicket beside the app's policy")
	operator.Await(t, "the second of the older ticket is over", func(context.Context) error {
		if time.Since(older.CreationTimestamp.Time) < time.Second {
			return errors.New("it is not")
		}
		return nil
	})
	newer, hers := ticketOf(t, c, "a-newer", id)
	c.Create(newer)
	awaitTicket(t, c, newer, metav1.ConditionTrue, mfav1alpha1.ReasonIssued)
	c.Create(operator.Portal("ticket", func(p *mfav1alpha1.MFAPolicy) {
		p.Name, p.Spec.Workspace = "intranet", "portal"
		p.Spec.Selector.MatchLabels = map[string]string{"app": "intranet"}
	}))
	operator.WantIn(t, "the older ticket", awaitTicket(t, c, older, metav1.ConditionFalse, mfav1alpha1.ReasonReplaced), "MFATicket a-newer is newer")
	c.AwaitEvent(older, corev1.EventTypeWarning, mfav1alpha1.ReasonReplaced)
	refuses(t, alice, "the older ticket", leaked)
	alice.EnrolWith(hers)
}

// comesWithItsPolicy issues a ticket once its policy is there, in place of one that the
// user has already: a policy that asks for no tickets, of the same workspace.
func comesWithItsPolicy(t *testing.T, c *operator.Cluster, adam *operator.Visitor, id, withdrawn string) {
	t.Helper()
	early, his := ticketOf(t, c, "early", id)
	early.Spec.Policy = "wiki"
	c.Create(early)
	awaitTicket(t, c, early, metav1.ConditionFalse, mfav1alpha1.ReasonPolicyNotFound)
	c.Create(operator.Portal("ticket", func(p *mfav1alpha1.MFAPolicy) {
		p.Name, p.Spec.Workspace = "wiki", "portal"
		p.Spec.Selector.MatchLabels = map[string]string{"app": "wiki"}
	}))
	operator.WantIn(t, "the ticket of a policy that asks for none", awaitTicket(t, c, early, metav1.ConditionTrue, mfav1alpha1.ReasonIssued),
		"MFAPolicy wiki does not ask for one yet")
	refuses(t, adam, "the ticket that was replaced", withdrawn)
	adam.EnrolWith(his)
}

// storeThatRefuses says for certain that it has not taken a ticket, which is then issued
// once it does.
func storeThatRefuses(t *testing.T, c *operator.Cluster, id string) {
	t.Helper()
	c.Redis.Do("CONFIG", "SET", "maxmemory", "1")
	late, _ := ticketOf(t, c, "late", id)
	c.Create(late)
	operator.WantIn(t, "the ticket that the store refuses", awaitTicket(t, c, late, metav1.ConditionFalse, mfav1alpha1.ReasonStoreUnreachable), "It is tried again")
	if late.Status.ExpiresAt != nil {
		t.Error("a ticket that the store refused has a time at which it expires")
	}
	c.Redis.Do("CONFIG", "SET", "maxmemory", "0")
	awaitTicket(t, c, late, metav1.ConditionTrue, mfav1alpha1.ReasonIssued)
}

// mayIssue checks who may issue tickets, and what an MFATicket may say.
func mayIssue(t *testing.T, c *operator.Cluster) {
	t.Helper()
	tenant := "KUBECONFIG=" + c.Kubeconfig("registrar") + " kubectl -n ticket "
	digest := strings.Repeat("0", 64)
	create := func(name, spec string) string {
		return "create -f - 2>&1 <<'YAML' || true\n{apiVersion: mfa.sallyport.dev/v1alpha1, kind: MFATicket, metadata: {name: " + name + "}, spec: {" + spec + "}}\nYAML"
	}
	operator.WantIn(t, "kubectl, for one without the right", c.Kubectl(tenant+create("denied", "policy: portal, user: nobody, sha256: \""+digest+"\"")), "forbidden")
	c.Kubectl("kubectl apply -f ../../../config/rbac/mfaticket_editor_role.yaml && " +
		"kubectl -n ticket create rolebinding registrar --clusterrole=sallyport-mfaticket-editor --user=registrar")
	operator.Await(t, "the right is granted", func(context.Context) error {
		if out := c.Kubectl(tenant + create("allowed", "policy: portal, user: nobody, sha256: \""+digest+"\"")); !strings.Contains(out, "created") {
			return fmt.Errorf("kubectl said %s", out)
		}
		return nil
	})
	allowed, _ := ticketOf(t, c, "allowed", "nobody")
	awaitTicket(t, c, allowed, metav1.ConditionTrue, mfav1alpha1.ReasonIssued)
	operator.WantIn(t, "kubectl get", c.Kubectl(tenant+"get mfat"), "POLICY", "USER", "ISSUED", "REASON", "EXPIRES", "hers", "Interrupted",
		allowed.Status.ExpiresAt.UTC().Format(time.RFC3339))

	const noDigest = ": is no SHA-256; write the 64 lower-case hexadecimal digits"
	for name, try := range map[string]struct {
		line string
		want string
	}{
		"another user":                         {"patch mfaticket hers --type=merge -p '{\"spec\":{\"user\":\"somebody-else\"}}' 2>&1 || true", "spec: Invalid value: cannot change: a ticket is issued once; create another MFATicket"},
		"another ticket":                       {"patch mfaticket hers --type=merge -p '{\"spec\":{\"sha256\":\"" + digest + "\"}}' 2>&1 || true", "spec: Invalid value: cannot change"},
		"no user":                              {create("x", "policy: portal, user: \"\", sha256: \""+digest+"\""), "spec.user"},
		"no policy":                            {create("x", "user: nobody, sha256: \""+digest+"\""), "spec.policy: Required value"},
		"no digest":                            {create("x", "policy: portal, user: nobody"), "spec.sha256: Required value"},
		"the ticket itself, or another digest": {create("x", "policy: portal, user: nobody, sha256: \""+digest[:32]+"\""), noDigest},
		"upper case":                           {create("x", "policy: portal, user: nobody, sha256: \""+digest[:63]+"A\""), noDigest},
		"a longer one":                         {create("x", "policy: portal, user: nobody, sha256: \""+digest+"0\""), "spec.sha256: Too long"},
	} {
		operator.WantIn(t, name, c.Kubectl("kubectl -n ticket "+try.line), try.want)
	}
}
