package identity_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/identity"
)

// clock is a clock that stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// app is an app that answers questions, and keeps them.
type app struct {
	mu     sync.Mutex
	asked  []*http.Request
	answer http.HandlerFunc
	url    *url.URL
}

func newApp(t *testing.T, answer http.HandlerFunc) *app {
	t.Helper()
	a := &app{answer: answer}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.asked = append(a.asked, r.Clone(context.WithoutCancel(r.Context())))
		answer := a.answer
		a.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	a.url, _ = url.Parse(server.URL)
	return a
}

func (a *app) setAnswer(answer http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = answer
}

func (a *app) questions() []*http.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked
}

func says(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func saysJSON(body string) http.HandlerFunc { return says(http.StatusOK, "application/json", body) }

func endpointConfig() policy.EndpointIdentity {
	rules := policy.Rules{Identity: policy.Identity{Endpoint: &policy.EndpointIdentity{}}}
	rules.SetDefaults("test")
	return *rules.Identity.Endpoint
}

func newEndpoint(t *testing.T, a *app, c *clock, edit func(*policy.EndpointIdentity)) *identity.Endpoint {
	t.Helper()
	cfg := endpointConfig()
	if edit != nil {
		edit(&cfg)
	}
	source, err := identity.NewEndpoint(cfg, identity.EndpointOptions{
		App: a.url, Clock: c.Now, OwnCookies: []string{"__Host-own"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func request(headers ...string) *http.Request {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "http://app.example/some/page?x=1", strings.NewReader("body"))
	for pair := range slices.Chunk(headers, 2) {
		r.Header.Add(pair[0], pair[1])
	}
	return r
}

const alice = `{"id":"u-1","email":"alice@example.org","roles":["editor","administrator"]}`

func TestEndpointReadsTheAnswer(t *testing.T) {
	known := func(subject, account string, roles ...string) identity.Identity {
		return identity.Identity{
			Kind: identity.Authenticated, Subject: subject, Account: account, Roles: roles, RolesKnown: true,
			SignIn: "session=s1",
		}
	}
	unknownRoles := identity.Identity{Kind: identity.Authenticated, Subject: "u-1", SignIn: "session=s1"}
	unreadable := identity.Identity{Reason: identity.ReasonAnswer}
	status := identity.Identity{Reason: identity.ReasonStatus}
	nobody := identity.Identity{Kind: identity.Anonymous}
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		want   identity.Identity
	}{
		{"a user is a user", saysJSON(alice), known("u-1", "alice@example.org", "editor", "administrator")},
		{"a JSON suffix type is JSON", says(200, "application/hal+json; charset=UTF-8", alice), known("u-1", "alice@example.org", "editor", "administrator")},
		{"an integer subject keeps its digits", saysJSON(`{"id":12345678901234567890,"roles":[]}`), known("12345678901234567890", "")},
		{"a negative integer is an integer", saysJSON(`{"id":-7,"roles":"admin"}`), known("-7", "", "admin")},
		{"zero is an integer", saysJSON(`{"id":0,"roles":"admin"}`), known("0", "", "admin")},
		{"missing roles are unknown", saysJSON(`{"id":"u-1"}`), unknownRoles},
		{"null roles are unknown", saysJSON(`{"id":"u-1","roles":null}`), unknownRoles},
		{"roles of another type are unknown", saysJSON(`{"id":"u-1","roles":{"admin":true}}`), unknownRoles},
		{"a list with a number in it is unknown", saysJSON(`{"id":"u-1","roles":["a",1]}`), unknownRoles},
		{"a blank role is unknown", saysJSON(`{"id":"u-1","roles":""}`), unknownRoles},
		{"an account of another type is none", saysJSON(`{"id":"u-1","email":7}`), unknownRoles},
		{"an account with a line break is none", saysJSON(`{"id":"u-1","email":"a\nb"}`), unknownRoles},
		{"of a duplicate key the last one counts", saysJSON(`{"id":"x","id":"u-1"}`), unknownRoles},
		{"401 is nobody", says(401, "application/json", alice), nobody},
		{"403 says nothing unless the policy lists it", says(403, "text/html", "no"), status},
		{"404 says nothing", says(404, "application/json", alice), status},
		{"204 says nothing", says(204, "application/json", ""), status},
		{"500 says nothing", says(500, "application/json", alice), status},
		{"a redirect says nothing", http.RedirectHandler("/login", http.StatusFound).ServeHTTP, status},
		{"HTML says nothing", says(200, "text/html", alice), unreadable},
		{"no type says nothing", says(200, "", alice), unreadable},
		{"another charset says nothing", says(200, "application/json; charset=utf-16", alice), unreadable},
		{"bad JSON says nothing", saysJSON(`{"id":"u-1"`), unreadable},
		{"two documents say nothing", saysJSON(alice + alice), unreadable},
		{"an empty body says nothing", saysJSON(""), unreadable},
		{"a list says nothing", saysJSON(`["u-1"]`), unreadable},
		{"null says nothing", saysJSON("null"), unreadable},
		{"a missing subject says nothing", saysJSON(`{"email":"a"}`), unreadable},
		{"a null subject says nothing", saysJSON(`{"id":null}`), unreadable},
		{"an empty subject says nothing", saysJSON(`{"id":""}`), unreadable},
		{"a boolean subject says nothing", saysJSON(`{"id":true}`), unreadable},
		{"a fraction says nothing", saysJSON(`{"id":1.5}`), unreadable},
		{"1.0 says nothing", saysJSON(`{"id":1.0}`), unreadable},
		{"1e3 says nothing", saysJSON(`{"id":1e3}`), unreadable},
		{"-0 says nothing", saysJSON(`{"id":-0}`), unreadable},
		{"a subject of 257 bytes says nothing", saysJSON(`{"id":"` + strings.Repeat("x", 257) + `"}`), unreadable},
		{"a subject with NUL says nothing", saysJSON(`{"id":"a\u0000"}`), unreadable},
		{"a subject with a C1 control says nothing", saysJSON(`{"id":"a\u0085"}`), unreadable},
		{"a lone surrogate says nothing", saysJSON(`{"id":"a\ud800"}`), unreadable},
		{"bytes that are not UTF-8 say nothing", saysJSON("{\"id\":\"a\xff\"}"), unreadable},
		{"an answer over 64 KiB says nothing", saysJSON(`{"id":"u-1","x":"` + strings.Repeat("x", 64<<10) + `"}`), unreadable},
		{"a compressed answer says nothing", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			saysJSON(alice)(w, r)
		}, unreadable},
		{"an answer cut short says nothing", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, alice)
		}, identity.Identity{Reason: identity.ReasonUnreachable}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			source := newEndpoint(t, newApp(t, tc.answer), newClock(), nil)
			got := source.Identify(t.Context(), request("Cookie", "session=s1; other=2"))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEndpointTakesTheAnswersThatThePolicyListsForNobody(t *testing.T) {
	a := newApp(t, says(403, "text/html", "no"))
	source := newEndpoint(t, a, newClock(), func(cfg *policy.EndpointIdentity) { cfg.AnonymousStatus = []int{401, 403} })
	if got := source.Identify(t.Context(), request("Cookie", "session=s1")); got.Kind != identity.Anonymous {
		t.Errorf("got %+v, want nobody", got)
	}
}

// Only a redirect to the very page that the policy names means nobody.
func TestEndpointTakesARedirectToTheSignInPageForNobody(t *testing.T) {
	redirect := func(status int, locations ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Location"] = locations
			w.WriteHeader(status)
		}
	}
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		want   identity.Kind
	}{
		{"see other", redirect(303, "/user/login"), identity.Anonymous},
		{"found, with where to return to", redirect(302, "/user/login?redirect_to=%2Fme"), identity.Anonymous},
		{"a temporary redirect to the app's own address", redirect(307, "https://git.example/user/login"), identity.Anonymous},
		{"relative to the path that was asked", redirect(303, "../user/login"), identity.Anonymous},
		{"a permanent redirect", redirect(301, "/user/login"), identity.Indeterminate},
		{"below the sign-in page", redirect(303, "/user/login/again"), identity.Indeterminate},
		{"the sign-in page in another spelling", redirect(303, "/user/%6cogin"), identity.Indeterminate},
		{"another page", redirect(303, "/user/settings/change_password"), identity.Indeterminate},
		{"nowhere", redirect(303), identity.Indeterminate},
		{"two places", redirect(303, "/user/login", "/user/login"), identity.Indeterminate},
		{"a location that is none", redirect(303, "%"), identity.Indeterminate},
		{"a location without a redirect", redirect(200, "/user/login"), identity.Indeterminate},
		{"401 where only a redirect means nobody", says(401, "text/plain", ""), identity.Indeterminate},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rules := policy.Rules{Identity: policy.Identity{Endpoint: &policy.EndpointIdentity{AnonymousLocation: "/user/login"}}}
			rules.SetDefaults("test")
			source := newEndpoint(t, newApp(t, tc.answer), newClock(), func(cfg *policy.EndpointIdentity) { *cfg = *rules.Identity.Endpoint })
			if got := source.Identify(t.Context(), request("Cookie", "session=s1")); got.Kind != tc.want {
				t.Errorf("got %+v, want kind %d", got, tc.want)
			}
		})
	}
}

