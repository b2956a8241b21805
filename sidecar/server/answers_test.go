package server_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/test/stack"
)

func TestBearerClientIsToldOfTheSecondFactor(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: stack.Policy{Admins: true}})
	w.enrolled("alice")
	for name, want := range map[string]problem{
		"alice": {
			Type: "about:blank", Title: "Two-factor verification required", Status: http.StatusUnauthorized,
			Detail: "Password accepted. Enter your code to continue.", Code: "mfa_challenge_required",
			Location: prefix + "/challenge?return_to=%2F",
		},
		"adam": {
			Type: "about:blank", Title: "Two-factor enrolment required", Status: http.StatusUnauthorized,
			Detail: required, Code: "mfa_enrolment_required", Location: prefix + "?return_to=%2F",
		},
	} {
		answer := send(t, w.URL(), "GET", "/api", "Authorization: Bearer key-"+name)
		wantProblem(t, answer, want)
		// RFC 9470, section 3.
		if got := answer.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, `Bearer error="insufficient_user_authentication"`) {
			t.Errorf("%s: WWW-Authenticate %q", name, got)
		}
	}
}

func TestRequiredUserIsSentToSetUp(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: stack.Policy{Everyone: true}})
	p := w.signedIn("alice")
	wantLocation(t, p.Get("/a?b=c"), prefix+"?"+url.Values{"return_to": {"/a?b=c"}}.Encode())
	form := p.Request(http.MethodPost, "/a", strings.NewReader("x=y"))
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	form.Header.Set("Referer", w.URL()+"/form")
	wantLocation(t, p.Do(form), prefix+"?return_to=%2Fform")
	script := p.Request(http.MethodGet, "/a", nil)
	script.Header.Set("Sec-Fetch-Mode", "cors")
	script.Header.Set("Referer", w.URL()+"/board?id=1")
	wantProblem(t, p.Do(script), problem{
		Type: "about:blank", Title: "Two-factor enrolment required", Status: http.StatusUnauthorized,
		Detail: required, Code: "mfa_enrolment_required",
		Location: prefix + "?" + url.Values{"return_to": {"/board?id=1"}}.Encode(),
	})
}

func TestAnonymousRequests(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"Allow", "Deny"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			w := startOffice(t, stack.Options{Policy: stack.Policy{Spec: map[string]any{"anonymous": policy}}})
			deny := policy == "Deny"
			for _, tc := range []struct {
				name, method, target string
				header               []string
				denied               bool
			}{
				{"a page", "GET", "/news", nil, true},
				{"a form", "POST", "/news", nil, true},
				{"the sign-in page", "GET", "/login", nil, false},
				{"the sign-in form", "POST", "/login", nil, false},
				{"below the sign-in page", "GET", "/login/other", nil, true},
				{"the sign-in page with a detour", "GET", "/x/../login", nil, true},
				{"an exempt path", "GET", "/public/a", nil, false},
				{"cookies that are nobody's", "GET", "/news", []string{"Cookie: session=made-up; theme=dark"}, true},
				{"a password that is wrong", "GET", "/news", []string{
					"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("alice:guess")),
				}, true},
			} {
				w.office.requests()
				answer := send(t, w.URL(), tc.method, tc.target, append(tc.header, "Accept: */*")...)
				seen := w.office.requests()
				if denied := tc.denied && deny; denied != (len(seen) == 0) {
					t.Errorf("%s: %d, and the app saw %+v", tc.name, answer.Status, seen)
				} else if denied {
					wantProblemCode(t, answer, "sign_in_required")
				}
				for _, hit := range seen {
					if hit.User != "" || hit.Header.Get("Authorization") != "" {
						t.Errorf("%s: the app was handed a credential that is nobody's", tc.name)
					}
				}
			}
			if deny {
				p := w.visitor("alice")
				wantLocation(t, p.Get("/news?id=5"), "/login")
				wantUncached(t, p.Get("/news?id=5"))
				p.signIn()
				wantLocation(t, p.Get("/my"), "/news?id=5")
			}
		})
	}
}

