package server_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
	"github.com/sallyport/sallyport/test/stack"
)

// An attempt counts from before it is judged, whoever sends it, wherever, however
// often, and whether or not anybody waits for the answer.

// wrong is how many codes the sidecars have found wrong.
func (w *world) wrong(factor string) float64 {
	var all float64
	for _, s := range w.Sidecars {
		all += s.Metric(w.t, `sallyport_verifications_total{factor="`+factor+`",result="wrong"}`)
	}
	return all
}

// Not parallel: it keeps the machine so busy that the app would answer others late.
func TestGuessingFromEverywhereAtOnce(t *testing.T) {
	for factor, field := range map[string]string{"totp": "code", "recovery": "recovery_code"} {
		t.Run(factor, func(t *testing.T) {
			const clients, each = 20, 25
			redis := redistest.Server(t)
			w := startOffice(t, stack.Options{Sidecars: 3, RedisURL: "redis://" + redis.Addr})
			alice := w.enrolled("alice")
			before := keysIn(t, redis, "*}:f")
			guess := alice.wrongCode()
			if factor == "recovery" {
				guess = "AAAA-AAAA"
			}
			var mu sync.Mutex
			answers := map[int]int{}
			begun := time.Now()
			var all sync.WaitGroup
			for i := range clients {
				p := alice.again() // a password sign-in of its own
				p.Base = w.Sidecars[i%len(w.Sidecars)].URL
				f := p.form(p.Get(prefix+"/challenge"), "/challenge", map[string]string{field: guess}, 0)
				all.Go(func() {
					for n := range each {
						got := p.send(f, func(r *http.Request, _ url.Values) {
							r.Header.Set("X-Forwarded-For", fmt.Sprintf("203.0.113.%d", (i*each+n)%50))
						})
						mu.Lock()
						answers[got.Status]++
						mu.Unlock()
					}
				})
			}
			all.Wait()
			free := 5
			if time.Since(begun) > 30*time.Second { // the first wait was over: a slow machine
				free++
			}
			judged := answers[http.StatusUnprocessableEntity]
			if judged < 5 || judged > free || answers[http.StatusTooManyRequests] != clients*each-judged {
				t.Errorf("of %d guesses, answers by status: %v", clients*each, answers)
			}
			if got := w.wrong(factor); got != float64(judged) {
				t.Errorf("%v codes were compared, %d are told of as wrong", got, judged)
			}
			counters := keysIn(t, redis, "*}:f")
			if len(counters) != 1 || len(before) > 0 {
				t.Fatalf("counters of %q, before of %q", counters, before)
			}
			if n := redis.Client().HGet(t.Context(), counters[0], factor+":n").Val(); n != strconv.Itoa(judged) {
				t.Errorf("%s attempts are counted, %d were judged", n, judged)
			}
		})
	}
}

func keysIn(t *testing.T, redis *redistest.Node, pattern string) []string {
	t.Helper()
	keys, err := redis.Client().Keys(t.Context(), pattern).Result()
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// A spent code is spent in every spelling.
func TestSpentCodeInOtherSpellings(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	code := alice.code()
	wantLocation(t, alice.again().try("code", code), "/")
	wide := strings.Map(func(c rune) rune { return c - '0' + '０' }, code)
	for _, again := range []string{" " + code, code[:3] + " " + code[3:], code + "  ", wide} {
		p := alice.again()
		wantStatus(t, p.try("code", again), http.StatusUnprocessableEntity)
		p.wantPasses(false, "with "+strconv.Quote(again))
	}
}

// Whoever hangs up right after sending a code has used up the attempt.
func TestHangingUpDoesNotSaveTheAttempt(t *testing.T) {
	t.Parallel()
	const often = 50 // in a row switch the factor off
	w := startOffice(t, stack.Options{})
	var alice *person
	of := keyWith(t, w.keysOf(func() { alice = w.enrolled("alice") }), "}:u")
	p := alice.again()
	_, fields := p.Visit("/my").Form("/challenge")
	fields.Set("code", p.wrongCode())
	body := fields.Encode()
	at, err := url.Parse(w.URL())
	if err != nil {
		t.Fatal(err)
	}
	request := strings.Join([]string{
		"POST " + prefix + "/challenge HTTP/1.1", "Host: " + at.Host, p.credentials(),
		"Content-Type: application/x-www-form-urlencoded", "Content-Length: " + strconv.Itoa(len(body)), "", body,
	}, "\r\n")
	for i := range often {
		w.Redis.SetTime(time.Now().Add(time.Duration(i) * 2 * time.Hour)) // past every wait
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", at.Host)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.WriteString(conn, request)
		_ = conn.Close()
		if err != nil {
			t.Fatal(err)
		}
		w.Eventually("the attempt is counted", func() bool { return w.wrong("totp") == float64(i+1) })
	}
	if n := w.Redis.HGet(strings.TrimSuffix(of, "u")+"f", "totp:n"); n != strconv.Itoa(often) {
		t.Errorf("%s attempts are counted of %d", n, often)
	}
	w.Redis.SetTime(time.Now().Add(often * 2 * time.Hour))
	p.Submit(p.Get(prefix+"/challenge"), "/challenge", map[string]string{"code": p.code()})
	p.wantPasses(false, "with a right code after as many wrong ones")
}