func TestEndpointReadsAPageOfForms(t *testing.T) {
	page := func(body string) http.HandlerFunc {
		return says(200, "text/html; charset=utf-8", "<!DOCTYPE html><title>Settings</title>"+body)
	}
	known := identity.Identity{Kind: identity.Authenticated, Subject: "alice", Account: "alice", SignIn: "session=s1"}
	withRole := known
	withRole.Roles, withRole.RolesKnown = []string{"staff"}, true
	unreadable := identity.Identity{Reason: identity.ReasonAnswer}
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		want   identity.Identity
	}{
		{"a field is the user", page(`<form><input name="name" value="alice"><input name="bio" value="x"></form>`), known},
		{"a field with a type and a role", page(`<form><input type=HIDDEN name=name value=alice><input name=role value=staff></form>`), withRole},
		{"an entity is a character", page(`<input name="name" value="&#97;lice">`), known},
		{"text that looks like a field is none", page(`<p>&lt;input name="name" value="bob"&gt;</p><!-- <input name="name" value="bob"> --><input name="name" value="alice">`), known},
		{"script that looks like a field is none", page(`<script>"<input name=name value=bob>"</script><input name="name" value="alice">`), known},
		{"what somebody would type is no field", page(`<input name="name" type="password" value="bob"><input name="name" type="checkbox" value="carol"><input name="name" value="alice">`), known},
		{"the subject twice says nothing", page(`<input name="name" value="alice"><form><input name="name" value="alice"></form>`), unreadable},
		{"the subject three times says nothing", page(strings.Repeat(`<input name="name" value="alice">`, 3)), unreadable},
		{"no subject says nothing", page(`<form><input name="user" value="alice"></form>`), unreadable},
		{"an empty subject says nothing", page(`<input name="name">`), unreadable},
		{"a page that is not UTF-8 says nothing", page("<input name=\"name\" value=\"al\xffice\">"), unreadable},
		{"another charset says nothing", says(200, "text/html; charset=iso-8859-1", `<input name="name" value="alice">`), unreadable},
		{"JSON says nothing", saysJSON(`{"name":"alice"}`), unreadable},
		{"a page over 256 KiB says nothing", page(`<input name="name" value="alice">` + strings.Repeat("x", 256<<10)), unreadable},
		{"nothing says nothing", page(""), unreadable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newApp(t, tc.answer)
			source := newEndpoint(t, a, newClock(), func(cfg *policy.EndpointIdentity) {
				cfg.Format, cfg.Subject, cfg.Account, cfg.Roles = policy.AnswerForm, "/name", "/name", "/role"
			})
			if diff := cmp.Diff(tc.want, source.Identify(t.Context(), request("Cookie", "session=s1"))); diff != "" {
				t.Error(diff)
			}
			if got := a.questions()[0].Header.Get("Accept"); got != "text/html" {
				t.Errorf("asked for %q", got)
			}
		})
	}
}

