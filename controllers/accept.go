package controllers

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sallyport/sallyport/api/policy"
	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/injection"
)

// accept validates the spec and resolves what only the cluster knows. It sets
// Accepted: False leaves the last good rules in force, and says which field is
// wrong and what to write.
func (r *MFAPolicyReconciler) accept(ctx context.Context, p *pass) error {
	capture := injection.ResolveCapture(p.policy.Spec.Capture, p.namespace.Labels)
	p.settings = injection.For(p.policy, capture, r.Injected)
	p.policy.Status.ObservedGeneration = p.policy.Generation
	p.policy.Status.Capture = capture
	if p.policy.Namespace == r.Namespace || p.policy.Namespace == metav1.NamespaceSystem {
		p.fails(mfav1alpha1.ConditionAccepted, mfav1alpha1.ReasonNamespaceNotAllowed,
			"Pods of namespace %s cannot be covered: the operator, or the cluster itself, could not start without its own webhook. "+
				"Move the app and its policy to another namespace", p.policy.Namespace)
		p.refused = true
		return nil
	}
	rules := p.policy.Spec.Rules.DeepCopy()
	rules.SetDefaults(p.policy.Name)
	if err := rules.Validate().Err(); err != nil {
		p.fails(mfav1alpha1.ConditionAccepted, mfav1alpha1.ReasonInvalid, "%v", err)
		return nil
	}
	if problem := p.incompatible(); problem != "" {
		p.fails(mfav1alpha1.ConditionAccepted, mfav1alpha1.ReasonInvalid, "%s", problem)
		return nil
	}
	resolved, problem, err := r.resolveKeySet(ctx, p.policy.Namespace, rules)
	if err != nil || problem != "" {
		if problem == "" {
			problem = fmt.Sprintf("The key set of spec.identity.jwt.jwks.secretRef could not be read: %v", err)
		}
		p.fails(mfav1alpha1.ConditionAccepted, mfav1alpha1.ReasonSecretUnreadable, "%s", problem)
		return err
	}
	p.rules = resolved
	p.holds(mfav1alpha1.ConditionAccepted, mfav1alpha1.ReasonAccepted, "The rules are valid")
	return nil
}

// incompatible says what the API server could not see: a selector that selects
// nothing by mistake, and policies that share enrolments but not the Redis that holds
// them.
func (p *pass) incompatible() string {
	if _, err := metav1.LabelSelectorAsSelector(&p.policy.Spec.Selector); err != nil {
		return fmt.Sprintf("spec.selector: %v", err)
	}
	for i := range p.siblings {
		other := pass{policy: &p.siblings[i]}
		if other.policy.Name != p.policy.Name && other.realm() == p.realm() &&
			!equality.Semantic.DeepEqual(other.policy.Spec.Redis, p.policy.Spec.Redis) {
			return fmt.Sprintf("spec.redis: policy %s has the same workspace, whose enrolments are in one Redis; name the same in both, "+
				"or choose another spec.workspace", other.policy.Name)
		}
	}
	return ""
}

// resolveKeySet puts the content of the Secret that names a key set in its place:
// sidecars read no Secrets but their own. problem is a person's to solve.
func (r *MFAPolicyReconciler) resolveKeySet(
	ctx context.Context, namespace string, rules *policy.Rules,
) (resolved *policy.Rules, problem string, err error) {
	if rules.Identity.JWT == nil || rules.Identity.JWT.JWKS.SecretRef == nil {
		return rules, "", nil
	}
	ref := rules.Identity.JWT.JWKS.SecretRef
	data, problem, err := r.readSecret(ctx, namespace, ref.Name)
	if err != nil || problem != "" {
		return nil, problem, err
	}
	document, ok := data[ref.Key]
	if !ok {
		return nil, fmt.Sprintf("Secret %s has no key %s; add it, or change spec.identity.jwt.jwks.secretRef.key", ref.Name, ref.Key), nil
	}
	rules.Identity.JWT.JWKS = policy.JWKS{Inline: string(document)}
	if err := rules.Validate().Err(); err != nil {
		return nil, fmt.Sprintf("Key %s of Secret %s is no key set: %v", ref.Key, ref.Name, err), nil
	}
	return rules, "", nil
}

// readSecret reads a Secret that a policy names, in the policy's own namespace.
// The operator holds no right to read Secrets at large: people grant it for the one
// they name, and problem says how.
func (r *MFAPolicyReconciler) readSecret(
	ctx context.Context, namespace, name string,
) (data map[string][]byte, problem string, err error) {
	secret := new(corev1.Secret)
	switch err := r.Live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, secret); {
	case apierrors.IsNotFound(err):
		return nil, fmt.Sprintf("There is no Secret %s in namespace %s; create it, or correct the name", name, namespace), nil
	case apierrors.IsForbidden(err):
		return nil, fmt.Sprintf("The operator may not read Secret %s. Allow it: "+
			"kubectl -n %s create role sallyport-reads-%s --verb=get --resource=secrets --resource-name=%s && "+
			"kubectl -n %s create rolebinding sallyport-reads-%s --role=sallyport-reads-%s --serviceaccount=%s:%s",
			name, namespace, name, name, namespace, name, name, r.Namespace, r.ServiceAccount), nil
	case err != nil:
		return nil, "", fmt.Errorf("read Secret %s/%s: %w", namespace, name, err)
	}
	return secret.Data, "", nil
}
