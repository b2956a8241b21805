package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// step is one look at a plan.
type step struct {
	*Restarter
	plan   Plan
	ledger *ledger

	candidates []candidate
	inProgress map[owner]bool
	done       []string
	waiting    []string
	messages   []string
	// manual are pods that one command brings up to date.
	manual []corev1.Pod
}

// candidate is a workload that may be restarted.
type candidate struct {
	*workload
	pods []corev1.Pod
	rank int
}

// The order in which workloads are restarted: one whose last restart was ours and has
// not come through, since the new revision may be its cure and it is disturbed
// anyway; then those with pods that no sidecar guards.
const (
	rankUnfinished = iota
	rankUnguarded
	rankOutdated
)

// judge looks at the owners of the outdated pods.
func (s *step) judge(ctx context.Context) error {
	owned := map[owner][]corev1.Pod{}
	for _, pod := range byName(s.plan.Outdated) {
		o, _ := ownerOf(pod)
		owned[o] = append(owned[o], *pod)
	}
	for _, o := range slices.SortedFunc(maps.Keys(owned), compareOwners) {
		pods := owned[o]
		if !o.restartable() {
			s.leave(o.String(), pods)
			continue
		}
		w, err := read(ctx, s.live(), s.plan.Policy.Namespace, o)
		switch {
		case apierrors.IsNotFound(err):
			s.leave(o.String(), pods)
		case err != nil:
			return err
		default:
			s.consider(w, pods)
		}
	}
	slices.SortStableFunc(s.candidates, func(a, b candidate) int { return a.rank - b.rank })
	return nil
}

// consider decides what to do about one workload with outdated pods.
func (s *step) consider(w *workload, pods []corev1.Pod) {
	_, uid := ownerOf(&pods[0])
	restartedFor := w.restartedFor()
	switch {
	case w.meta.DeletionTimestamp != nil || (uid != "" && uid != w.meta.UID):
		s.waiting = append(s.waiting, w.String()) // its pods go with it
	case !w.selects(&pods[0]) || !w.coveredBy(s.plan.Policy):
		// Either these pods are not the workload's, or its new ones would not be the
		// policy's: a restart would help in neither case.
		s.leave(w.String(), pods)
		s.say("%s does not make pods that the policy covers, so it is not restarted.", w)
	case w.held != free:
		s.waiting = append(s.waiting, w.String())
		s.say("%s", s.heldText(w, &pods[0]))
	case restartedFor == s.plan.Want && !w.complete:
		s.underway(w)
	case restartedFor == s.plan.Want:
		s.finished(w, pods)
	case s.ledger.attempts(w) >= maxAttempts:
		s.leave(w.String(), pods)
		s.say("Something takes the annotation %s off %s again, so it is restarted no more.", mfav1alpha1.RestartedAnnotation, w)
	case !w.complete && restartedFor == "":
		s.waiting = append(s.waiting, w.String())
		s.say("%s is being rolled out for another reason, or is not available; it is restarted once that is complete.%s", w, because(w.stuck))
	default:
		s.candidates = append(s.candidates, candidate{w, pods, rankOf(w, pods)})
	}
}

// finished looks at a workload whose restart is complete while some of its pods are
// outdated. Those may only be what a cache still shows, so people are told a little
// later.
func (s *step) finished(w *workload, pods []corev1.Pod) {
	const settling = 30 * time.Second
	now := s.Clock()
	e := s.ledger.of(w, now)
	if e.completed.IsZero() {
		e.completed = now
	}
	if now.Sub(e.completed) < settling {
		return
	}
	s.leave(w.String(), pods)
	s.say("%s was restarted for the present settings, and its pods still lack them.", w)
}

func rankOf(w *workload, pods []corev1.Pod) int {
	switch {
	case !w.complete:
		return rankUnfinished
	case slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.Annotations[mfav1alpha1.PolicyAnnotation] == "" }):
		return rankUnguarded
	default:
		return rankOutdated
	}
}

// recall looks at the workloads that were restarted and have no outdated pods any
// more: their new pods may not be available yet.
func (s *step) recall(ctx context.Context) error {
	for _, uid := range s.ledger.known() {
		e := s.ledger.entries[uid]
		switch {
		case s.inProgress[e.owner] || slices.Contains(s.waiting, e.owner.String()) || s.isCandidate(e.owner):
			continue
		case !e.completed.IsZero():
			s.done = append(s.done, e.owner.String())
			continue
		}
		w, err := read(ctx, s.live(), s.plan.Policy.Namespace, e.owner)
		switch {
		case apierrors.IsNotFound(err):
			delete(s.ledger.entries, uid)
		case err != nil:
			return err
		case w.meta.UID != uid || w.meta.DeletionTimestamp != nil, w.complete && e.attempts == 0:
			delete(s.ledger.entries, uid)
		case w.complete:
			e.completed = s.Clock()
			s.done = append(s.done, e.owner.String())
		case w.held != free:
			continue
		default:
			s.underway(w)
		}
	}
	return nil
}

