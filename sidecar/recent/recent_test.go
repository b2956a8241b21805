package recent_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/sallyport/sallyport/sidecar/recent"
	"github.com/sallyport/sallyport/test/await"
)

const lifetime = 4 * time.Second

// source answers questions, counts them, and can be held up.
type source struct {
	t     *testing.T
	cache *recent.Cache[string]

	mu     sync.Mutex
	now    time.Time
	asked  int
	answer string
	keep   bool
	err    error
	gate   chan struct{} // nil lets through
}

func newSource(t *testing.T, size int) *source {
	t.Helper()
	s := &source{t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), answer: "alice", keep: true}
	var err error
	if s.cache, err = recent.New[string](lifetime, size, s.clock); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *source) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *source) move(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// says sets the answer from now on.
func (s *source) says(answer string, keep bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer, s.keep, s.err = answer, keep, err
}

// holds makes whoever asks wait until the returned function is called.
func (s *source) holds() (release func()) {
	gate := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate = gate
	return func() {
		s.mu.Lock()
		s.gate = nil
		s.mu.Unlock()
		close(gate)
	}
}

func (s *source) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *source) ask(context.Context) (string, bool, error) {
	s.mu.Lock()
	s.asked++
	gate, answer, keep, err := s.gate, s.answer, s.keep, s.err
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
	return answer, keep, err
}

func (s *source) get(owner string) (string, error) {
	return s.cache.Get(s.t.Context(), recent.Key{Owner: owner}, func() recent.Ask[string] { return s.ask })
}

// want gets an answer, and demands that so many were asked for until then.
func (s *source) want(answer string, asked int) {
	s.t.Helper()
	got, err := s.get("alice")
	if err != nil || got != answer {
		s.t.Fatalf("got %q, %v, want %q", got, err, answer)
	}
	if n := s.count(); n != asked {
		s.t.Fatalf("%d questions so far, want %d", n, asked)
	}
}

func (s *source) awaitAsked(n int) {
	s.t.Helper()
	await.Until(s.t, time.Minute, "it is asked meanwhile", func(context.Context) error {
		if got := s.count(); got != n {
			return fmt.Errorf("%d questions so far, want %d", got, n)
		}
		return nil
	})
}

func TestAnAnswerIsGoodForItsLifetime(t *testing.T) {
	s := newSource(t, 10)
	s.want("alice", 1)
	s.says("bob", true, nil)
	s.move(lifetime / 2)
	s.want("alice", 1)
	s.move(lifetime / 2)
	s.want("bob", 2)
}

func TestWhatMayNotBeKeptIsAskedForEachTime(t *testing.T) {
	s := newSource(t, 10)
	s.says("nobody", false, nil)
	s.want("nobody", 1)
	s.want("nobody", 2)
	s.says("", true, errors.New("away"))
	if _, err := s.get("alice"); err == nil {
		t.Fatal("a failure was no error")
	}
	s.says("alice", true, nil)
	s.want("alice", 4)
}

func TestPastHalfOfItNobodyWaits(t *testing.T) {
	s := newSource(t, 10)
	s.want("alice", 1)
	s.move(lifetime/2 + 1)
	s.says("bob", true, nil)
	release := s.holds()
	s.stays() // although the source does not answer
	s.awaitAsked(2)
	s.want("alice", 2) // and it is asked once
	release()
	s.awaitAnswer("bob")
	s.move(lifetime - 1)
	if got, _ := s.get("alice"); got != "bob" {
		t.Errorf("got %q: the new answer has not its own lifetime", got)
	}
}

func (s *source) awaitAnswer(answer string) {
	s.t.Helper()
	await.Until(s.t, time.Minute, "the new answer counts", func(context.Context) error {
		if got, err := s.get("alice"); err != nil || got != answer {
			return fmt.Errorf("got %q, %w", got, err)
		}
		return nil
	})
}

// stays gets the first answer, whatever is asked meanwhile.
func (s *source) stays() {
	s.t.Helper()
	if got, err := s.get("alice"); err != nil || got != "alice" {
		s.t.Fatalf("got %q, %v, want the first answer", got, err)
	}
}

func TestAnAnswerIsTakenBack(t *testing.T) {
	s := newSource(t, 10)
	s.want("alice", 1)
	s.move(lifetime/2 + 1)
	s.says("nobody", false, nil)
	s.stays()
	s.awaitAnswer("nobody")
}

func TestAFailureLeavesTheAnswerForTheRestOfItsLifetime(t *testing.T) {
	s := newSource(t, 10)
	s.want("alice", 1)
	s.move(lifetime/2 + 1)
	s.says("", true, errors.New("away"))
	s.stays()
	s.awaitAsked(2)
	s.move(lifetime/2 - 2)
	s.stays()
	s.move(1)
	if got, err := s.get("alice"); err == nil {
		t.Errorf("got %q past its lifetime", got)
	}
}

func TestForgetting(t *testing.T) {
	s := newSource(t, 10)
	s.want("alice", 1)
	s.cache.Forget("alice")
	s.says("bob", true, nil)
	s.want("bob", 2)
}

// What was asked for before it was forgotten may be of before: it does not count after.
func TestForgettingWhatIsBeingAskedFor(t *testing.T) {
	s := newSource(t, 10)
	release := s.holds()
	done := make(chan string)
	go func() {
		got, _ := s.get("alice")
		done <- got
	}()
	s.awaitAsked(1)
	s.cache.Forget("alice")
	s.says("bob", true, nil)
	release()
	if got := <-done; got != "alice" {
		t.Fatalf("got %q", got)
	}
	s.want("bob", 2)
}

func TestAClockThatGoesBackProlongsNothing(t *testing.T) {
	s := newSource(t, 10)
	s.want("alice", 1)
	s.move(-time.Hour)
	s.want("alice", 2)
}

func TestItIsBounded(t *testing.T) {
	s := newSource(t, 2)
	for _, owner := range []string{"a", "b", "c", "a"} {
		if _, err := s.get(owner); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.count(); n != 4 {
		t.Errorf("%d questions, want 4: more than two answers were remembered", n)
	}
}

// A sidecar runs for months, and people come and go.
func TestWhatIsTooOldToBeUsedIsNotHeld(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	cache, err := recent.New[*[64]byte](lifetime, 1000, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	get := func(owner string) weak.Pointer[[64]byte] {
		answer, err := cache.Get(t.Context(), recent.Key{Owner: owner}, func() recent.Ask[*[64]byte] {
			return func(context.Context) (*[64]byte, bool, error) {
				asked++
				return new([64]byte), true, nil
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return weak.Make(answer)
	}
	held := func(answers []weak.Pointer[[64]byte]) (n int) {
		runtime.GC()
		for _, answer := range answers {
			if answer.Value() != nil {
				n++
			}
		}
		return n
	}

	var old, young []weak.Pointer[[64]byte]
	for i := range 100 {
		old = append(old, get(fmt.Sprint("old ", i)))
	}
	now = now.Add(lifetime - 1)
	for i := range 100 {
		young = append(young, get(fmt.Sprint("young ", i)))
	}
	if n := held(old); n != 100 {
		t.Fatalf("%d of 100 are held that are still good", n)
	}
	now = now.Add(1)
	get("somebody")
	if n := held(old); n != 0 {
		t.Errorf("%d of 100 are held that nobody can be given", n)
	}
	if n := held(young); n != 100 {
		t.Errorf("%d of 100 are held that are still good", n)
	}
	get("young 1")
	if asked != 201 {
		t.Errorf("%d questions, want 201", asked)
	}
	runtime.KeepAlive(cache)
}
