package control_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/control"
	"github.com/sallyport/sallyport/sidecar/seal"
)

const (
	prefix    = "sallyport"
	namespace = "acme"
	patience  = 20 * time.Second
)

var issued = time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)

// ring makes a ring of keys such as "1 primary", each with material of its own.
func ring(t testing.TB, realm string, keys ...string) *seal.Ring {
	t.Helper()
	material := func(fill uint32) string {
		return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{byte(fill)}, 32))
	}
	var entries []string
	for _, k := range keys {
		var id uint32
		var status string
		if _, err := fmt.Sscan(k, &id, &status); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, fmt.Sprintf(
			`{"id":%d,"status":%q,"created":"2026-01-02T03:04:05Z","key":%q}`, id, status, material(id+100)))
	}
	r, err := seal.Parse(fmt.Appendf(nil, `{"index":%q,"keys":[%s]}`, material(1), strings.Join(entries, ",")), realm)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func channel(t testing.TB, client redis.UniversalClient, keys ...string) *control.Channel {
	t.Helper()
	if len(keys) == 0 {
		keys = []string{"1 primary"}
	}
	return control.New(control.Config{
		Client: client, Prefix: prefix, Namespace: namespace, Ring: ring(t, namespace, keys...), Clock: time.Now,
	})
}

// record is generation 5 of a policy, with changes.
func record(name string, changes ...func(*policy.Record)) *policy.Record {
	r := &policy.Record{
		Realm: namespace + "/" + name, Policy: name, UID: "uid-1", Generation: 5, IssuedAt: issued, Epoch: "e.s",
		Rules: policy.Rules{
			App:      policy.App{Port: policy.Port{Number: 8080}},
			Identity: policy.Identity{Type: policy.IdentityEndpoint, Endpoint: &policy.EndpointIdentity{}},
		},
	}
	r.Rules.SetDefaults(name)
	for _, change := range changes {
		change(r)
	}
	return r
}

func generation(g int64) func(*policy.Record) { return func(r *policy.Record) { r.Generation = g } }

// beatsKey is where the sidecars of the policy "portal" say what they obey.
const beatsKey = prefix + ":{" + namespace + "}:heartbeats:portal"

func recordKey(name string) string { return prefix + ":{" + namespace + "}:policy:" + name }

func publish(t testing.TB, c *control.Channel, r *policy.Record) {
	t.Helper()
	if err := c.Publish(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

// sealed returns what Publish writes, under the ring's first key.
func sealed(t testing.TB, r *seal.Ring, rec *policy.Record) []byte {
	t.Helper()
	doc, err := policy.Seal(rec, r.Secrets("control-record")[0])
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// sidecar is a follower that runs until the test ends.
type sidecar struct {
	adopted chan *policy.Record
	reports chan error
	stop    func()
}

type adjust func(*control.FollowerConfig)

func follow(t testing.TB, c *control.Channel, name, pod string, adjust ...adjust) *sidecar {
	t.Helper()
	s := &sidecar{adopted: make(chan *policy.Record, 100), reports: make(chan error, 100)}
	config := control.FollowerConfig{
		Channel: c, Policy: name, Pod: pod, PodUID: "uid-of-" + pod, Version: "v1", Pause: 20 * time.Millisecond,
		Adopt:  func(_ context.Context, r *policy.Record) error { s.adopted <- r; return nil },
		Report: func(_ context.Context, err error) { s.reports <- err },
	}
	for _, f := range adjust {
		f(&config)
	}
	f, err := control.NewFollower(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.Run(ctx)
	}()
	s.stop = func() { cancel(); <-done }
	t.Cleanup(s.stop)
	return s
}

// next waits for the next record that is put in force.
func (s *sidecar) next(t testing.TB) *policy.Record {
	t.Helper()
	select {
	case r := <-s.adopted:
		return r
	case <-time.After(patience):
		t.Fatal("no record was put in force")
		return nil
	}
}

// told waits for a report of the error; nil means that all is well again.
func (s *sidecar) told(t testing.TB, want error) {
	t.Helper()
	_ = s.report(t, want)
}

// report waits for a report of the error and returns it.
func (s *sidecar) report(t testing.TB, want error) error {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case got := <-s.reports:
			if got == nil && want == nil || want != nil && errors.Is(got, want) {
				return got
			}
		case <-timeout:
			t.Fatalf("never told of %v", want)
			return nil
		}
	}
}

// awaitBeat waits for a heartbeat of the policy that is as wanted.
func awaitBeat(t testing.TB, c *control.Channel, name, what string, good func(control.Heartbeat) bool) control.Heartbeat {
	t.Helper()
	var beats []control.Heartbeat
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var err error
		if beats, err = c.Heartbeats(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		for _, b := range beats {
			if good(b) {
				return b
			}
		}
	}
	t.Fatalf("no heartbeat %s among %+v", what, beats)
	return control.Heartbeat{}
}
