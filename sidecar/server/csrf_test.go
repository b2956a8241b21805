package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/test/stack"
)

// form is a form that would change something, filled in rightly.
type form struct {
	name   string
	p      *person
	target string
	fields url.Values
	// others are the tokens of other forms that the same browser was given.
	others []string
	// want is the answer to it, as it stands.
	want int
}

func (p *person) form(page *stack.Page, action string, fields map[string]string, want int) form {
	target, values := page.Form(action)
	for name, value := range fields {
		values.Set(name, value)
	}
	return form{name: action, p: p, target: target, fields: values, others: tokens(page, action), want: want}
}

// tokens of the page's forms but for one.
func tokens(page *stack.Page, but string) []string {
	var found []string
	for _, f := range page.Doc.Find("form").EachIter() {
		if !strings.HasSuffix(f.AttrOr("action", ""), but) {
			found = append(found, f.Find(`[name="csrf_token"]`).AttrOr("value", ""))
		}
	}
	return found
}

// everyForm is one of each, of different people.
func everyForm(w *world) []form {
	emil := w.signedIn("emil")
	w.enrolled("emil") // at another browser, so that this one is challenged
	dora, alice := w.enrolled("dora"), w.enrolled("alice")
	late, bob, carol := alice.again(), w.signedIn("bob"), w.signedIn("carol")
	card := carol.Get(prefix)
	pending := carol.Submit(card, "/enable", nil)
	carol.secret = pending.Secret()
	w.clock.Advance(step)
	now := func(p *person) map[string]string {
		return map[string]string{"code": codeAt(w.t, p.secret, w.clock.Now())}
	}

	confirm := carol.form(pending, "/confirm", now(carol), http.StatusOK)
	confirm.others = append(confirm.others, tokens(card, "/confirm")...)
	minted := bob.Submit(bob.Get(prefix), "/enable", nil)
	enable := bob.form(bob.Get(prefix), "/enable", nil, http.StatusOK)
	enable.others = append(enable.others, tokens(minted, "/enable")...)
	return []form{
		enable, confirm,
		late.form(late.Visit("/my"), "/challenge", now(late), http.StatusSeeOther),
		alice.form(alice.Get(prefix), "/recovery-codes", nil, http.StatusOK),
		dora.form(dora.Get(prefix), "/disable", map[string]string{"password": "dora-demo"}, http.StatusOK),
		emil.form(emil.Visit("/my"), "/cancel", nil, http.StatusSeeOther),
	}
}

func TestForgedFormsChangeNothing(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	forms := everyForm(w)
	stranger := w.signedIn("mallory")
	_, foreign := stranger.Get(prefix).Form("/enable")

	forgeries := []struct {
		name string
		edit func(r *http.Request, fields url.Values)
		want int
	}{
		{"without a token", func(_ *http.Request, f url.Values) { f.Del("csrf_token") }, 403},
		{"with an empty token", func(_ *http.Request, f url.Values) { f.Set("csrf_token", "") }, 403},
		{"with another user's token", func(_ *http.Request, f url.Values) { f.Set("csrf_token", foreign.Get("csrf_token")) }, 403},
		{"with the token in the address", func(r *http.Request, f url.Values) {
			r.URL.RawQuery = url.Values{"csrf_token": {f.Get("csrf_token")}}.Encode()
			f.Del("csrf_token")
		}, 403},
		{"from a foreign origin", func(r *http.Request, _ url.Values) {
			r.Header.Del("Sec-Fetch-Site")
			r.Header.Set("Origin", "https://evil.example")
		}, 403},
		{"from the same host at another port", func(r *http.Request, _ url.Values) {
			r.Header.Del("Sec-Fetch-Site")
			r.Header.Set("Origin", "http://127.0.0.1:1")
		}, 403},
		{"from an opaque origin", func(r *http.Request, _ url.Values) {
			r.Header.Del("Sec-Fetch-Site")
			r.Header.Set("Origin", "null")
		}, 403},
		{"marked cross-site", func(r *http.Request, _ url.Values) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403},
		{"marked same-site", func(r *http.Request, _ url.Values) { r.Header.Set("Sec-Fetch-Site", "same-site") }, 403},
		{"as a link", func(r *http.Request, f url.Values) {
			r.URL.RawQuery, r.Method = f.Encode(), http.MethodGet
		}, 405},
		{"as another method", func(r *http.Request, _ url.Values) { r.Method = http.MethodPut }, 405},
		{"as another method in a header", func(r *http.Request, _ url.Values) {
			r.Header.Set("X-HTTP-Method-Override", "POST")
			r.Method = http.MethodDelete
		}, 405},
	}
	for _, f := range forms {
		before := f.p.status()
		session := f.p.Cookie("session")
		for _, forgery := range forgeries {
			want := forgery.want
			if f.name == "/challenge" && forgery.name == "as a link" {
				want = http.StatusOK // the page that asks for the code
			}
			got := f.p.send(f, forgery.edit)
			if got.Status != want || got.Secret() != "" || len(got.Codes()) > 0 {
				t.Errorf("%s %s: %d", f.name, forgery.name, got.Status)
			}
		}
		for _, other := range f.others {
			got := f.p.send(f, func(_ *http.Request, fields url.Values) { fields.Set("csrf_token", other) })
			if got.Status != http.StatusForbidden {
				t.Errorf("%s with the token of another form: %d", f.name, got.Status)
			}
		}
		if len(f.others) == 0 {
			t.Errorf("%s was not tried with the token of another form", f.name)
		}
		if diff := cmp.Diff(before, f.p.status()); diff != "" || f.p.Cookie("session") != session || !w.office.knows(session) {
			t.Errorf("%s: a forged form changed something: %s", f.name, diff)
		}
	}
	for _, f := range forms {
		if got := f.p.send(f, func(*http.Request, url.Values) {}); got.Status != f.want {
			t.Errorf("%s as it was meant: %d, want %d:\n%s", f.name, got.Status, f.want, got.Body)
		}
	}
}

// send sends a form after an edit of the request and of its fields.
func (p *person) send(f form, edit func(*http.Request, url.Values)) *stack.Page {
	p.w.t.Helper()
	fields := url.Values{}
	for name := range f.fields {
		fields.Set(name, f.fields.Get(name))
	}
	r := p.Request(http.MethodPost, f.target, http.NoBody)
	r.Header.Set("Origin", p.Base)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	edit(r, fields)
	body := p.Request(r.Method, f.target, strings.NewReader(fields.Encode()))
	body.Header, body.URL = r.Header, r.URL
	return p.Do(body)
}

// A client that is no browser says neither where it comes from nor what it does;
// the token alone decides.
func TestFormOfAClientThatIsNoBrowser(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	p := w.signedIn("alice")
	f := p.form(p.Get(prefix), "/enable", nil, http.StatusOK)
	got := p.send(f, func(r *http.Request, _ url.Values) {
		r.Header = http.Header{"Content-Type": r.Header["Content-Type"]}
	})
	wantStatus(t, got, http.StatusOK)
}

// What the app allows of other origins is the app's business.
func TestCrossOriginRequestsOfTheAppPass(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	p := w.signedIn("alice")
	r := p.Request(http.MethodPost, "/api/hooks", strings.NewReader("x=1"))
	r.Header.Set("Origin", "https://partner.example")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	wantStatus(t, p.Do(r), http.StatusOK)
	if seen := w.office.requests(); seen[len(seen)-1].Header.Get("Origin") != "https://partner.example" {
		t.Errorf("the app saw %+v", seen)
	}
}
