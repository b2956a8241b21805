package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sallyport/sallyport/api/policy"
	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
	"github.com/sallyport/sallyport/test/operator"
)

// TestPolicies are what one operator does for many policies at a time.
func TestPolicies(t *testing.T) {
	c := operator.Shared(t)
	c.Operator()
	for name, test := range map[string]func(*testing.T, *operator.Cluster){
		"a policy reaches its sidecars and says so":         reachesSidecars,
		"an invalid spec leaves the last good one in force": invalidSpec,
		"a key set comes from a Secret":                     keySetFromSecret,
		"a policy has a Redis of its own":                   ownRedis,
		"of two policies the older one wins":                conflict,
		"namespaces that cannot be covered":                 namespacesNotAllowed,
		"admission rules are put back":                      rulesPutBack,
		"a deleted policy stays until its pods are gone":    deletion,
		"a policy that is gone by force leaves no rules":    finalizerRemoved,
		"enrolments are purged on request":                  purge,
		"a namespace that goes is let go":                   namespaceDeletion,
		"the sidecars' Secret is put back":                  secretPutBack,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, c.For(t))
		})
	}
}

func reachesSidecars(t *testing.T, c *operator.Cluster) {
	early := operator.Pod("happy", "early")
	c.Create(operator.NewNamespace("happy"), early)
	c.Running(early)
	p := operator.Portal("happy", func(p *mfav1alpha1.MFAPolicy) { p.Spec.RequireForAdmins = true })
	c.Create(p)
	app := operator.App(t)
	message := c.AwaitCondition(p, mfav1alpha1.ConditionPodsProtected, metav1.ConditionFalse, mfav1alpha1.ReasonPodsUnprotected)
	operator.WantIn(t, "PodsProtected", message, "1 of 1 pods run without a sidecar, such as early", "kubectl -n happy delete pod early")
	// The command in the message is what helps.
	_, command, _ := strings.Cut(message, "Restart them: ")
	c.Kubectl(command)
	c.AwaitReady(p)
	_, sidecar := c.Protect(p, "portal-1", app)
	c.AwaitReady(p)
	c.SignIn(sidecar, "adam").AwaitLands("enrol")
	alice := c.SignIn(sidecar, "alice")
	alice.AwaitLands("app")

	operator.Change(c, p, func(p *mfav1alpha1.MFAPolicy) { p.Spec.RequireForEveryone = true })
	c.AwaitReady(p)
	alice.AwaitLands("enrol")
	if p.Status.PublishedGeneration != p.Generation || p.Status.ObservedGeneration != p.Generation {
		t.Errorf("published generation %d, observed %d, want %d", p.Status.PublishedGeneration, p.Status.ObservedGeneration, p.Generation)
	}
	alice.Enrol()
	operator.Await(t, "one person is counted", func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		if p.Status.Enrolment == nil || p.Status.Enrolment.Enabled != 1 {
			return fmt.Errorf("enrolment: %+v", p.Status.Enrolment)
		}
		return nil
	})
	readByAPerson(t, c)
	c.AwaitEvent(p, corev1.EventTypeNormal, mfav1alpha1.ReasonReady)
	operator.WantIn(t, "the event", c.AwaitEvent(p, corev1.EventTypeWarning, mfav1alpha1.ReasonPodsUnprotected).Note, "early")
}

// readByAPerson looks at what kubectl prints.
func readByAPerson(t *testing.T, c *operator.Cluster) {
	t.Helper()
	lines := strings.Split(c.Kubectl("kubectl -n happy get mfapolicies"), "\n")
	if diff := cmp.Diff([]string{"NAME", "EVERYONE", "ADMINS", "PODS", "PROTECTED", "READY", "AGE"}, strings.Fields(lines[0])); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"portal", "true", "true", "1", "1", "True"}, strings.Fields(lines[1])[:6]); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	operator.Await(t, "kubectl describe tells all", func(context.Context) error {
		described := c.Kubectl("kubectl -n happy describe mfapolicy portal")
		for _, want := range []string{
			"The rules are valid", "Secret sallyport-sidecar holds the namespace's keys", "Redis answers, and is the store",
			"Sidecars are told to obey generation 2", "New pods get their sidecar, with capture Redirect",
			"No older policy selects the same pods", "1 pods obey the published rules",
			"Everything that the policy asks for is in force", "Enabled:  1", "Events:", "sallyport-controller",
		} {
			if !strings.Contains(described, want) {
				return fmt.Errorf("it does not say %q:\n%s", want, described)
			}
		}
		return nil
	})
}