// Every answer of the sidecar's own carries the same headers, errors included.
func TestHeadersOfOwnAnswers(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	card := alice.Get(prefix)
	other := alice.again()
	challenge := other.Visit("/my")
	fresh := w.signedIn("bob")
	form := fresh.Get(prefix)
	_, noToken := form.Form("/enable")
	noToken.Del("csrf_token")
	crossSite := fresh.Request(http.MethodPost, prefix+"/enable", nil)
	crossSite.Header.Set("Sec-Fetch-Site", "cross-site")
	big := url.Values{"csrf_token": {strings.Repeat("x", 8<<10)}}
	pending := fresh.Submit(form, "/enable", nil)

	for _, tc := range []struct {
		name   string
		answer *stack.Page
		status int
	}{
		{"the card", card, http.StatusOK},
		{"the challenge", challenge, http.StatusOK},
		{"a redirect", other.Get("/my"), http.StatusSeeOther},
		{"the way to the sign-in page", w.visitor("x").Get(prefix), http.StatusSeeOther},
		{"a pending secret", pending, http.StatusOK},
		{"no form token", fresh.Post(prefix+"/enable", noToken), http.StatusForbidden},
		{"another site's form", fresh.Do(crossSite), http.StatusForbidden},
		{"a form that is too long", fresh.Post(prefix+"/enable", big), http.StatusBadRequest},
		{"no such page", fresh.Get(prefix + "/nothing"), http.StatusNotFound},
		{"no such form", fresh.Post(prefix+"/nothing", nil), http.StatusNotFound},
		{"no such method", fresh.Do(fresh.Request(http.MethodPut, prefix, nil)), http.StatusMethodNotAllowed},
		{"nothing pending", other.Submit(challenge, "/challenge", map[string]string{"code": "x"}), http.StatusUnprocessableEntity},
		{"the status", alice.Get(prefix + "/status"), http.StatusOK},
		{"a request that two servers read differently", unreadable(fresh), http.StatusBadRequest},
	} {
		wantStatus(t, tc.answer, tc.status)
		got := map[string]string{}
		for _, name := range []string{
			"Content-Security-Policy", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy",
			"Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "Cache-Control", "Vary", "Location",
		} {
			if name != "Location" || tc.answer.Status != http.StatusSeeOther {
				got[name] = strings.Join(tc.answer.Header.Values(name), " | ")
			}
		}
		want := map[string]string{
			"Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'self'; " +
				"form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
			"Cache-Control": "no-store", "Vary": "Cookie, Authorization",
		}
		if tc.answer.Status != http.StatusSeeOther {
			want["Location"] = ""
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", tc.name, diff)
		}
	}
}

// A 405 names what would have been right (RFC 9110, section 15.5.6).
func TestMethodsOfOwnPages(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	p := w.signedIn("alice")
	for _, tc := range []struct{ method, path, allow string }{
		{http.MethodPut, prefix, "GET, HEAD"},
		{http.MethodPost, prefix + "/status", "GET, HEAD"},
		{http.MethodGet, prefix + "/enable", "POST"},
		{http.MethodDelete, prefix + "/challenge", "GET, HEAD, POST"},
	} {
		answer := p.Do(p.Request(tc.method, tc.path, nil))
		wantStatus(t, answer, http.StatusMethodNotAllowed)
		if got := strings.Join(answer.Header.Values("Allow"), ", "); got != tc.allow {
			t.Errorf("%s %s: Allow is %q, want %q", tc.method, tc.path, got, tc.allow)
		}
	}
}

// unreadable sends a navigation with two session cookies.
func unreadable(p *person) *stack.Page {
	r := p.Request(http.MethodGet, "/my", nil)
	r.Header.Set("Cookie", "session=b")
	return p.Do(r)
}

// The app's own answers keep their own headers.
func TestHeadersOfTheApp(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	w.office.behave(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/styled" {
			return false
		}
		rw.Header().Set("Cache-Control", "public, max-age=60")
		rw.Header().Add("Set-Cookie", "theme=dark; Path=/")
		rw.WriteHeader(http.StatusTeapot)
		return true
	})
	answer := w.signedIn("alice").Get("/styled")
	wantStatus(t, answer, http.StatusTeapot)
	for _, name := range []string{"Content-Security-Policy", "X-Frame-Options", "Vary"} {
		if got := answer.Header.Get(name); got != "" {
			t.Errorf("the app's answer was given %s: %q", name, got)
		}
	}
	if got := answer.Header.Get("Cache-Control"); got != "public, max-age=60" {
		t.Errorf("Cache-Control %q", got)
	}
	if got := answer.Header.Values("Set-Cookie"); !cmp.Equal(got, []string{"theme=dark; Path=/"}) {
		t.Errorf("Set-Cookie %q", got)
	}
}