func TestEndpointAsksAsTheBrowserWould(t *testing.T) {
	a := newApp(t, saysJSON(alice))
	source := newEndpoint(t, a, newClock(), nil)
	source.Identify(t.Context(), request(
		"Cookie", `session=s1;odd="x, y" ;__Host-own=secret;  last={"a":1}`,
		"Authorization", "Basic  dXNlcjpwYXNz=",
		"X-Forwarded-For", "203.0.113.7", "X-Forwarded-Proto", "https", "X-Tenant", "no",
		"User-Agent", "Browser/1", "Accept-Language", "de", "Accept", "text/html", "Origin", "https://evil.example",
		"X-Http-Method-Override", "DELETE", "Content-Type", "text/plain",
	))
	asked := a.questions()
	if len(asked) != 2 || asked[0].Header["Cookie"] != nil || asked[1].Header["Authorization"] != nil {
		t.Fatalf("asked %d times; want once about Authorization and once about the cookies", len(asked))
	}
	q := asked[1]
	q.Header["Authorization"] = asked[0].Header["Authorization"]
	if q.Method != http.MethodGet || q.URL.String() != "/api/me" || q.Host != "app.example" || q.ContentLength != 0 {
		t.Errorf("asked %s %s of %s", q.Method, q.URL, q.Host)
	}
	want := http.Header{
		"Cookie": {`session=s1;odd="x, y" ;  last={"a":1}`}, "Authorization": {"Basic  dXNlcjpwYXNz="},
		"X-Forwarded-For": {"203.0.113.7, 192.0.2.1"}, "X-Forwarded-Proto": {"https"},
		"X-Forwarded-Host": {"app.example"}, "X-Forwarded-Port": {"443"},
		"User-Agent": {"Browser/1"}, "Accept-Language": {"de"}, "Accept": {"application/json"},
	}
	if diff := cmp.Diff(want, q.Header); diff != "" {
		t.Error(diff)
	}
}

