package server_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/sidecar/server"
)

// However a request ends, whoever waits for its end learns of it, and each of them once.
func TestWhoWaitsForTheEndOfARequestLearnsOfIt(t *testing.T) {
	for name, end := range map[string]func(hangUp, done func(), r *http.Request){
		"the client hangs up": func(hangUp, _ func(), _ *http.Request) { hangUp() },
		"it is cut":           func(_, _ func(), r *http.Request) { server.CutRequest(r) },
		"it is over":          func(_, done func(), _ *http.Request) { done() },
		"all at once": func(hangUp, done func(), r *http.Request) {
			go hangUp()
			go server.CutRequest(r)
			done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, hangUp := context.WithCancel(t.Context())
				defer hangUp()
				in, err := http.NewRequestWithContext(client, http.MethodGet, "/", http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				r, done := server.BeginRequest(in, nil)
				defer done()
				ctx := r.Context()
				question, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("too slow"))
				defer cancel()
				calls := make(chan string, 10)
				calling := func(who string) func() { return func() { calls <- who } }
				own := ctx.(interface{ AfterFunc(f func()) func() bool })
				stop := own.AfterFunc(calling("itself"))
				stopGeneral := context.AfterFunc(ctx, calling("package context"))
				if gone := own.AfterFunc(calling("who went")); !gone() || gone() {
					t.Error("who went could not go, or twice")
				}

				synctest.Wait()
				select {
				case <-ctx.Done():
					t.Fatal("it has ended")
				case who := <-calls:
					t.Fatalf("%s was called before the end", who)
				default:
				}
				if ctx.Err() != nil || question.Err() != nil {
					t.Fatalf("it has ended: %v, %v", ctx.Err(), question.Err())
				}

				end(hangUp, done, r)
				<-ctx.Done()
				<-question.Done()
				synctest.Wait()
				for of, err := range map[string]error{
					"the request": ctx.Err(), "the question": question.Err(), "the cause": context.Cause(ctx), "the question's": context.Cause(question),
				} {
					if !errors.Is(err, context.Canceled) {
						t.Errorf("%s ended with %v", of, err)
					}
				}
				if stop() || stopGeneral() {
					t.Error("who was called could still go")
				}
				own.AfterFunc(calling("who came late"))
				context.AfterFunc(ctx, calling("who came late"))
				synctest.Wait()
				close(calls)
				called := map[string]int{}
				for who := range calls {
					called[who]++
				}
				if len(called) != 3 || called["itself"] != 1 || called["package context"] != 1 || called["who came late"] != 2 {
					t.Errorf("called were %v", called)
				}
			})
		})
	}
}
