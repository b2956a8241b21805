// Package stack runs the whole product on loopback for tests: the demo workspace
// app, a Redis, and one or more sidecars in front, each with real listeners.
//
// Tests drive it from outside: by HTTP, by a browser, by Redis, by editing the
// policy file. It must not reach into the sidecar.
package stack

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/cmd/workspace/portal"
	"github.com/sallyport/sallyport/sidecar/redisstore"
	"github.com/sallyport/sallyport/sidecar/seal"
)

// patience with Redis is longer than in production: a test machine is busy.
const patience = 5 * time.Second

// anyDrift lifts the bound on how far clocks may differ: tests move the sidecars'
// and leave Redis's.
const anyDrift = 100 * 365 * 24 * time.Hour

// Policy is what tests change about the policy of the demo app.
type Policy struct {
	Everyone, Admins bool
	// Spec is merged over the spec, so that a test can set or replace anything.
	Spec map[string]any
}

// Options of a Stack. The zero value is one sidecar with a Redis in memory.
type Options struct {
	Policy   Policy
	Sidecars int
	// RedisURL of a real Redis. Default: one in memory.
	RedisURL string
	// App in place of the demo app.
	App http.Handler
	// OnRequest sees every request that reaches the app.
	OnRequest func(*http.Request)
	// Clock of the sidecars. Default: the real one.
	Clock func() time.Time
	// Random source of the sidecars; safe for concurrent use. Default: the system's.
	Random io.Reader
	// Recheck of open streams. Default: 200 ms.
	Recheck time.Duration
	// EpochFile of the sidecars. Default: none.
	EpochFile string
	// Impatient keeps the sidecars' own bounds on how long Redis may take. By
	// default they are lifted, for busy machines.
	Impatient bool
	// SecureCookies serves cookies as in production.
	SecureCookies bool
}

// Stack is a running product.
type Stack struct {
	// Redis is the server in memory; nil with a real one.
	Redis *miniredis.Miniredis
	// RedisURL of the Redis in use.
	RedisURL string
	// AppURL leads to the app without a door.
	AppURL string
	// Sidecars in front of it.
	Sidecars []*Sidecar
	// Hits counts the requests that reached the app.
	Hits atomic.Int64

	t       testing.TB
	options Options
	dir     string
	keys    []byte
	app     *url.URL
}

// Start runs a Stack until the test ends, and waits until its sidecars are ready.
func Start(t testing.TB, options Options) *Stack {
	t.Helper()
	s := Prepare(t, options)
	for range max(1, options.Sidecars) {
		s.WaitReady(s.AddSidecar())
	}
	return s
}

// Prepare runs everything but a sidecar.
func Prepare(t testing.TB, options Options) *Stack {
	t.Helper()
	s := &Stack{t: t, options: options, dir: t.TempDir(), RedisURL: options.RedisURL}
	if s.options.Clock == nil {
		s.options.Clock = time.Now
	}
	if s.options.Random == nil {
		s.options.Random = rand.Reader
	}
	if s.options.Recheck == 0 {
		s.options.Recheck = 200 * time.Millisecond
	}
	if s.RedisURL == "" {
		s.Redis = miniredis.RunT(t)
		s.RedisURL = "redis://" + s.Redis.Addr()
	}
	s.startApp()
	var err error
	if s.keys, err = seal.Generate(rand.Reader, time.Now()); err != nil {
		t.Fatal(err)
	}
	s.SetPolicy(options.Policy)
	return s
}

func (s *Stack) startApp() {
	handler := s.options.App
	if handler == nil {
		app, err := portal.New(portal.Config{
			Users: portal.DemoUsers(), Clock: time.Now, Random: rand.Reader, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			s.t.Fatal(err)
		}
		handler = app.Handler()
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Hits.Add(1)
		if s.options.OnRequest != nil {
			s.options.OnRequest(r)
		}
		handler.ServeHTTP(w, r)
	}))
	app.Config.Protocols = protocols
	app.Start()
	s.t.Cleanup(app.CloseClientConnections)
	s.t.Cleanup(app.Close)
	s.AppURL = app.URL
	var err error
	if s.app, err = url.Parse(app.URL); err != nil {
		s.t.Fatal(err)
	}
}

// Keys is the key ring of the sidecars.
func (s *Stack) Keys() []byte { return s.keys }

// PolicyFile is the file that the sidecars follow.
func (s *Stack) PolicyFile() string { return filepath.Join(s.dir, "policy.yaml") }

// SetPolicy writes the policy file in one step.
func (s *Stack) SetPolicy(p Policy) {
	s.t.Helper()
	spec := map[string]any{
		"selector":           map[string]any{"matchLabels": map[string]string{"app": "portal"}},
		"requireForEveryone": p.Everyone,
		"requireForAdmins":   p.Admins,
		"issuer":             "Acme portal",
		"app":                map[string]any{"port": 8080},
		"identity": map[string]any{
			"type": "Endpoint",
			"endpoint": map[string]any{
				"path": "/api/me", "cookies": []string{"session"}, "subject": "/id", "account": "/username", "roles": "/roles",
			},
		},
		"exempt": []map[string]any{
			{"path": "/healthz"}, {"prefix": "/static/", "methods": []string{"GET", "HEAD"}},
		},
	}
	maps.Copy(spec, p.Spec)
	doc, err := json.Marshal(map[string]any{
		"apiVersion": "mfa.sallyport.dev/v1alpha1", "kind": "MFAPolicy",
		"metadata": map[string]any{"name": "portal", "namespace": "acme"}, "spec": spec,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.WritePolicy(doc)
}

// WritePolicy replaces the policy file in one step, whatever the content.
func (s *Stack) WritePolicy(doc []byte) {
	s.t.Helper()
	temporary := s.PolicyFile() + ".new"
	if err := os.WriteFile(temporary, doc, 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(temporary, s.PolicyFile()); err != nil {
		s.t.Fatal(err)
	}
}

// RemovePolicy removes the policy file.
func (s *Stack) RemovePolicy() {
	s.t.Helper()
	if err := os.Remove(s.PolicyFile()); err != nil {
		s.t.Fatal(err)
	}
}

// URL of the first sidecar.
func (s *Stack) URL() string { return s.Sidecars[0].URL }

// Eventually polls until the condition holds; it is for what no event announces.
func (s *Stack) Eventually(what string, holds func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			s.t.Fatalf("never came true: %s\n%s", what, s.logs())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (s *Stack) logs() string {
	var all bytes.Buffer
	for i, sidecar := range s.Sidecars {
		_, report := sidecar.Ready()
		fmt.Fprintf(&all, "sidecar %d: %s\n%s\n", i, report, sidecar.Log)
	}
	return all.String()
}

// DialRedis returns a client of the Redis in use.
func (s *Stack) DialRedis() redis.UniversalClient {
	s.t.Helper()
	client, err := redisstore.Dial(redisstore.Options{URL: s.RedisURL})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = client.Close() })
	return client
}
