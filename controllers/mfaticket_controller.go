package controllers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/sallyport/sallyport/api/policy"
	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/redisstore"
)

// MFATicketReconciler issues the enrolment tickets of MFATickets, each once.
type MFATicketReconciler struct{ OneOff }

// +kubebuilder:rbac:groups=mfa.sallyport.dev,resources=mfatickets,verbs=get;list;watch
// +kubebuilder:rbac:groups=mfa.sallyport.dev,resources=mfatickets/status,verbs=patch

// Reconcile issues one ticket, unless it was, or cannot be any more.
func (r *MFATicketReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	ticket := new(mfav1alpha1.MFATicket)
	if err := r.Client.Get(ctx, req.NamespacedName, ticket); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if settled(ticket) {
		return ctrl.Result{}, nil
	}
	found, before, err := r.issue(ctx, ticket)
	if err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	found.audit(ctx, "admin.ticket", ticket.Namespace+"/"+ticket.Spec.Policy, "ticket", ticket.Name)
	return ctrl.Result{RequeueAfter: found.again}, r.save(ctx, ticket, before, &ticket.Status.Conditions, mfav1alpha1.ConditionIssued, found)
}

// settled reports whether nothing happens any more. A ticket that was issued is never
// issued again: the sidecar spends it, and a spent one must not come back.
func settled(ticket *mfav1alpha1.MFATicket) bool {
	c := meta.FindStatusCondition(ticket.Status.Conditions, string(mfav1alpha1.ConditionIssued))
	if c == nil || c.Status == metav1.ConditionUnknown {
		return false
	}
	switch mfav1alpha1.ConditionReason(c.Reason) {
	case mfav1alpha1.ReasonExpired, mfav1alpha1.ReasonReplaced, mfav1alpha1.ReasonInterrupted:
		return true
	default:
		return c.Status == metav1.ConditionTrue
	}
}

// issue puts the ticket into the store. It also returns what the object is in the API
// server then, but for the outcome.
func (r *MFATicketReconciler) issue(ctx context.Context, ticket *mfav1alpha1.MFATicket) (outcome, *mfav1alpha1.MFATicket, error) {
	before := ticket.DeepCopy()
	expires := ticket.CreationTimestamp.Add(mfa.TicketLifetime)
	if !r.Clock().Before(expires) {
		return never(mfav1alpha1.ReasonExpired,
			"The %.0f hours of the ticket were over before it could be issued. Create another MFATicket, with a new ticket", mfa.TicketLifetime.Hours()), before, nil
	}
	of, newer, err := r.newer(ctx, ticket)
	if err != nil {
		return outcome{}, nil, err
	}
	if newer != "" {
		return never(mfav1alpha1.ReasonReplaced, "MFATicket %s is newer, and for the same user: its ticket counts, and this one was not issued", newer), before, nil
	}
	key := client.ObjectKey{Namespace: ticket.Namespace, Name: ticket.Spec.Policy}
	in, problem, ok := r.enrolmentsOf(ctx, key, "MFATicket")
	if !ok {
		return problem, before, nil
	}
	digest, err := digestOf(ticket)
	if err != nil {
		return outcome{}, nil, err
	}
	user := in.ring.Name("user", ticket.Spec.User)
	value := mfa.Ticket(in.ring, user, digest, expires)
	issued := done(user, mfav1alpha1.ReasonIssued, "The user can set up two-factor in workspace %s with the ticket, once, until %s%s",
		in.realm, expires.UTC().Format(time.RFC3339), unasked(of))
	kept, err := in.store.Ticket(ctx, user)
	switch {
	case err != nil && !errors.Is(err, mfa.ErrTicket):
		return noStore(key, err), before, nil
	case bytes.Equal(kept, value):
		return issued, before, nil // by an operator that was interrupted after that
	case ticket.Status.ExpiresAt != nil:
		return never(mfav1alpha1.ReasonInterrupted,
			"The operator was interrupted while it issued the ticket, and cannot tell whether it was used since. Create another MFATicket, with a new ticket"), before, nil
	}
	if err := r.begin(ctx, ticket, before, expires); err != nil {
		return outcome{}, nil, err
	}
	before = ticket.DeepCopy()
	if err := in.store.SaveTicket(ctx, user, value, expires.Sub(r.Clock())); err != nil {
		if _, refused := errors.AsType[redis.Error](err); refused || errors.Is(err, redisstore.ErrLost) {
			ticket.Status.ExpiresAt = nil // it certainly was not issued
		}
		return noStore(key, err), before, nil
	}
	return issued, before, nil
}

