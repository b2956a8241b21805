package server_test

import (
	"testing"
	"time"

	"github.com/sallyport/sallyport/sidecar/authz"
	"github.com/sallyport/sallyport/sidecar/server"
	"github.com/sallyport/sallyport/test/stack"
)

// What it costs to decide about a verified user whom the app and the store spoke of a
// moment ago: most requests are such.
func BenchmarkDecide(b *testing.B) {
	now := time.Now()
	w := stack.Prepare(b, stack.Options{Clock: func() time.Time { return now }})
	var options server.Options
	w.WaitReady(w.AddSidecar(func(o *server.Options) { options = *o }))
	browser := w.NewBrowser()
	browser.SignIn("alice", "alice-demo")
	pending := browser.Submit(browser.Visit(prefix), "/enable", nil)
	browser.Submit(pending, "/confirm", map[string]string{"code": codeAt(b, pending.Secret(), now)})

	s, err := server.New(options)
	if err != nil {
		b.Fatal(err)
	}
	r := browser.Request("GET", "/my?tab=1", nil)
	r.RequestURI, r.RemoteAddr = r.URL.RequestURI(), "192.0.2.1:1234"
	r.Header.Set("Cookie", "theme=dark; session="+browser.Cookie("session")+
		"; sallyport="+browser.Cookie("sallyport")+"; _ga=GA1.1.1234567890.1234567890")
	decide := s.Decider(b.Context(), b, r)
	b.ReportAllocs()
	for b.Loop() {
		if decision, err := decide(); decision != authz.Allow || err != nil {
			b.Fatalf("%s, %v", decision, err)
		}
	}
}
