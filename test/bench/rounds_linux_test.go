package bench_test

import (
	"fmt"
	"math"
	"time"

	"github.com/sallyport/sallyport/test/bench/figures"
)

// contender is one way for a request to the app.
type contender struct {
	name    string
	addr    string
	request []byte
	// proxy that is in the way, nil for none.
	proxy *program
	// verified: the app must be told so, of each request.
	verified bool
}

// The contenders' names, as the tables have them.
const (
	direct    = "app directly"
	bareGo    = "bare Go proxy"
	verified  = "sidecar, verified user"
	anonymous = "sidecar, nobody signed in"
	nginx     = "nginx, plain proxy"
	oauth2    = "oauth2-proxy, signed-in user"
)

// load is how a contender is put under load.
type load struct {
	name        string
	connections int
	// share of -duration.
	share float64
	// oneCore moves the proxy to where client and app are: the length of the path,
	// without wake-ups from core to core.
	oneCore bool
}

const (
	many    = "16 connections"
	one     = "1 connection"
	oneCore = "1 connection, all on one core"
)

func (b *bench) loads() []load {
	all := []load{{many, 16, 1, false}, {one, 1, 0.5, false}}
	if b.machine.pinned {
		all = append(all, load{oneCore, 1, 0.5, true})
	}
	return all
}

func (b *bench) contenders() []contender {
	known := get("/page", b.alice.cookies())
	all := []contender{
		{name: direct, addr: b.app.addr, request: known},
		{name: bareGo, addr: b.bare.addr, request: known, proxy: b.bare},
		{name: verified, addr: b.door.addr, request: known, proxy: b.door.program, verified: true},
		{name: anonymous, addr: b.door.addr, request: get("/page", ""), proxy: b.door.program},
	}
	if b.nginx != nil {
		all = append(all, contender{name: nginx, addr: b.nginx.addr, request: known, proxy: b.nginx})
	}
	if b.rival != nil {
		all = append(all, contender{name: oauth2, addr: b.rival.addr, request: get("/page", b.rivalCookie), proxy: b.rival})
	}
	return all
}

// measurement is one contender under one load in one round. The last five are per 10,000
// requests.
type measurement struct {
	rate, p50, p99 float64 // requests per second, microseconds
	rss            float64 // MiB, right after
	cpu, redisCPU  float64 // seconds
	commands       float64 // of Redis, those that a script calls too
	trips          float64 // to Redis: what it read from a connection at once
	asked          float64 // the app, who somebody is
}

// round is what was measured in one: by load, by contender.
type round map[string]map[string]measurement

// rounds measures all contenders under all loads, as often as asked for.
func (b *bench) rounds() figures.Gathered[round] {
	b.Helper()
	contenders, loads := b.contenders(), b.loads()
	gathered, err := figures.Gather(*rounds, *rounds, func(n int) (round, bool, error) {
		b.say("round %d", n+1)
		others := b.watchOthers()
		r := make(round)
		for _, l := range loads {
			r[l.name] = make(map[string]measurement)
			for _, i := range figures.Order(len(contenders), n) {
				m, err := b.measure(contenders[i], l)
				if err != nil {
					return nil, false, fmt.Errorf("%s, %s: %w", contenders[i].name, l.name, err)
				}
				r[l.name][contenders[i].name] = m
			}
		}
		share := others()
		disturbed := share > *foreign
		if disturbed {
			b.say("disturbed: others used %.0f %% of a core (more than %.0f %%)", 100*share, 100**foreign)
		}
		return r, disturbed, nil
	})
	b.must("measure", err)
	return gathered
}

// measure puts one contender under load.
func (b *bench) measure(c contender, l load) (measurement, error) {
	b.Helper()
	if l.oneCore && c.proxy != nil {
		b.pinTree(c.proxy.pid, b.machine.other)
		defer b.pinTree(c.proxy.pid, b.machine.proxies)
	}
	clients, err := dial(b.Context(), c.addr, l.connections, c.request)
	if err != nil {
		return measurement{}, err
	}
	defer hangUp(clients)
	lasting := time.Duration(float64(*duration) * l.share)
	if _, err := run(clients, min(lasting/5, time.Second)); err != nil { // to warm up
		return measurement{}, err
	}
	counted, commands, trips, before := b.counters(), b.commands(), b.trips(), b.snapshot()
	s, err := run(clients, lasting)
	if err != nil {
		return measurement{}, err
	}
	after := b.snapshot()
	trips = b.trips() - trips - 1 // this question is one
	commands, now := b.commands()-commands, b.counters()
	if err := agrees(c, s, counted, now); err != nil {
		return measurement{}, err
	}
	per := 10_000 / float64(s.requests)
	m := measurement{
		rate: float64(s.requests) / s.elapsed.Seconds(),
		p50:  micros(figures.Percentile(s.sorted, 0.5)), p99: micros(figures.Percentile(s.sorted, 0.99)),
		rss: math.NaN(), cpu: math.NaN(), redisCPU: math.NaN(), commands: math.NaN(), trips: math.NaN(), asked: math.NaN(),
	}
	if c.proxy != nil {
		m.rss = b.rss(c.proxy)
		m.cpu = float64(after.CPU(c.proxy.pid)-before.CPU(c.proxy.pid)) / ticksPerSecond * per
	}
	if c.proxy == b.door.program {
		m.redisCPU = float64(after.CPU(b.redisPID)-before.CPU(b.redisPID)) / ticksPerSecond * per
		m.commands, m.trips = float64(commands)*per, float64(trips)*per
		m.asked = float64(now.Asked-counted.Asked) * per
	}
	b.say("%-26s %-30s %7.0f req/s, p50 %.0f µs, p99 %.0f µs, CPU-s per 10,000 %s", c.name, l.name, m.rate, m.p50, m.p99,
		figures.Show("%.2f", figures.Summarise([]float64{m.cpu})))
	return m, nil
}

// agrees fails where the app did not see what the contender's figures are said to be of.
func agrees(c contender, s sample, before, after counters) error {
	if s.requests == 0 {
		return fmt.Errorf("no request was answered in %s: give it a longer DURATION", s.elapsed)
	}
	if saw := after.Pages - before.Pages; saw != int64(s.requests) {
		return fmt.Errorf("%d requests were answered, and the app saw %d", s.requests, saw)
	}
	want := int64(0)
	if c.verified {
		want = int64(s.requests)
	}
	if saw := after.Verified - before.Verified; saw != want {
		return fmt.Errorf("of %d requests the app was told of %d that somebody is verified, want %d", s.requests, saw, want)
	}
	return nil
}

func micros(nanoseconds uint32) float64 { return float64(nanoseconds) / 1000 }