func TestEndpointAddsNoUserAgent(t *testing.T) {
	a := newApp(t, saysJSON(alice))
	newEndpoint(t, a, newClock(), nil).Identify(t.Context(), request("Cookie", "session=s1"))
	if got, ok := a.questions()[0].Header["User-Agent"]; ok {
		t.Errorf("the app was told of %q", got)
	}
}

func TestEndpointAsksWheneverThereIsEvidence(t *testing.T) {
	for _, tc := range []struct {
		name    string
		headers []string
		asks    int
		want    identity.Kind
	}{
		{"no credential at all is nobody", nil, 0, identity.Anonymous},
		{"the sidecar's own cookie is no evidence", []string{"Cookie", "__Host-own=x"}, 0, identity.Anonymous},
		{"an unlisted cookie is evidence", []string{"Cookie", "remember_me=x"}, 1, identity.Authenticated},
		{"Authorization is evidence", []string{"Authorization", "Basic eA=="}, 1, identity.Authenticated},
		{"an empty Authorization is evidence", []string{"Authorization", ""}, 1, identity.Authenticated},
		{"two Authorization headers are malformed", []string{"Authorization", "a", "Authorization", "b"}, 0, identity.Indeterminate},
		{"a listed cookie twice is malformed", []string{"Cookie", "session=a; session=b"}, 0, identity.Indeterminate},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newApp(t, saysJSON(alice))
			got := newEndpoint(t, a, newClock(), nil).Identify(t.Context(), request(tc.headers...))
			if got.Kind != tc.want || len(a.questions()) != tc.asks {
				t.Errorf("got kind %d after %d questions, want %d after %d", got.Kind, len(a.questions()), tc.want, tc.asks)
			}
			if got.Kind == identity.Indeterminate && got.Reason != identity.ReasonMalformed {
				t.Errorf("reason is %q", got.Reason)
			}
		})
	}
}

