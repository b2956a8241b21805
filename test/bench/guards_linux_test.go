package bench_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/test/bench/figures"
)

// What keeps a figure from being of something else than it says.

func TestAnAnswerIsThePageOrAFailure(t *testing.T) {
	t.Parallel()
	const page = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX: y\r\n\r\npage"
	for _, tt := range []struct {
		name, answer string
		pieces       int
		fails        string // "" if it is the page
	}{
		{"the page", page, 1, ""},
		{"the page in pieces", page, len(page), ""},
		{"a challenge", "HTTP/1.1 303 See Other\r\nContent-Length: 0\r\n\r\n", 1, "not the page"},
		{"a refusal", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\npage", 1, "not the page"},
		{"an answer of no known length", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npage\r\n0\r\n\r\n", 1, "without Content-Length"},
		{"a length that is none", "HTTP/1.1 200 OK\r\nContent-Length: four\r\n\r\npage", 1, "four"},
		{"a length below nothing", "HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\n", 1, "-4"},
		{"more than the page", page + "HTTP/1.1 200 OK\r\n", 1, "more came"},
		{"half a page", page[:len(page)-2], 1, "EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ours, theirs := net.Pipe()
			defer ours.Close()
			go func() {
				defer theirs.Close()
				request := make([]byte, len("request"))
				_, _ = theirs.Read(request)
				size := len(tt.answer) / tt.pieces
				for at := 0; at < len(tt.answer); at += size {
					_, _ = theirs.Write([]byte(tt.answer[at:min(at+size, len(tt.answer))]))
				}
			}()
			c := &client{conn: ours, request: []byte("request"), buffer: make([]byte, answerBuffer)}
			err := c.exchange()
			if tt.fails == "" && err != nil {
				t.Errorf("exchange: %v", err)
			}
			if tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)) {
				t.Errorf("exchange: %v, want an error that says %q", err, tt.fails)
			}
		})
	}
}

func TestFiguresAgreeWithWhatTheAppSaw(t *testing.T) {
	t.Parallel()
	door, plain := contender{verified: true}, contender{}
	before := counters{Pages: 100, Verified: 50}
	for _, tt := range []struct {
		name  string
		c     contender
		asked int
		after counters
		fails bool
	}{
		{"verified, and the app was told so", door, 10, counters{Pages: 110, Verified: 60}, false},
		{"verified, and the app was told so of some", door, 10, counters{Pages: 110, Verified: 59}, true},
		{"nobody, and the app was told so", plain, 10, counters{Pages: 110, Verified: 50}, false},
		{"nobody, and the app was told of somebody", plain, 10, counters{Pages: 110, Verified: 51}, true},
		{"answers that are not the app's", plain, 10, counters{Pages: 109, Verified: 50}, true},
		{"no answer", plain, 0, before, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := agrees(tt.c, sample{requests: tt.asked, elapsed: time.Second}, before, tt.after)
			if (err != nil) != tt.fails {
				t.Errorf("agrees: %v, want a failure: %v", err, tt.fails)
			}
		})
	}
}

func TestADownloadIsWholeOrAFailure(t *testing.T) {
	t.Parallel()
	for body, whole := range map[int]bool{1 << 20: true, 1<<20 - 1: false, 1<<20 + 1: false} {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			_, _ = theirs.Read(make([]byte, 100))
			_, _ = fmt.Fprintf(theirs, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", 1<<20, strings.Repeat("a", body))
		}()
		speed, err := download(ours, []byte("request"), make([]byte, 64<<10))
		if whole && (err != nil || speed <= 0) {
			t.Errorf("the whole file: %f, %v", speed, err)
		}
		if !whole && err == nil {
			t.Errorf("%d bytes in place of %d have a speed: %f", body, 1<<20, speed)
		}
		_ = ours.Close()
	}
}

// To a child of its own, this test is a foreign process that works.
func TestForeignWorkIsSeenOnThisMachine(t *testing.T) {
	t.Parallel()
	const work = 10 // clock ticks
	child := exec.CommandContext(t.Context(), "cat")
	hold, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hold.Close(); _ = child.Wait() }()
	b, us := &bench{T: t}, os.Getpid()
	before := b.snapshot()
	after := before
	for begin := time.Now(); after[us].Own-before[us].Own < work; after = b.snapshot() {
		if time.Since(begin) > patience {
			t.Fatalf("this process has used %d ticks in %s", after[us].Own-before[us].Own, patience)
		}
	}
	if got := figures.Foreign(before, after, child.Process.Pid); got < work {
		t.Errorf("a foreign process used %d ticks, and %d were seen", work, got)
	}
	if !after.Tree(us)[child.Process.Pid] {
		t.Error("a child is not among ours")
	}
}
