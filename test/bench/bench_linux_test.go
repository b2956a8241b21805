package bench_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
	"github.com/sallyport/sallyport/test/bench/figures"
)

var (
	rounds   = flag.Int("rounds", 0, "how many undisturbed rounds are measured; 0 measures nothing")
	duration = flag.Duration("duration", 10*time.Second, "how long a contender is under load in a round, at 16 connections")
	people   = flag.Int("people", 200, "how many people pass the challenge with a code; a tenth as many with a recovery code")
	programs = flag.String("programs", "", "folder of the programs that are measured: sidecar, app, bare")
	foreign  = flag.Float64("foreign", 0.05, "share of a core that other processes may use before a round counts as disturbed")
	profile  = flag.String("profile", "", "folder for profiles of the sidecar; nothing is measured then")
	rival    = flag.String("oauth2-proxy", "", "program of oauth2-proxy, to compare with; \"\" for a run without it")
	version  = flag.String("version", "unknown", "what is measured, for the report")
)

// patience bounds every wait for a program to do what it must.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	if settings := os.Getenv(profiledSettings); settings != "" {
		if err := serveProfiled(context.Background(), settings); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// bench is one run.
type bench struct {
	*testing.T

	begin   time.Time
	machine machine
	dir     string
	redis   *redis.Client
	// redisPID is the server's process.
	redisPID int
	redisURL string
	app      *program
	bare     *program
	nginx    *program // nil where there is none
	// rival is oauth2-proxy, nil in a run without it.
	rival *program
	door  *sidecar
	// noNginx is why there is none.
	noNginx string
	// alice passed the challenge: her cookies are verified.
	alice *person
	// rivalCookie is of somebody whom oauth2-proxy has signed in.
	rivalCookie string
}

func TestBench(t *testing.T) {
	if *rounds == 0 && *profile == "" {
		t.Skip("a benchmark: make bench")
	}
	b := &bench{T: t, begin: time.Now(), dir: t.TempDir()}
	b.prepare()
	if *profile != "" {
		b.profile(*profile)
		return
	}
	gathered := b.rounds()
	others := b.watchOthers()
	footprint := b.footprint()
	challenges := b.challenges()
	b.print(report{
		machine: b.machine, nginx: b.noNginx, gathered: gathered, footprint: footprint, challenges: challenges, others: others(),
	})
}

// prepare starts everything and takes alice through the pages.
func (b *bench) prepare() {
	b.machine = b.lookAround()
	b.say("%s", b.machine.description)
	b.pinSelf()
	node := redistest.Server(b)
	b.redisURL = "redis://" + node.Addr
	b.redis = node.Client()
	b.redisPID = b.number(b.info("server"), "process_id")
	b.machine.redis = b.field(b.info("server"), "redis_version")
	b.app = b.startApp()
	b.bare = b.startBare()
	b.nginx = b.startNginx()
	b.startRival()
	b.writePolicy()
	b.door = b.startSidecar()
	b.alice = b.newPerson("alice")
	b.alice.enrol(b.door)
	b.alice.pass(b.door)
	b.say("somebody is signed in, enrolled, and through the challenge")
}

// say prints how far the run is.
func (b *bench) say(format string, args ...any) {
	fmt.Printf("%6.1fs  %s\n", time.Since(b.begin).Seconds(), fmt.Sprintf(format, args...)) //nolint:forbidigo // progress
}

func (b *bench) must(doing string, err error) {
	b.Helper()
	if err != nil {
		b.Fatalf("%s: %v", doing, err)
	}
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) info(section string) string {
	b.Helper()
	text, err := b.redis.Info(b.Context(), section).Result()
	b.must("ask Redis", err)
	return text
}

// field is a value of Redis' INFO.
func (b *bench) field(info, name string) string {
	b.Helper()
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	b.Fatalf("Redis tells no %s; it must be Redis 7 or newer", name)
	return ""
}

func (b *bench) number(info, name string) int {
	b.Helper()
	var n int
	_, err := fmt.Sscan(b.field(info, name), &n)
	b.must("read Redis' "+name, err)
	return n
}

// commands that Redis has carried out so far.
func (b *bench) commands() int64 {
	b.Helper()
	n, err := figures.Commands(b.info("commandstats"))
	b.must("ask Redis", err)
	return n
}

// trips are how often Redis has read from a connection so far. Commands that arrive
// together are one.
func (b *bench) trips() int {
	b.Helper()
	return b.number(b.info("stats"), "total_reads_processed")
}

// rest lets what was begun settle. It is part of what is measured: an idle process.
func (b *bench) rest(d time.Duration) {
	runtime.GC() // ours, now and not in the middle of a measurement
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-b.Context().Done():
	}
}
