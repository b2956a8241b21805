package redisstore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/redisstore"
)

func TestResetConfirmedBy(t *testing.T) {
	t.Parallel()
	asked := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name      string
		confirmed time.Time // zero: not enrolled
		damaged   bool
		want      bool
		err       error
	}{
		{name: "an enrolment of before ends", confirmed: asked.Add(-time.Second), want: true},
		{name: "one of the same second ends", confirmed: asked.Add(999 * time.Millisecond), want: true},
		{name: "a later one stays", confirmed: asked.Add(time.Second), err: redisstore.ErrNewer},
		{name: "a damaged one ends", confirmed: asked, damaged: true, want: true},
		{name: "whoever is not enrolled has none that ends"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, _, client := mini(t)
			if !tt.confirmed.IsZero() {
				enrolAt(t, s, tt.confirmed)
			}
			key := prefix + ":{" + realm + ":" + user + "}:u"
			if tt.damaged {
				client.HSet(t.Context(), key, "a", "then")
			}
			ended, err := s.ResetConfirmedBy(t.Context(), user, asked)
			if ended != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("ResetConfirmedBy = %t, %v; want %t, %v", ended, err, tt.want, tt.err)
			}
			if left := client.Exists(t.Context(), key).Val() == 1; left != (tt.err != nil) {
				t.Errorf("the enrolment is left: %t", left)
			}
		})
	}
}

func enrolAt(t *testing.T, s *redisstore.Store, at time.Time) {
	t.Helper()
	if err := s.SavePending(t.Context(), user, "browser", []byte("pending"), time.Minute); err != nil {
		t.Fatal(err)
	}
	r := mfa.Record{Generation: "g1", Seed: []byte("x"), ConfirmedAt: at, Codes: mfa.Codes{Salt: []byte("x")}}
	if err := s.Enrol(t.Context(), user, "browser", []byte("pending"), nil, r, mfa.Grant{}); err != nil {
		t.Fatal(err)
	}
}