func jwtWith(jwks policy.JWKS) func(*mfav1alpha1.MFAPolicy) {
	return func(p *mfav1alpha1.MFAPolicy) {
		p.Spec.Identity = policy.Identity{Type: policy.IdentityJWT, JWT: &policy.JWTIdentity{
			Cookie: "token", Issuer: "https://id.example", Audience: []string{"portal"}, JWKS: jwks,
		}}
	}
}

func invalidSpec(t *testing.T, c *operator.Cluster) {
	p := c.Begin("invalid", func(p *mfav1alpha1.MFAPolicy) { p.Spec.RequireForEveryone = true })
	_, sidecar := c.Protect(p, "portal-1", operator.App(t))
	alice := c.SignIn(sidecar, "alice")
	alice.AwaitLands("enrol")
	good := p.Spec.Identity.DeepCopy()

	operator.Change(c, p, func(p *mfav1alpha1.MFAPolicy) {
		p.Spec.RequireForEveryone = false
		jwtWith(policy.JWKS{Inline: `{"keys"`})(p)
	})
	message := c.AwaitCondition(p, mfav1alpha1.ConditionAccepted, metav1.ConditionFalse, mfav1alpha1.ReasonInvalid)
	operator.WantIn(t, "Accepted", message, "spec.identity.jwt.jwks.inline", `is not a JSON object; write a key set such as {"keys": [...]}`)
	operator.WantIn(t, "Published", c.AwaitCondition(p, mfav1alpha1.ConditionPublished, metav1.ConditionFalse, mfav1alpha1.ReasonNotAccepted),
		"Generation 2 was not accepted; generation 1 stays in force")
	operator.WantIn(t, "Ready", c.AwaitCondition(p, mfav1alpha1.ConditionReady, metav1.ConditionFalse, mfav1alpha1.ReasonInvalid), "spec.identity.jwt.jwks.inline")
	operator.WantIn(t, "the event", c.AwaitEvent(p, corev1.EventTypeWarning, mfav1alpha1.ReasonInvalid).Note, "spec.identity.jwt.jwks.inline")
	if p.Status.PublishedGeneration != 1 || p.Status.ObservedGeneration != 2 {
		t.Errorf("published %d, observed %d", p.Status.PublishedGeneration, p.Status.ObservedGeneration)
	}
	if got := alice.Lands(); got != "enrol" {
		t.Errorf("under a spec that was not accepted, alice lands at %s", got)
	}
	// New pods still get their sidecar.
	second := operator.Pod("invalid", "portal-2")
	c.Create(second)
	if !operator.Injected(second) {
		t.Error("a new pod got no sidecar while the spec is not accepted")
	}
	c.Remove(second)

	operator.Change(c, p, func(p *mfav1alpha1.MFAPolicy) { p.Spec.Identity = *good })
	c.AwaitReady(p)
	alice.AwaitLands("app")
	if p.Status.PublishedGeneration != 3 {
		t.Errorf("published %d, want 3", p.Status.PublishedGeneration)
	}
}

const keySet = `{"keys": [{"kty": "EC", "crv": "P-256", "kid": "%s",
	"x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`