// discover looks, before anything is restarted, for workloads of the policy that were
// restarted before this process began, or for an earlier revision, and are not
// complete.
func (s *step) discover(ctx context.Context) error {
	if len(s.candidates) == 0 || len(s.inProgress) >= s.most() {
		return nil
	}
	all, err := list(ctx, s.live(), s.plan.Policy.Namespace)
	if err != nil {
		return err
	}
	for _, w := range all {
		if w.restartedFor() != "" && !w.complete && w.held == free && w.meta.DeletionTimestamp == nil &&
			w.coveredBy(s.plan.Policy) && !s.isCandidate(w.owner) && !s.inProgress[w.owner] {
			s.underway(w)
		}
	}
	return nil
}

// start restarts candidates as long as there is room.
func (s *step) start(ctx context.Context) error {
	for _, c := range s.candidates {
		if len(s.inProgress) >= s.most() {
			s.waiting = append(s.waiting, c.String())
			continue
		}
		// Not forced: a field that somebody else owns is theirs.
		err := s.Client.Apply(ctx, c.restart(s.plan.Want), client.FieldOwner(mfav1alpha1.FieldManager))
		switch {
		case err == nil:
			s.ledger.restarted(c.workload, s.Clock())
			s.inProgress[c.owner] = true
		case ownedByOthers(err):
			s.leave(c.String(), c.pods)
			s.say("Somebody else owns the annotation %s of %s, so it is not restarted.", mfav1alpha1.RestartedAnnotation, c)
		case gone(err):
			s.waiting = append(s.waiting, c.String())
		default:
			return fmt.Errorf("restart %s of %s: %w", c, s.plan.Policy.Namespace, err)
		}
	}
	return nil
}

// underway takes a workload for being rolled out, and says so where it takes long.
func (s *step) underway(w *workload) {
	const patience = 10 * time.Minute
	s.inProgress[w.owner] = true
	e := s.ledger.of(w, s.Clock())
	e.completed = time.Time{}
	why := w.stuck
	if took := s.Clock().Sub(e.since); why == "" && took >= patience {
		why = fmt.Sprintf("it is not complete after %d minutes", int(took.Minutes()))
	}
	if why != "" {
		s.say("The rollout of %s does not get on: %s. No other workload is restarted until it is complete; look at it with: kubectl -n %s rollout status %s",
			w, why, s.plan.Policy.Namespace, w)
	}
}

// leave hands a workload's pods over to people.
func (s *step) leave(name string, pods []corev1.Pod) {
	s.waiting = append(s.waiting, name)
	s.manual = append(s.manual, pods...)
}

func (s *step) say(format string, args ...any) {
	s.messages = append(s.messages, fmt.Sprintf(format, args...))
}

func (s *step) heldText(w *workload, pod *corev1.Pod) string {
	namespace := s.plan.Policy.Namespace
	switch w.held {
	case paused:
		return fmt.Sprintf("%s is paused, so it is not restarted; go on with: kubectl -n %s rollout resume %s", w, namespace, w)
	case onDelete:
		return fmt.Sprintf("%s replaces its pods only when they are deleted; delete them one after the other, beginning with: kubectl -n %s delete pod %s", w, namespace, pod.Name)
	default:
		return fmt.Sprintf("%s keeps some of its pods back by its update strategy's partition, so it is not restarted; set the partition to 0 first", w)
	}
}

// byHand is the progress where nothing is to be restarted.
func (s *step) byHand() Progress {
	for _, pod := range byName(s.plan.Outdated) {
		o, _ := ownerOf(pod)
		s.leave(o.String(), []corev1.Pod{*pod})
	}
	return s.progress()
}

func (s *step) progress() Progress {
	const most = 4
	p := Progress{Done: sorted(s.done), Waiting: sorted(s.waiting)}
	for o := range s.inProgress {
		p.InProgress = append(p.InProgress, o.String())
	}
	p.InProgress = sorted(p.InProgress)
	sentences := s.messages
	if len(sentences) > most {
		sentences = append(slices.Clone(sentences[:most]), fmt.Sprintf("And %d more like these.", len(s.messages)-most))
	}
	if command := Command(s.plan.Policy.Namespace, s.manual); command != "" {
		sentences = append(slices.Clone(sentences), "To be done by hand: "+command)
	}
	p.Message = strings.Join(sentences, " ")
	return p
}

func (s *step) most() int { return max(1, s.plan.MaxAtOnce) }

func (s *step) isCandidate(o owner) bool {
	return slices.ContainsFunc(s.candidates, func(c candidate) bool { return c.owner == o })
}

// ownedByOthers reports whether the API server refused because another manager owns
// the field, and not because the workload is another one by now.
func ownedByOthers(err error) bool {
	return apierrors.IsConflict(err) && hasCause(err, func(c metav1.StatusCause) bool {
		return c.Type == metav1.CauseTypeFieldManagerConflict
	})
}

// gone reports whether the API server refused because the workload was deleted since
// it was read (a conflict), or made anew (its UID then being invalid).
func gone(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.IsConflict(err) ||
		(apierrors.IsInvalid(err) && hasCause(err, func(c metav1.StatusCause) bool { return c.Field == "metadata.uid" }))
}

func hasCause(err error, is func(metav1.StatusCause) bool) bool {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	return ok && status.ErrStatus.Details != nil && slices.ContainsFunc(status.ErrStatus.Details.Causes, is)
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return " Kubernetes says: " + why + "."
}

func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

func compareOwners(a, b owner) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name))
}
