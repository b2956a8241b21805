package server_test

import (
	"bufio"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/test/stack"
)

// target is a line of testdata/paths.txt.
type target struct{ class, text string }

func readTargets(t *testing.T) []target {
	t.Helper()
	file, err := os.Open("testdata/paths.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	var all []target
	classes := map[string]int{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		class, text, _ := strings.Cut(lines.Text(), " ")
		if strings.HasPrefix(text, `"`) {
			if text, err = strconv.Unquote(text); err != nil {
				t.Fatalf("%s: %v", lines.Text(), err)
			}
		}
		classes[class]++
		all = append(all, target{class, text})
	}
	if len(all) < 200 || len(classes) != 4 {
		t.Fatalf("%d targets of the classes %v", len(all), classes)
	}
	return all
}

// Nothing that two servers could read differently is exempt, nor a page of the
// sidecar's; and what needs the factor reaches the app, once it was given, byte for
// byte.
func TestPathsOfTheCorpus(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	without, with := alice.again().credentials(), alice.credentials()
	unverified, verified := dial(t, w.URL()), dial(t, w.URL())
	for _, target := range readTargets(t) {
		w.office.requests()
		answer := unverified.send("GET", target.text, without, "Accept: */*")
		reached := w.office.requests()
		late := verified.send("GET", target.text, with, "Accept: */*")
		reachedLate := w.office.requests()
		switch target.class {
		case "exempt":
			if len(reached) != 1 || reached[0].User != "" || len(reached[0].Header["Cookie"]) > 0 {
				t.Errorf("%q without the factor is answered %d, and the app saw %+v", target.text, answer.Status, reached)
			}
		case "app":
			if len(reached) > 0 || answer.Status != http.StatusUnauthorized {
				t.Errorf("%q without the factor is answered %d, and the app saw %+v", target.text, answer.Status, reached)
			}
		default:
			if len(reached) > 0 || len(reachedLate) > 0 {
				t.Errorf("%q reached the app: %+v, %+v", target.text, reached, reachedLate)
			}
			if (answer.Status == http.StatusBadRequest) != (target.class == "refused") {
				t.Errorf("%q is answered %d", target.text, answer.Status)
			}
			continue
		}
		if len(reachedLate) != 1 || reachedLate[0].Target != target.text {
			t.Errorf("%q with the factor is answered %d, and the app saw %+v", target.text, late.Status, reachedLate)
		}
	}
}