// begin says in the status that the ticket is about to be issued. Only after that may
// it be: whoever finds it said, and the ticket not in the store, cannot know whether it
// was spent. It goes wrong where the cache was behind.
func (r *MFATicketReconciler) begin(ctx context.Context, ticket, before *mfav1alpha1.MFATicket, expires time.Time) error {
	ticket.Status.ExpiresAt = new(metav1.NewTime(expires))
	if err := r.Client.Status().Patch(ctx, ticket, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("say that a ticket is about to be issued: %w", err)
	}
	return nil
}

// newer names a newer MFATicket for the same user of the same workspace, "" where there
// is none, and returns the policy, nil where there is none. Which of two the operator
// sees first is chance, and the ticket that counts must be the newer one: it may have
// been made because the older one fell into wrong hands.
func (r *MFATicketReconciler) newer(ctx context.Context, ticket *mfav1alpha1.MFATicket) (*mfav1alpha1.MFAPolicy, string, error) {
	var policies mfav1alpha1.MFAPolicyList
	if err := r.Client.List(ctx, &policies, client.InNamespace(ticket.Namespace)); err != nil {
		return nil, "", fmt.Errorf("list the policies of a namespace: %w", err)
	}
	var of *mfav1alpha1.MFAPolicy
	realms := make(map[string]string, len(policies.Items))
	for i, p := range policies.Items {
		realms[p.Name] = realmOf(&p)
		if p.Name == ticket.Spec.Policy {
			of = &policies.Items[i]
		}
	}
	if of == nil {
		return nil, "", nil
	}
	var tickets mfav1alpha1.MFATicketList
	if err := r.Client.List(ctx, &tickets, client.InNamespace(ticket.Namespace)); err != nil {
		return nil, "", fmt.Errorf("list the tickets of a namespace: %w", err)
	}
	for _, other := range tickets.Items {
		if other.Spec.User == ticket.Spec.User && realms[other.Spec.Policy] == realms[ticket.Spec.Policy] && isNewer(&other, ticket) {
			return of, other.Name, nil
		}
	}
	return of, "", nil
}

// isNewer orders any two: times of creation are to the second.
func isNewer(a, b *mfav1alpha1.MFATicket) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return b.CreationTimestamp.Before(&a.CreationTimestamp)
	}
	return a.Name > b.Name
}

// unasked is what to say where the policy asks for no tickets.
func unasked(p *mfav1alpha1.MFAPolicy) string {
	if p == nil || p.Spec.Enrolment.Mode == policy.EnrolmentTicket {
		return ""
	}
	return fmt.Sprintf(". MFAPolicy %s does not ask for one yet, so that a sign-in alone is enough: its spec.enrolment.mode is not Ticket", p.Name)
}

// digestOf is the SHA-256 of the ticket. No error says what was written in its place:
// that may be the ticket.
func digestOf(ticket *mfav1alpha1.MFATicket) (digest [sha256.Size]byte, err error) {
	written, err := hex.DecodeString(ticket.Spec.SHA256)
	if err != nil || len(written) != len(digest) {
		return digest, errors.New("spec.sha256 is no SHA-256")
	}
	return [sha256.Size]byte(written), nil
}

// SetupWithManager has Reconcile run for each ticket.
func (r *MFATicketReconciler) SetupWithManager(mgr ctrl.Manager, options controller.Options) error {
	// One after the other: an older ticket must not be in the middle of being issued
	// while a newer one is.
	options.MaxConcurrentReconciles = 1
	return ctrl.NewControllerManagedBy(mgr).
		Named("mfaticket").
		For(&mfav1alpha1.MFATicket{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(options).
		Complete(r)
}
