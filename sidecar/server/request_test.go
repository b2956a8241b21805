package server_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
	"github.com/sallyport/sallyport/sidecar/server"
	"github.com/sallyport/sallyport/test/stack"
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

// A client that has closed its half of the connection, which ends the request, may read on.
// What it reads must not be an answer that says nothing: that is a 200, which a cache may
// keep.
//
// Now and then the sidecar has noticed before that Redis does not answer, and says so: that
// is a refusal too, and proves nothing.
func TestWhoClosesHalfOfAConnectionReadsARefusal(t *testing.T) {
	t.Parallel()
	for range 5 {
		if closesHalf(t) {
			return
		}
	}
	t.Error("whoever closed half of a connection was told of Redis each time")
}

// closesHalf reports whether it was the closing that was answered.
func closesHalf(t *testing.T) bool {
	t.Helper()
	store := redistest.Server(t, "--save", "")
	link := newLink(t, store.Addr)
	client := redis.NewClient(&redis.Options{Addr: link.addr, PoolSize: 1, PoolTimeout: time.Hour})
	t.Cleanup(func() { _ = client.Close() })
	w := prepareOffice(t, stack.Options{RedisURL: "redis://" + store.Addr, Policy: headersPolicy(map[string]any{
		"trustedProxies": []string{"127.0.0.0/8"}, "signIn": "X-Forwarded-Sid",
	})})
	s := w.another(func(o *server.Options) { o.Redis = client })

	// Alice has the one connection to Redis, on which no answer comes.
	asked, answer := make(chan struct{}), make(chan struct{})
	nowAsked := sync.OnceFunc(func() { close(asked) })
	t.Cleanup(func() { close(answer) })
	link.set(linkMode{answer: func(request []byte) []byte {
		if asksForUser(request) {
			nowAsked()
			<-answer
		}
		return nil
	}})
	ask := func(user string) *net.TCPConn {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		request := "GET /my HTTP/1.1\r\nHost: portal.example\r\nX-Forwarded-User: " + user + "\r\nX-Forwarded-Sid: 1\r\n\r\n"
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		return conn.(*net.TCPConn)
	}
	ask("alice")
	<-asked

	bob := ask("bob")
	if err := bob.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(bob), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if got := response.Header.Get("Cache-Control"); response.StatusCode != http.StatusServiceUnavailable || got != "no-store" {
		t.Errorf("%s with Cache-Control %q, want 503 and no-store", response.Status, got)
	}
	return response.ContentLength == 0
}
