package browser_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/test/stack"
)

const drawn = `!["unknown"].includes(document.querySelector('[data-testid="profile-two-factor"]').dataset.state)`

// profile is what the app's own card says on the profile page.
type profile struct{ State, Badge, Note, Link string }

func (p *person) profile() profile {
	p.t.Helper()
	p.open("/my/profile")
	p.wait(drawn)
	return eval[profile](p, `(() => {
		const card = document.querySelector('[data-testid="profile-two-factor"]');
		const text = (selector) => { const e = card.querySelector(selector); return e.hidden ? "" : e.textContent; };
		return {
			State: card.dataset.state, Badge: text(".badge"), Note: text("#two-factor-note"), Link: text("a"),
		};
	})()`)
}

// TestTheAppsOwnCard proves that an app can draw its card from the status alone.
func TestTheAppsOwnCard(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	alice := w.person()
	shows := func(want profile) {
		t.Helper()
		if diff := cmp.Diff(want, alice.profile()); diff != "" {
			t.Errorf("the profile's card (-want +got):\n%s", diff)
		}
	}
	alice.signsIn("alice")
	shows(profile{State: "not-configured", Badge: "Not configured", Link: "Set up two-factor"})

	setUp := alice.tab()
	setUp.open(stack.Prefix)
	ph := setUp.mints(w.clock)
	shows(profile{State: "pending", Badge: "Pending confirmation", Link: "Set up two-factor"})

	codes := setUp.confirms(ph)
	shows(profile{State: "enabled", Badge: "Enabled", Note: "8 recovery codes left.", Link: "Manage"})
	alice.sees("Every sign-in asks for a code from your authenticator app, since " + w.clock.Now().UTC().Format("2 January 2006") + ".")

	alice.signsOut()
	alice.signsIn("alice")
	alice.passesWithRecovery(codes[0], "/my")
	shows(profile{State: "enabled", Badge: "Enabled", Note: "7 recovery codes left.", Link: "Manage"})
	alice.follow("link", "Manage")
	alice.inState("enabled")

	alice.click("DisclosureTriangle", disable)
	alice.write(password, "alice-demo")
	alice.follow("button", disable)
	shows(profile{State: "not-configured", Badge: "Not configured", Link: "Set up two-factor"})
}

// problem is what a script of the page is told.
type problem struct {
	Status   int
	Type     string
	Code     string
	Location string
	Asks     string
}

const fetchTasks = `fetch("/api/tasks").then(async (answer) => {
	const body = await answer.json();
	return {
		Status: answer.status, Type: answer.headers.get("Content-Type"), Code: body.code ?? "", Location: body.location ?? "",
		Asks: answer.headers.get("WWW-Authenticate") ?? "",
	};
})`

// TestScriptsOfTheAppAreToldToo has a page open while the door closes behind it.
func TestScriptsOfTheAppAreToldToo(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	alice, elsewhere := w.person(), w.person()
	elsewhere.signsIn("alice")
	elsewhere.wait(`document.querySelectorAll("[data-testid=task]").length === 3`)
	told := func() problem {
		t.Helper()
		return ask(elsewhere, chromedp.Evaluate[problem](fetchTasks, chromedp.EvalAwaitPromise))
	}

	w.requires(stack.Policy{Everyone: true})
	got := told()
	if strings.HasPrefix(strings.ToLower(got.Asks), "basic") {
		t.Errorf("the challenge %q makes browsers ask for a password", got.Asks)
	}
	got.Asks = ""
	want := problem{
		Status: http.StatusUnauthorized, Type: "application/problem+json", Code: "mfa_enrolment_required",
		Location: stack.Prefix + "?return_to=%2Fmy",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("where enrolment is due (-want +got):\n%s", diff)
	}

	w.requires(stack.Policy{})
	alice.signsIn("alice")
	ph, _ := alice.enrols(w.clock)
	got = told()
	got.Asks = ""
	want.Code, want.Location = "mfa_challenge_required", stack.Prefix+"/challenge?return_to=%2Fmy"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("where the challenge is due (-want +got):\n%s", diff)
	}

	// What the portal's own script makes of it leads the person to the challenge
	// and back, and the half-written task was not lost on the way there.
	elsewhere.write("New task", "Call the printer's support")
	elsewhere.click("button", "Add")
	elsewhere.wait(`document.getElementById("tasks-status").textContent.startsWith("Your sign-in has ended.")`)
	if got := eval[string](elsewhere, `document.getElementById("task-title").value`); got != "Call the printer's support" {
		t.Errorf("the field for a new task holds %q", got)
	}
	elsewhere.follow("link", "Sign in again")
	elsewhere.challenged()
	w.nextCode()
	elsewhere.write(codeField, ph.code())
	elsewhere.follow("button", verify)
	elsewhere.isAt("/my")
	elsewhere.wait(`document.querySelectorAll("[data-testid=task]").length === 3`)
}
