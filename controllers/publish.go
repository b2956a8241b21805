package controllers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sallyport/sallyport/api/policy"
	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/sidecar/control"
)

// publish tells the sidecars what to obey: the rules, sealed with the namespace's
// key, and which store holds the enrolments. It sets Published. Where the spec was
// not accepted, what is published already stays.
func (r *MFAPolicyReconciler) publish(ctx context.Context, p *pass) error {
	return r.publishRules(ctx, p, p.rules)
}

// publishFinal tells the sidecars of a deleted policy to demand a second factor of
// nobody, and still to challenge those who enrolled: a manifest that was deleted by
// mistake must not open their accounts.
func (r *MFAPolicyReconciler) publishFinal(ctx context.Context, p *pass) error {
	rules := p.rules
	if rules == nil && p.channel != nil {
		if current, _, err := p.channel.Published(ctx, p.policy.Name); err == nil {
			rules = &current.Rules
		}
	}
	if rules != nil {
		rules = rules.DeepCopy()
		rules.RequireForEveryone, rules.RequireForAdmins = false, false
	}
	return r.publishRules(ctx, p, rules)
}

func (r *MFAPolicyReconciler) publishRules(ctx context.Context, p *pass, rules *policy.Rules) error {
	if p.channel == nil {
		p.fails(mfav1alpha1.ConditionPublished, mfav1alpha1.ReasonStoreUnreachable,
			"Running sidecars keep the rules they have, until keys and Redis are there again")
		return nil
	}
	current, fresh, err := p.channel.Published(ctx, p.policy.Name)
	if err != nil && !errors.Is(err, control.ErrNotPublished) && !errors.Is(err, control.ErrForeign) {
		p.fails(mfav1alpha1.ConditionPublished, mfav1alpha1.ReasonStoreUnreachable,
			"Running sidecars keep the rules they have: Redis does not answer")
		return fmt.Errorf("read what is published: %w", err)
	}
	p.published = current
	if rules == nil {
		p.stays(current)
		return nil
	}
	record := &policy.Record{
		Realm: p.realm(), Policy: p.policy.Name, UID: string(p.policy.UID), Generation: p.policy.Generation,
		IssuedAt: r.Clock().UTC(), Rules: *rules, Epoch: p.epoch,
	}
	if current == nil || !fresh || !sameRecord(current, record) {
		if err := p.channel.Publish(ctx, record); err != nil {
			p.fails(mfav1alpha1.ConditionPublished, mfav1alpha1.ReasonStoreUnreachable,
				"The rules could not be published, and running sidecars keep those they have: %v", err)
			return err
		}
		p.published = record
	}
	p.policy.Status.PublishedGeneration = record.Generation
	p.holds(mfav1alpha1.ConditionPublished, mfav1alpha1.ReasonPublished,
		"Sidecars are told to obey generation %d", record.Generation)
	return nil
}

// stays says what remains in force under a spec that was not accepted.
func (p *pass) stays(current *policy.Record) {
	if current == nil {
		p.fails(mfav1alpha1.ConditionPublished, mfav1alpha1.ReasonNotAccepted,
			"No rules were ever accepted, and none are published; see the condition Accepted")
		return
	}
	p.policy.Status.PublishedGeneration = current.Generation
	p.fails(mfav1alpha1.ConditionPublished, mfav1alpha1.ReasonNotAccepted,
		"Generation %d was not accepted; generation %d stays in force", p.policy.Generation, current.Generation)
}

// sameRecord reports whether two records tell sidecars the same.
func sameRecord(a, b *policy.Record) bool {
	if a.Realm != b.Realm || a.UID != b.UID || a.Generation != b.Generation || a.Epoch != b.Epoch {
		return false
	}
	was, err := json.Marshal(&a.Rules)
	if err != nil {
		return false
	}
	is, err := json.Marshal(&b.Rules)
	return err == nil && bytes.Equal(was, is)
}
