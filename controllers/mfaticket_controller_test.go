package controllers_test

import (
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers"
)

var asked = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ticket(name string, at time.Time, adjust ...func(*mfav1alpha1.MFATicket)) *mfav1alpha1.MFATicket {
	t := &mfav1alpha1.MFATicket{
		ObjectMeta: metav1.ObjectMeta{Namespace: "acme", Name: name, CreationTimestamp: metav1.NewTime(at)},
		Spec:       mfav1alpha1.MFATicketSpec{Policy: "portal", User: "4711", SHA256: strings.Repeat("0", 64)},
	}
	for _, f := range adjust {
		f(t)
	}
	return t
}

func mfaPolicy(name, workspace string) *mfav1alpha1.MFAPolicy {
	p := &mfav1alpha1.MFAPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "acme", Name: name}}
	p.Spec.Workspace = workspace
	return p
}

// What is decided before a store is asked. Real stores are in test/operator/lifecycle;
// there nobody waits for a day, or makes two within one second.
func TestTicketsThatAreNotIssued(t *testing.T) {
	t.Parallel()
	outcome := func(status metav1.ConditionStatus, reason mfav1alpha1.ConditionReason) func(*mfav1alpha1.MFATicket) {
		return func(o *mfav1alpha1.MFATicket) {
			o.Status.Conditions = []metav1.Condition{{Type: string(mfav1alpha1.ConditionIssued), Status: status, Reason: string(reason)}}
		}
	}
	at := func(policy string) func(*mfav1alpha1.MFATicket) {
		return func(o *mfav1alpha1.MFATicket) { o.Spec.Policy = policy }
	}
	elsewhere := func(o *mfav1alpha1.MFATicket) { o.Namespace = "other" }
	ofAnother := func(o *mfav1alpha1.MFATicket) { o.Spec.User = "4712" }
	const unready = mfav1alpha1.ReasonNotChecked
	for _, tt := range []struct {
		name string
		// after it was asked for.
		after time.Duration
		is    *mfav1alpha1.MFATicket
		// other of the cluster, nil for none.
		other *mfav1alpha1.MFATicket
		want  mfav1alpha1.ConditionReason
		again bool
	}{
		{name: "in its last moment", after: 24*time.Hour - 1, is: ticket("m", asked), want: unready, again: true},
		{name: "at its end", after: 24 * time.Hour, is: ticket("m", asked), want: mfav1alpha1.ReasonExpired},
		{name: "at its end, of no policy", after: 24 * time.Hour, is: ticket("m", asked, at("portl")), want: mfav1alpha1.ReasonExpired},
		{name: "of no policy", is: ticket("m", asked, at("portl")), want: mfav1alpha1.ReasonPolicyNotFound, again: true},

		{name: "beside a newer one", is: ticket("m", asked), other: ticket("a", asked.Add(time.Second)), want: mfav1alpha1.ReasonReplaced},
		{name: "beside a newer one of the same workspace", is: ticket("m", asked), other: ticket("a", asked.Add(time.Second), at("intranet")), want: mfav1alpha1.ReasonReplaced},
		{name: "beside a newer one of another workspace", is: ticket("m", asked), other: ticket("a", asked.Add(time.Second), at("wiki")), want: unready, again: true},
		{name: "beside a newer one of no policy", is: ticket("m", asked), other: ticket("a", asked.Add(time.Second), at("portl")), want: unready, again: true},
		{name: "beside a newer one of another user", is: ticket("m", asked), other: ticket("a", asked.Add(time.Second), ofAnother), want: unready, again: true},
		{name: "beside a newer one of another namespace", is: ticket("m", asked), other: ticket("a", asked.Add(time.Second), elsewhere), want: unready, again: true},
		{name: "beside an older one", is: ticket("m", asked), other: ticket("z", asked.Add(-time.Second)), want: unready, again: true},
		{name: "of the same second as one whose name is later", is: ticket("m", asked), other: ticket("n", asked), want: mfav1alpha1.ReasonReplaced},
		{name: "of the same second as one whose name is earlier", is: ticket("m", asked), other: ticket("l", asked), want: unready, again: true},
		{name: "of no policy, beside another of that", is: ticket("m", asked, at("portl")), other: ticket("a", asked.Add(time.Second), at("portl")), want: mfav1alpha1.ReasonPolicyNotFound, again: true},

		{name: "issued, long ago", after: 48 * time.Hour, is: ticket("m", asked, outcome(metav1.ConditionTrue, mfav1alpha1.ReasonIssued)), want: mfav1alpha1.ReasonIssued},
		{name: "issued, beside a newer one", is: ticket("m", asked, outcome(metav1.ConditionTrue, mfav1alpha1.ReasonIssued)), other: ticket("n", asked.Add(time.Second)), want: mfav1alpha1.ReasonIssued},
		{name: "expired, by a clock that went back", is: ticket("m", asked, outcome(metav1.ConditionFalse, mfav1alpha1.ReasonExpired)), want: mfav1alpha1.ReasonExpired},
		{name: "replaced, by one that is gone", is: ticket("m", asked, outcome(metav1.ConditionFalse, mfav1alpha1.ReasonReplaced)), want: mfav1alpha1.ReasonReplaced},
		{name: "interrupted", is: ticket("m", asked, outcome(metav1.ConditionFalse, mfav1alpha1.ReasonInterrupted)), want: mfav1alpha1.ReasonInterrupted},
		{name: "tried while the store was away", is: ticket("m", asked, outcome(metav1.ConditionFalse, mfav1alpha1.ReasonStoreUnreachable)), want: unready, again: true},
		{name: "not reached", is: ticket("m", asked, outcome(metav1.ConditionUnknown, unready)), want: unready, again: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			scheme := runtime.NewScheme()
			if err := mfav1alpha1.AddToScheme(scheme); err != nil {
				t.Fatal(err)
			}
			objects := []client.Object{tt.is, mfaPolicy("portal", ""), mfaPolicy("intranet", "portal"), mfaPolicy("wiki", "")}
			if tt.other != nil {
				objects = append(objects, tt.other)
			}
			c := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&mfav1alpha1.MFATicket{}).WithObjects(objects...).Build()
			r := &controllers.MFATicketReconciler{OneOff: controllers.OneOff{
				Policies: new(controllers.MFAPolicyReconciler), Client: c, Events: events.NewFakeRecorder(10),
				Clock: func() time.Time { return asked.Add(tt.after) },
			}}
			key := client.ObjectKeyFromObject(tt.is)
			result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: key})
			if err != nil {
				t.Fatal(err)
			}
			got := new(mfav1alpha1.MFATicket)
			if err := c.Get(t.Context(), key, got); err != nil {
				t.Fatal(err)
			}
			is := meta.FindStatusCondition(got.Status.Conditions, string(mfav1alpha1.ConditionIssued))
			if is == nil || is.Reason != string(tt.want) {
				t.Errorf("the condition is %+v, want %s", is, tt.want)
			}
			if again := result.RequeueAfter > 0; again != tt.again {
				t.Errorf("it is looked at again: %t, want %t", again, tt.again)
			}
			if got.Status.ExpiresAt != nil {
				t.Errorf("it is said to expire at %v", got.Status.ExpiresAt)
			}
		})
	}
}

// A cache that is behind shows a ticket as not issued that was issued, and spent.
func TestTicketIsNotBegunFromAnOldCopy(t *testing.T) {
	t.Parallel()
	scheme := runtime.NewScheme()
	if err := mfav1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	is := ticket("m", asked)
	c := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(is).WithObjects(is).Build()
	r := &controllers.MFATicketReconciler{OneOff: controllers.OneOff{Client: c}}
	var old mfav1alpha1.MFATicket
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(is), &old); err != nil {
		t.Fatal(err)
	}
	expires := asked.Add(24 * time.Hour)
	now := old.DeepCopy()
	if err := controllers.Begin(r, t.Context(), now, now.DeepCopy(), expires); err != nil {
		t.Fatalf("from the object as it is: %v", err)
	}
	if now.Status.ExpiresAt == nil || !now.Status.ExpiresAt.Time.Equal(expires) {
		t.Errorf("status.expiresAt is %v, want %v", now.Status.ExpiresAt, expires)
	}
	if err := controllers.Begin(r, t.Context(), old.DeepCopy(), &old, expires); !apierrors.IsConflict(err) {
		t.Errorf("from an old copy: %v, want a conflict", err)
	}
}
