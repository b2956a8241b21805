package server_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sidecar/server"
	"github.com/sallyport/sallyport/test/stack"
)

// A rotation as the operating notes have it, one sidecar for each step. Nobody is
// signed out, and no code is lost.
func TestRotatingKeys(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	material := anotherKey()
	created := time.Now().UTC().Format(time.RFC3339)
	with := func(first, second string) func(*server.Options) {
		return w.rekeyed(func(r *ring) {
			r.Keys[0].Status = first
			r.Keys = append(r.Keys, ringKey{ID: 2, Status: second, Created: created, Key: material})
		})
	}
	alice, bob := w.enrolled("alice"), w.enrolled("bob")
	added := w.another(with("primary", "active"))
	alice.at(added).wantPasses(true, "with a version added")

	promoted := w.another(with("active", "primary"))
	alice.at(promoted).wantPasses(true, "with the new version in use")
	moved := alice.again()
	moved.at(promoted).verify()
	if got := audits(t, promoted, "key.reseal"); len(got) != 1 || got[0]["user"] == "" {
		t.Errorf("the seed was not moved: %v", got)
	}
	moved.at(promoted).wantPasses(true, "verified under the new version")
	moved.at(added).wantPasses(true, "at a sidecar that only knows it")
	for _, s := range []*stack.Sidecar{added, promoted} { // each seals with its own, and opens the other's
		alice.again().at(s).verify()
	}
	wantLocation(t, alice.again().at(promoted).try("recovery_code", alice.codes[0]), "/") // of the old version

	// Without the old version: who moved goes on, who did not gets no wrong answer.
	retired := w.another(w.rekeyed(func(r *ring) {
		r.Keys = []ringKey{{ID: 2, Status: "primary", Created: created, Key: material}}
	}))
	last := alice.again()
	last.at(retired).verify()
	last.at(retired).wantPasses(true, "a seed of the new version")
	late := bob.again().at(retired)
	wantStatus(t, late.try("code", late.code()), http.StatusServiceUnavailable)
	if got := late.status().State; got != "enabled" {
		t.Errorf("a seed that cannot be opened makes the state %q", got)
	}
}
