package browser_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/test/stack"
)

const plantFaults = `(() => {
	const plant = (name, style) => {
		const e = document.createElement(name);
		Object.assign(e.style, style);
		document.querySelector("main").append(e);
		return e;
	};
	plant("img", {}).src = "/static/mark.svg";
	plant("p", {color: "#999", background: "#bbb"}).textContent = "Who can read this?";
	plant("p", {width: "1500px"}).textContent = "Too wide";
	plant("p", {width: "50px", overflow: "hidden", whiteSpace: "nowrap"}).textContent = "Cut off in the middle";
	const button = plant("button", {outline: "none"});
	button.textContent = "Press me";
	button.focus();
})()`

// TestTheChecksFindFaults plants what TestEveryPage and TestByKeyboardAlone look for.
func TestTheChecksFindFaults(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	alice := w.person()
	alice.open("/about")
	if found := alice.violations(); len(found) > 0 {
		t.Fatalf("violations before any was planted: %v", found)
	}
	if cut := eval[[]string](alice, cutOff); len(cut) > 0 {
		t.Fatalf("too wide before anything was planted: %q", cut)
	}
	eval[any](alice, plantFaults)

	var rules []string
	for _, f := range alice.violations() {
		rules = append(rules, f.ID)
	}
	for _, rule := range []string{"image-alt", "color-contrast"} {
		if !slices.Contains(rules, rule) {
			t.Errorf("axe-core finds %q and not %s", rules, rule)
		}
	}
	cut := strings.Join(eval[[]string](alice, cutOff), "\n")
	for _, fault := range []string{"the page:", "P.:"} {
		if !strings.Contains(cut, fault) {
			t.Errorf("%q is not among what is too wide:\n%s", fault, cut)
		}
	}
	if at := eval[stop](alice, focused); at.Name != "Press me" || at.visible() {
		t.Errorf("a focus without an outline counts as visible: %+v", at)
	}
}
