package control_test

import (
	"bytes"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/control"
	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
)

func TestPublishedIsWhatWasPublished(t *testing.T) {
	t.Parallel()
	client := redistest.Server(t).Client()
	c := channel(t, client)
	if _, _, err := c.Published(t.Context(), "portal"); !errors.Is(err, control.ErrNotPublished) {
		t.Errorf("before: %v, want ErrNotPublished", err)
	}
	want := record("portal")
	publish(t, c, want)
	got, _, err := c.Published(t.Context(), "portal")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := c.Withdraw(t.Context(), "portal"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Published(t.Context(), "portal"); !errors.Is(err, control.ErrNotPublished) {
		t.Errorf("once withdrawn: %v, want ErrNotPublished", err)
	}
}

func TestPublishReplacesOnlyWhatIsOlderOrNoRecord(t *testing.T) {
	t.Parallel()
	client := redistest.Server(t).Client()
	own, foreign := ring(t, namespace, "1 primary"), ring(t, namespace, "2 primary")
	good := sealed(t, own, record("portal"))
	for name, tc := range map[string]struct {
		present any
		next    func(*policy.Record)
		want    error
	}{
		"nothing":                          {nil, generation(1), nil},
		"an older generation":              {good, generation(6), nil},
		"the same":                         {good, generation(5), nil},
		"a newer generation":               {good, generation(4), policy.ErrOlder},
		"the same, issued later":           {good, func(r *policy.Record) { r.IssuedAt = issued.Add(-1) }, policy.ErrOlder},
		"an older policy of the name":      {good, func(r *policy.Record) { r.UID, r.Generation, r.IssuedAt = "b", 1, issued.Add(1) }, nil},
		"a newer policy of the name":       {good, func(r *policy.Record) { r.UID, r.Generation, r.IssuedAt = "b", 9, issued.Add(-1) }, policy.ErrOlder},
		"its former workspace":             {good, func(r *policy.Record) { r.Realm, r.Rules.Workspace, r.Generation = "acme/moved", "moved", 6 }, nil},
		"garbage":                          {"garbage", generation(1), nil},
		"a truncated record":               {good[:len(good)-1], generation(1), nil},
		"more than any record":             {bytes.Repeat([]byte{1}, policy.MaxRecord+1), generation(1), nil},
		"another key's record":             {sealed(t, foreign, record("portal", generation(9))), generation(1), nil},
		"another policy's record":          {sealed(t, own, record("other", generation(9))), generation(1), nil},
		"another namespace's record":       {sealed(t, own, record("portal", generation(9), func(r *policy.Record) { r.Realm = "b/portal" })), generation(1), nil},
		"another kind of value altogether": {[]string{"a", "b"}, generation(1), nil},
	} {
		t.Run(name, func(t *testing.T) {
			// Not parallel: the cases share a key.
			client.Del(t.Context(), recordKey("portal"))
			switch present := tc.present.(type) {
			case []string:
				client.RPush(t.Context(), recordKey("portal"), present)
			case nil:
			default:
				client.Set(t.Context(), recordKey("portal"), present, 0)
			}
			c := channel(t, client)
			next := record("portal", tc.next)
			err := c.Publish(t.Context(), next)
			if !errors.Is(err, tc.want) {
				t.Fatalf("Publish: %v, want %v", err, tc.want)
			}
			want := next
			if tc.want != nil {
				want = record("portal")
			}
			got, _, err := c.Published(t.Context(), "portal")
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%v, published (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	client := redistest.Server(t).Client()
	c := channel(t, client)
	for name, change := range map[string]func(*policy.Record){
		"another namespace":             func(r *policy.Record) { r.Realm = "other/portal" },
		"a namespace that begins alike": func(r *policy.Record) { r.Realm = "acme-b/portal" },
		"a workspace not its rules'":    func(r *policy.Record) { r.Realm = "acme/other" },
		"a name that leaves the key":    func(r *policy.Record) { r.Policy = "x}:policy:y" },
		"invalid rules":                 func(r *policy.Record) { r.Rules.App.Port.Number = 0 },
	} {
		if err := c.Publish(t.Context(), record("portal", change)); err == nil {
			t.Errorf("%s was published", name)
		}
	}
	if keys := client.Keys(t.Context(), "*").Val(); len(keys) > 0 {
		t.Errorf("Redis holds %v", keys)
	}
}

// Whoever of many publishers comes last, the newest record stays.
func TestConcurrentPublishersLeaveTheNewest(t *testing.T) {
	t.Parallel()
	c := channel(t, redistest.Server(t).Client())
	var group sync.WaitGroup
	for g := range int64(8) {
		group.Go(func() {
			for {
				err := c.Publish(t.Context(), record("portal", generation(g+1)))
				if err == nil || errors.Is(err, policy.ErrOlder) {
					return
				}
				// Others got in between five times over: try again, as a controller does.
				time.Sleep(time.Millisecond)
			}
		})
	}
	group.Wait()
	if got, _, err := c.Published(t.Context(), "portal"); err != nil || got.Generation != 8 {
		t.Errorf("Published = %+v, %v; want generation 8", got, err)
	}
}

func TestPublishedTellsWhatIsNoRecord(t *testing.T) {
	t.Parallel()
	client := redistest.Server(t).Client()
	c := channel(t, client)
	own := ring(t, namespace, "1 primary")
	for name, tc := range map[string]struct {
		present []byte
		want    error
	}{
		"garbage":         {[]byte("garbage"), policy.ErrBadMAC},
		"another policy":  {sealed(t, own, record("other")), policy.ErrWrongPolicy},
		"another realm":   {sealed(t, own, record("portal", func(r *policy.Record) { r.Realm = "b/portal" })), policy.ErrWrongRealm},
		"another purpose": {sealedWith(t, own.Secrets("other")[0], record("portal")), policy.ErrBadMAC},
		"another ring":    {sealed(t, ring(t, "acme-b", "1 primary"), record("portal")), policy.ErrBadMAC},
	} {
		client.Set(t.Context(), recordKey("portal"), tc.present, 0)
		if r, _, err := c.Published(t.Context(), "portal"); !errors.Is(err, tc.want) || r != nil {
			t.Errorf("%s: %+v, %v; want %v", name, r, err, tc.want)
		}
	}
}

func sealedWith(t *testing.T, key []byte, r *policy.Record) []byte {
	t.Helper()
	doc, err := policy.Seal(r, key)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}