func keySetFromSecret(t *testing.T, c *operator.Cluster) {
	c.Create(operator.NewNamespace("keyset"))
	p := operator.Portal("keyset", jwtWith(policy.JWKS{SecretRef: &policy.SecretRef{Name: "portal-jwks"}}))
	c.Create(p)
	forbidden := c.AwaitCondition(p, mfav1alpha1.ConditionAccepted, metav1.ConditionFalse, mfav1alpha1.ReasonSecretUnreadable)
	operator.WantIn(t, "Accepted", forbidden, "The operator may not read Secret portal-jwks. Allow it: kubectl -n keyset create role")
	if !c.RulesOf(p).None() {
		t.Error("a policy that was never accepted has admission rules")
	}
	_, command, _ := strings.Cut(forbidden, "Allow it: ")
	c.Kubectl(command)
	operator.WantIn(t, "Accepted, once allowed", c.AwaitMessage(p, mfav1alpha1.ConditionAccepted, "There is no Secret portal-jwks"),
		"in namespace keyset; create it, or correct the name")

	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "keyset", Name: "portal-jwks"}, StringData: map[string]string{"other": "x"}}
	c.Create(secret)
	c.AwaitMessage(p, mfav1alpha1.ConditionAccepted, "Secret portal-jwks has no key jwks.json; add it")
	private := strings.Replace(fmt.Sprintf(keySet, "one"), `"x":`, `"d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI", "x":`, 1)
	operator.Change(c, secret, func(s *corev1.Secret) { s.StringData = map[string]string{"jwks.json": private} })
	c.AwaitMessage(p, mfav1alpha1.ConditionAccepted, "holds a private key; write public keys only")
	operator.Change(c, secret, func(s *corev1.Secret) { s.StringData = map[string]string{"jwks.json": fmt.Sprintf(keySet, "one")} })
	c.AwaitReady(p)
	published := func() string { return fmt.Sprint(c.Redis.Do("GET", "sallyport:{keyset}:policy:portal")) }
	if !strings.Contains(published(), `\"one\"`) {
		t.Errorf("the published record does not hold the key set: %q", published())
	}
	operator.Change(c, secret, func(s *corev1.Secret) { s.StringData = map[string]string{"jwks.json": fmt.Sprintf(keySet, "two")} })
	operator.Await(t, "the changed key set is published", func(context.Context) error {
		if !strings.Contains(published(), `\"two\"`) {
			return errors.New("it is not")
		}
		return nil
	})
	// A Secret that breaks leaves in force what was good.
	c.Remove(secret)
	c.AwaitMessage(p, mfav1alpha1.ConditionPublished, "generation 1 stays in force")
	if !strings.Contains(published(), `\"two\"`) {
		t.Error("the last good key set is not published any more")
	}
}

func ownRedis(t *testing.T, c *operator.Cluster) {
	const password = "own-redis-password-of-the-portal"
	own := redistest.Server(t, "--requirepass", password)
	c.Create(operator.NewNamespace("own"))
	p := operator.Portal("own", func(p *mfav1alpha1.MFAPolicy) {
		p.Spec.Redis = &mfav1alpha1.RedisReference{SecretRef: mfav1alpha1.LocalSecret{Name: "portal-redis"}}
	})
	c.Kubectl("kubectl -n own create role reads-redis --verb=get --resource=secrets --resource-name=portal-redis && " +
		"kubectl -n own create rolebinding reads-redis --role=reads-redis --serviceaccount=" + operator.Namespace + ":" + operator.ServiceAccount)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "own", Name: "portal-redis"}, StringData: map[string]string{
		"url": "redis://" + own.Addr, "password": "wrong-password-of-the-portal",
	}}
	c.Create(secret, p)
	message := c.AwaitCondition(p, mfav1alpha1.ConditionStoreReady, metav1.ConditionFalse, mfav1alpha1.ReasonStoreUnreachable)
	operator.WantIn(t, "StoreReady with a wrong password", message, "WRONGPASS")

	operator.Change(c, secret, func(s *corev1.Secret) {
		s.StringData = map[string]string{"password": password, "pasword": "a-typing-mistake"}
	})
	message = c.AwaitMessage(p, mfav1alpha1.ConditionStoreReady, "pasword")
	operator.WantIn(t, "StoreReady with an unknown key", message, "Secret portal-redis", "keys that mean nothing: pasword; known are")
	c.AwaitCondition(p, mfav1alpha1.ConditionStoreReady, metav1.ConditionFalse, mfav1alpha1.ReasonSecretUnreadable)

	operator.Change(c, secret, func(s *corev1.Secret) { delete(s.Data, "pasword") })
	c.AwaitReady(p)
	_, sidecar := c.Protect(p, "portal-1", operator.App(t))
	c.SignIn(sidecar, "alice").AwaitLands("app")
	if n := c.Redis.Do("EXISTS", "sallyport:{own}:policy:portal", "sallyport:{own/portal}:epoch"); n != int64(0) {
		t.Errorf("%v of the policy's keys are in the operator's Redis", n)
	}
	if data := c.SidecarSecret("own").Data; len(data[mfav1alpha1.RedisKey]) > 0 || len(data[mfav1alpha1.RedisKeyOf("portal")]) == 0 {
		t.Errorf("the sidecars' Secret has %d keys and not the policy's own Redis alone", len(data))
	}
}

