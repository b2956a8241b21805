package seal_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/sidecar/seal"
)

func TestUsableBeginsWithThePrimary(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		keys []string
		want []uint32
	}{
		"one key":                     {[]string{"5 primary 2"}, []uint32{5}},
		"the primary in the middle":   {[]string{"9 active 2", "4 primary 3", "1 active 4"}, []uint32{4, 1, 9}},
		"a retired key is not usable": {[]string{"1 retired 2", "2 active 3", "3 primary 4"}, []uint32{3, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, parse(t, file(t, 1, c.keys...), realm).Usable()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSecretsFollowTheRotation(t *testing.T) {
	t.Parallel()
	before := parse(t, file(t, 1, "1 primary 2"), realm).Secrets("policy")
	added := parse(t, file(t, 1, "1 primary 2", "2 active 3"), realm).Secrets("policy")
	promoted := parse(t, file(t, 1, "1 active 2", "2 primary 3"), realm).Secrets("policy")
	if diff := cmp.Diff(before[0], added[0]); diff != "" {
		t.Errorf("adding a version changed the primary's secret:\n%s", diff)
	}
	if diff := cmp.Diff([][]byte{added[1], added[0]}, promoted); diff != "" {
		t.Errorf("promotion must swap the two (-want +got):\n%s", diff)
	}
	retired := parse(t, file(t, 1, "1 retired 2", "2 primary 3"), realm).Secrets("policy")
	if diff := cmp.Diff([][]byte{promoted[0]}, retired); diff != "" {
		t.Errorf("after retirement (-want +got):\n%s", diff)
	}
}

func TestSecretsAreOfOneRingRealmAndPurpose(t *testing.T) {
	t.Parallel()
	doc := file(t, 1, "1 primary 2")
	seen := map[string]string{}
	for what, ring := range map[string]*seal.Ring{
		"the ring": parse(t, doc, "acme"), "another realm": parse(t, doc, "acme-b"),
		"another key": parse(t, file(t, 1, "1 primary 3"), "acme"),
	} {
		for _, purpose := range []string{"policy", "heartbeat", ""} {
			secrets := ring.Secrets(purpose)
			if len(secrets) != 1 || len(secrets[0]) != 32 {
				t.Fatalf("%s, %q: %d secrets", what, purpose, len(secrets))
			}
			if other, ok := seen[string(secrets[0])]; ok {
				t.Errorf("%s, %q shares a secret with %s", what, purpose, other)
			}
			seen[string(secrets[0])] = what + " " + purpose
		}
	}
}