func TestEndpointNamesTheSignIn(t *testing.T) {
	for _, tc := range []struct {
		name    string
		headers []string
		want    string
	}{
		{"by its cookie", []string{"Cookie", "a=1; session=s1; b=2"}, "session=s1"},
		{"by all listed cookies, in the policy's order", []string{"Cookie", "remember=r1; session=s1"}, "session=s1; remember=r1"},
		{"by everything where none is listed", []string{"Cookie", "a=1; b=2"}, "a=1; b=2"},
		{"by Authorization too", []string{"Cookie", "session=s1", "Authorization", "Bearer t"}, "session=s1\nBearer t"},
		{"by Authorization alone", []string{"Authorization", "Bearer t"}, "\nBearer t"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			source := newEndpoint(t, newApp(t, saysJSON(alice)), newClock(), func(cfg *policy.EndpointIdentity) {
				cfg.Cookies = []string{"session", "remember"}
			})
			if got := source.Identify(t.Context(), request(tc.headers...)).SignIn; got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestEndpointStripsEveryCredential(t *testing.T) {
	source := newEndpoint(t, newApp(t, saysJSON(alice)), newClock(), nil)
	r := request("Cookie", "session=s1; csrf=c", "Authorization", "Basic eA==")
	source.Strip(r)
	if len(r.Header["Cookie"]) != 0 || len(r.Header["Authorization"]) != 0 {
		t.Errorf("left %v", r.Header)
	}
}

func TestEndpointObserves(t *testing.T) {
	for _, tc := range []struct {
		name    string
		cookie  string
		auth    string
		set     []string
		want    string
		changed bool
	}{
		{"nothing set changes nothing", "session=s1", "", nil, "", false},
		{"another cookie changes nothing", "session=s1", "", []string{"theme=dark"}, "session=s1", false},
		{"a new value is followed", "a=1; session=s1; b=2", "", []string{"session=s2; Path=/"}, "session=s2", true},
		{"the same value changes nothing", "session=s1", "", []string{"session=s1; Max-Age=60"}, "session=s1", false},
		{"a first value is followed", "a=1", "", []string{"session=s2"}, "session=s2", true},
		{"one of two is followed", "session=s1; remember=r1", "", []string{"remember=r2"}, "session=s1; remember=r2", true},
		{"Authorization stays part of it", "session=s1", "Bearer t", []string{"session=s2"}, "session=s2\nBearer t", true},
		{"an ended cookie ends the sign-in", "session=s1", "", []string{"session=; Max-Age=0"}, "", true},
		{"one of two ended ends it", "session=s1; remember=r1", "", []string{"session=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT"}, "", true},
		{"ended beside another set ends it", "session=s1; remember=r1", "", []string{"remember=r2", "session=; Max-Age=0"}, "", true},
		{"ended where it was not changes nothing", "session=s1", "", []string{"remember=; Max-Age=0"}, "session=s1", false},
		{"set and ended is set", "session=s1", "", []string{"session=s2", "session=; Domain=old.example; Max-Age=0"}, "session=s2", true},
		{"another case is another cookie", "session=s1", "", []string{"Session=s2"}, "session=s1", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newApp(t, saysJSON(alice))
			source := newEndpoint(t, a, newClock(), func(cfg *policy.EndpointIdentity) {
				cfg.Cookies = []string{"session", "remember"}
			})
			headers := []string{"Cookie", tc.cookie}
			if tc.auth != "" {
				headers = append(headers, "Authorization", tc.auth)
			}
			source.Identify(t.Context(), request(headers...))
			got, changed := source.Observe(request(headers...), http.Header{"Set-Cookie": tc.set})
			if got != tc.want || changed != tc.changed {
				t.Errorf("got %q, %t; want %q, %t", got, changed, tc.want, tc.changed)
			}
			if changed && got != "" {
				next := append([]string{"Cookie", strings.Split(got, "\n")[0]}, headers[2:]...)
				if signIn := source.Identify(t.Context(), request(next...)).SignIn; signIn != got {
					t.Errorf("the next request is of %q, the response said %q", signIn, got)
				}
			}
			asked := len(a.questions())
			source.Identify(t.Context(), request(headers...))
			if again := len(a.questions()) > asked; again != (len(tc.set) > 0) {
				t.Errorf("asked again: %t after %d cookies were set", again, len(tc.set))
			}
		})
	}
}

func TestNewEndpointRefusesWhatCannotWork(t *testing.T) {
	origin := &url.URL{Scheme: "http", Host: "127.0.0.1:8080"}
	for _, tc := range []struct {
		name string
		edit func(*policy.EndpointIdentity, *identity.EndpointOptions)
	}{
		{"no app", func(_ *policy.EndpointIdentity, o *identity.EndpointOptions) { o.App = nil }},
		{"no clock", func(_ *policy.EndpointIdentity, o *identity.EndpointOptions) { o.Clock = nil }},
		{"a whole address for a path", func(c *policy.EndpointIdentity, _ *identity.EndpointOptions) { c.Path = "http://evil/" }},
		{"no subject", func(c *policy.EndpointIdentity, _ *identity.EndpointOptions) { c.Subject = "" }},
		{"no pointer for a subject", func(c *policy.EndpointIdentity, _ *identity.EndpointOptions) { c.Subject = "id" }},
		{"no pointer for roles", func(c *policy.EndpointIdentity, _ *identity.EndpointOptions) { c.Roles = "/~" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg, o := endpointConfig(), identity.EndpointOptions{App: origin, Clock: time.Now}
			tc.edit(&cfg, &o)
			if _, err := identity.NewEndpoint(cfg, o); err == nil {
				t.Error("no error")
			}
		})
	}
}