func conflict(t *testing.T, c *operator.Cluster) {
	older := c.Begin("conflict")
	newer := operator.Portal("conflict", func(p *mfav1alpha1.MFAPolicy) {
		p.Name = "tier" // two of the same second go by their names
		p.Spec.Selector.MatchLabels = map[string]string{"tier": "web"}
	})
	c.Create(newer)
	c.AwaitReady(newer)
	both := operator.Pod("conflict", "both", func(p *corev1.Pod) { p.Labels["tier"] = "web" })
	c.Admit(both)
	c.Running(both)
	message := c.AwaitCondition(newer, mfav1alpha1.ConditionConflicted, metav1.ConditionTrue, mfav1alpha1.ReasonOlderPolicyWins)
	operator.WantIn(t, "Conflicted", message, "Policy portal is older and governs 1 of the pods that this one selects, such as both")
	c.AwaitCondition(newer, mfav1alpha1.ConditionReady, metav1.ConditionFalse, mfav1alpha1.ReasonOlderPolicyWins)
	c.AwaitCondition(older, mfav1alpha1.ConditionConflicted, metav1.ConditionFalse, mfav1alpha1.ReasonNoConflict)
	if got := both.Annotations[mfav1alpha1.PolicyAnnotation]; got != "portal" || !operator.Injected(both) {
		t.Errorf("the pod belongs to %q, want the older policy", got)
	}
	if count := strings.Count(strings.Join(containerNames(both), " "), mfav1alpha1.SidecarContainer); count > 2 {
		t.Errorf("the pod has the containers %v", containerNames(both))
	}
	if newer.Status.Pods == nil || newer.Status.Pods.Selected != 0 {
		t.Errorf("the newer policy governs %+v", newer.Status.Pods)
	}
	c.Remove(both)
	c.AwaitReady(newer)
}

func containerNames(p *corev1.Pod) []string {
	var names []string
	for _, container := range p.Spec.InitContainers {
		names = append(names, container.Name)
	}
	return names
}

func namespacesNotAllowed(t *testing.T, c *operator.Cluster) {
	for _, name := range []string{operator.Namespace, metav1.NamespaceSystem} {
		p := operator.Portal(name)
		c.Create(p)
		message := c.AwaitCondition(p, mfav1alpha1.ConditionAccepted, metav1.ConditionFalse, mfav1alpha1.ReasonNamespaceNotAllowed)
		operator.WantIn(t, "Accepted", message, "Pods of namespace "+name+" cannot be covered", "Move the app and its policy to another namespace")
		c.AwaitCondition(p, mfav1alpha1.ConditionInjectionReady, metav1.ConditionFalse, mfav1alpha1.ReasonRulesNotInstalled)
		if !c.RulesOf(p).None() {
			t.Errorf("%s: admission rules were made", name)
		}
		if c.SidecarSecret(name) != nil {
			t.Errorf("%s: keys were delivered to a namespace that has no sidecars", name)
		}
		uncovered := operator.Pod(name, "portal")
		c.Create(uncovered)
		if operator.Injected(uncovered) {
			t.Errorf("%s: the pod got a sidecar", name)
		}
		c.Remove(uncovered, p)
		c.AwaitGone(p)
	}
}

