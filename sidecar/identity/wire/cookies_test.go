package wire_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/sidecar/identity/wire"
)

func TestPairs(t *testing.T) {
	for _, tc := range []struct {
		name, line string
		want       []wire.Pair
	}{
		{"an empty line holds nothing", "", nil},
		{"separators alone hold nothing", " ; ;; ", nil},
		{"a value keeps its equals signs", "a=b==; c=d", []wire.Pair{{Name: "a", Value: "b=="}, {Name: "c", Value: "d"}}},
		{"blanks around a pair go, blanks around = stay", " a = b ;c=d", []wire.Pair{{Name: "a ", Value: " b"}, {Name: "c", Value: "d"}}},
		{"a piece without = is a bare name", "a; b=", []wire.Pair{{Name: "a", Bare: true}, {Name: "b"}}},
		{"a nameless cookie has an empty name", "=a=b", []wire.Pair{{Value: "a=b"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, slices.Collect(wire.Pairs(tc.line))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFoldMakesLenientSpellingsOneName(t *testing.T) {
	for _, spelling := range []string{
		"my_session", "MY_Session", " my_session\t", `"my_session"`, "my%5Fsession", "my.session", "my session",
		"my[session", "%6dy_session", `" my_session"`, "%20my_session", "\xa0my_session", "my_session\x85", "\u00a0my_session",
		"my_session\u2028", "\ufeffmy_session", "my_session[]", "my_session[a][b]", "my.session[x]",
	} {
		if got := wire.Fold(spelling); got != "my_session" {
			t.Errorf("Fold(%q) = %q", spelling, got)
		}
	}
	for _, other := range []string{"my-session", "mysession", "my_session2", "xmy_session", "my%255Fsession", "my\u00a0session", "[my_session]", ""} {
		if got := wire.Fold(other); got == "my_session" {
			t.Errorf("Fold(%q) = %q, another cookie's name", other, got)
		}
	}
}

func TestFoldedReadsANamelessCookieAsItMayBeSentOn(t *testing.T) {
	for _, line := range []string{"=session=x", "==session=x", "= session=x"} {
		for p := range wire.Pairs(line) {
			if p.Folded() != "session" {
				t.Errorf("%q folds to %q", line, p.Folded())
			}
		}
	}
}

func TestWithoutLeavesEveryOtherByteAlone(t *testing.T) {
	own := wire.Named([]string{"__Host-own"})
	for _, tc := range []struct{ name, line, want string }{
		{"nothing to remove", `a=1;b="x ; c={"k":[1]}`, `a=1;b="x ; c={"k":[1]}`},
		{"first", "__Host-own=x; a=1;  b=2", "a=1;  b=2"},
		{"middle", "a=1; __Host-own=x;b=2", "a=1;b=2"},
		{"last", "a=1;\tb=2; __Host-own=x", "a=1;\tb=2"},
		{"alone", "__Host-own=x", ""},
		{"twice", "__Host-own=x; a=é\xff; __Host-own=y", "a=é\xff"},
		{"bare", "__Host-own; a=1", "a=1"},
		{"other spelling", `a=1; "__HOST-OWN"=x`, "a=1"},
		{"nameless", "=__Host-own=x; a=1", "a=1"},
		{"a value that holds the name stays", "a=__Host-own=x", "a=__Host-own=x"},
		{"only separators are left", "; __Host-own=x ;", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := wire.Without(tc.line, own); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestCookieLineJoinsHeaders(t *testing.T) {
	h := http.Header{"Cookie": {"a=1", "b=2; c=3"}}
	if got := wire.CookieLine(h); got != "a=1; b=2; c=3" {
		t.Errorf("got %q", got)
	}
	wire.SetCookieLine(h, "")
	if _, ok := h["Cookie"]; ok {
		t.Error("an empty line left a Cookie header")
	}
}

func TestOnlyKnowsNoChoice(t *testing.T) {
	for _, tc := range []struct {
		line, want string
		ok         bool
	}{
		{"a=1; own=x", "x", true},
		{"own=", "", true},
		{"own=x; OWN=y", "x", true},
		{"own=x; own", "x", true},
		{"own=x; own=x", "", false},
		{"own", "", false},
		{"=own=x", "", false},
		{"", "", false},
	} {
		got, ok := wire.Only(tc.line, "own")
		if ok != tc.ok || ok && got != tc.want {
			t.Errorf("%q: got %q, %t", tc.line, got, ok)
		}
	}
}

func TestSetCookieLineReplacesWhatDiffers(t *testing.T) {
	for _, before := range [][]string{nil, {"a=1"}, {"a=1; b=2"}, {"a=1", "b=2"}} {
		h := http.Header{"Cookie": before}
		wire.SetCookieLine(h, "a=1; b=2")
		if got := h["Cookie"]; !slices.Equal(got, []string{"a=1; b=2"}) {
			t.Errorf("%q became %q", before, got)
		}
	}
}

// There are short ways to a plain name's fold. They must lead where the long one does.
func FuzzFold(f *testing.F) {
	for _, name := range []string{"session", "__Host-Own", "my.sid", "%6dy_sid", `"my sid"`, "a[b]", "\u212aey", "=own", "\u017fid"} {
		f.Add(name, name)
		f.Add(strings.ToUpper(name), name)
	}
	f.Fuzz(func(t *testing.T, name, other string) {
		fold := wire.Fold(name)
		if long := wire.Fold(" " + name); long != fold {
			t.Fatalf("%q folds to %q, with a blank before it to %q", name, fold, long)
		}
		for _, p := range []wire.Pair{{Name: name}, {Value: name}} {
			if got, want := wire.Named([]string{other})(p), p.Folded() == wire.Fold(other); got != want {
				t.Fatalf("%+v is named %q: %t, and their folds say %t", p, other, got, want)
			}
		}
	})
}

func FuzzWithout(f *testing.F) {
	for _, line := range []string{"own=1; a=2", "a=;own", "=own=x;;", `"own"=1; a="b;own=2"`, "%6fwn=x; a"} {
		f.Add(line)
	}
	named := wire.Named([]string{"own"})
	f.Fuzz(func(t *testing.T, line string) {
		got := wire.Without(line, named)
		for p := range wire.Pairs(got) {
			if p.Folded() == "own" {
				t.Fatalf("%q left %q", line, got)
			}
		}
		if wire.Without(got, named) != got {
			t.Fatalf("%q changed twice", line)
		}
		var want []wire.Pair
		for p := range wire.Pairs(line) {
			if p.Folded() != "own" {
				want = append(want, p)
			}
		}
		if diff := cmp.Diff(want, slices.Collect(wire.Pairs(got))); diff != "" {
			t.Fatalf("%q lost others:\n%s", line, diff)
		}
		if len(got) > len(line) || (got != "" && !strings.Contains(line, got[len(got)-1:])) {
			t.Fatalf("%q grew to %q", line, got)
		}
	})
}