func rulesPutBack(t *testing.T, c *operator.Cluster) {
	p := c.Begin("putback")
	rules := c.RulesOf(p)
	if !rules.Complete() {
		t.Fatalf("there are %d webhooks, %d policies and %d bindings", len(rules.Webhooks), len(rules.Policies), len(rules.Bindings))
	}
	// Beside what is changed: a condition of somebody's own, which would let every pod by.
	never := admissionregistrationv1.MatchCondition{Name: "never", Expression: "false"}
	operator.Change(c, &rules.Webhooks[0], func(w *admissionregistrationv1.MutatingWebhookConfiguration) {
		w.Webhooks[0].FailurePolicy = new(admissionregistrationv1.Ignore)
		w.Webhooks[0].ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "nobody"}}
		w.Webhooks[0].MatchConditions = append(w.Webhooks[0].MatchConditions, never)
	})
	for i := range rules.Bindings {
		backstop := &admissionregistrationv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: rules.Bindings[i].Spec.PolicyName}}
		operator.Change(c, backstop, func(v *admissionregistrationv1.ValidatingAdmissionPolicy) {
			v.Spec.MatchConditions = append(v.Spec.MatchConditions, never)
		})
		operator.Change(c, &rules.Bindings[i], func(b *admissionregistrationv1.ValidatingAdmissionPolicyBinding) {
			b.Spec.ValidationActions = []admissionregistrationv1.ValidationAction{admissionregistrationv1.Audit}
		})
	}
	back := func(what string) {
		t.Helper()
		operator.Await(t, what, func(ctx context.Context) error {
			is := c.RulesOf(p)
			if !is.Complete() {
				return errors.New("they are not there")
			}
			if w := is.Webhooks[0].Webhooks[0]; *w.FailurePolicy != "Fail" || w.ObjectSelector.MatchLabels["app"] != "portal" ||
				slices.Contains(w.MatchConditions, never) {
				return fmt.Errorf("the webhook is %+v", w)
			}
			for _, b := range is.Bindings {
				backstop := new(admissionregistrationv1.ValidatingAdmissionPolicy)
				if err := c.Client.Get(ctx, client.ObjectKey{Name: b.Spec.PolicyName}, backstop); err != nil ||
					slices.Contains(backstop.Spec.MatchConditions, never) {
					return fmt.Errorf("the conditions of backstop %s are %+v, %w", b.Spec.PolicyName, backstop.Spec.MatchConditions, err)
				}
				if len(b.Spec.ValidationActions) != 1 || b.Spec.ValidationActions[0] != "Deny" {
					return fmt.Errorf("the binding is %+v", b.Spec)
				}
			}
			return nil
		})
	}
	back("edited rules are put back")
	c.Remove(&rules.Webhooks[0], &rules.Policies[0], &rules.Bindings[0], &rules.Bindings[1])
	back("deleted rules are put back")
	c.AwaitReady(p)
	c.Admit(operator.Pod("putback", "portal-1"))
}

func secretPutBack(t *testing.T, c *operator.Cluster) {
	p := c.Begin("memory")
	_, sidecar := c.Protect(p, "portal-1", operator.App(t))
	alice := c.SignIn(sidecar, "alice")
	alice.Enrol()
	epoch, was := c.EpochOf("memory/portal"), c.SidecarSecret("memory")
	if epoch == "" || p.Status.Store == nil || !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(p.Status.Store.Fingerprint) {
		t.Fatalf("epoch known: %t, status.store %+v", epoch != "", p.Status.Store)
	}
	same := func(what string) {
		t.Helper()
		operator.Await(t, what, func(context.Context) error {
			is := c.SidecarSecret("memory")
			if is == nil {
				return errors.New("it is not there")
			}
			for key, value := range was.Data {
				if string(is.Data[key]) != string(value) {
					return fmt.Errorf("%s is not as it was", key)
				}
			}
			return nil
		})
	}
	operator.Change(c, c.SidecarSecret("memory"), func(s *corev1.Secret) {
		s.StringData = map[string]string{mfav1alpha1.KeysKey: "{}", mfav1alpha1.RedisKey: "{}"}
	})
	same("an edited Secret is put back")
	operator.Change(c, c.SidecarSecret("memory"), func(s *corev1.Secret) { delete(s.Data, mfav1alpha1.EpochsKey) })
	same("deleted epochs are put back")
	c.Remove(c.SidecarSecret("memory"))
	same("a deleted Secret is put back")
	c.AwaitReady(p)
	if got := alice.Lands(); got != "app" {
		t.Errorf("alice lands at %s", got)
	}
	c.SignIn(sidecar, "alice").AwaitLands("challenge")
}
