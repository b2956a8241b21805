package bench_test

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/sallyport/sallyport/test/bench/figures"
)

// report is all that a run found.
type report struct {
	machine    machine
	nginx      string // why there is none
	gathered   figures.Gathered[round]
	footprint  map[string]*footprint
	challenges challenges
	// others is the share of a core that they used after the rounds.
	others float64
}

// print writes the Markdown that docs/performance.md holds between these two lines.
func (b *bench) print(r report) {
	fmt.Printf("\n<!-- figures: begin -->\n\n%s\n<!-- figures: end -->\n", r.markdown()) //nolint:forbidigo // what the run is for
}

func (r report) markdown() string {
	return strings.Join([]string{r.conditions(), r.load().Markdown(), r.taken().Markdown(), r.aims().Markdown()}, "\n")
}

// conditions say what the figures are of.
func (r report) conditions() string {
	var out strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	compared := ""
	if r.machine.rival != "" {
		compared = " RIVAL=1"
	}
	say("`make bench ROUNDS=%d DURATION=%s PEOPLE=%d%s`, version %s, %s.", *rounds, *duration, *people, compared, *version, time.Now().UTC().Format(time.DateOnly))
	nginx := "nginx " + r.machine.nginx
	if r.nginx != "" {
		nginx = "no nginx: " + r.nginx
	}
	if r.machine.rival != "" {
		nginx += "; " + r.machine.rival
	}
	say("%s; Redis %s; %s.", r.machine.description, r.machine.redis, nginx)
	if r.machine.pinned {
		say("Proxies on one core; client, app and Redis on another.")
	} else {
		say("Nothing was pinned to a core: %s.", r.machine.unpinned)
	}
	say("Rounds: %d. Each figure is the median, with the least and the most in parentheses; ratios are made within each round.", len(r.gathered.Kept))
	say("Rounds thrown away, since other processes used more than %.0f %% of a core: %d.", 100**foreign, r.gathered.Thrown)
	if name, room := r.room(); room < enoughRoom {
		say("\n**Not to be published**: the app directly is only %.1f × %s, so that client and app limit what is measured.", room, name)
	}
	if n := r.gathered.Disturbed; n > 0 {
		say("\n**Not to be published**: rounds that are disturbed all the same: %d of %d. End what else runs on the machine, and run it again.", n, len(r.gathered.Kept))
	}
	if r.others > *foreign {
		say("\n**Not to be published**: while memory, downloads and challenges were measured, other processes used %.0f %% of a core.", 100*r.others)
	}
	return out.String()
}

// enoughRoom is how far above every proxy client and app must be by themselves.
const enoughRoom = 1.5

// room is how far above the fastest proxy they are.
func (r report) room() (fastest string, room float64) {
	room = math.Inf(1)
	for _, name := range r.contenders()[1:] {
		if above := r.ratio(direct, name, rate).Median; above < room {
			fastest, room = name, above
		}
	}
	return fastest, room
}

// of are one figure's values, round by round.
func (r report) of(load, contender string, figure func(measurement) float64) []float64 {
	var values []float64
	for _, round := range r.gathered.Kept {
		if m, ok := round[load][contender]; ok {
			values = append(values, figure(m))
		}
	}
	return values
}

func rate(m measurement) float64     { return m.rate }
func median(m measurement) float64   { return m.p50 }
func tail(m measurement) float64     { return m.p99 }
func cpu(m measurement) float64      { return m.cpu }
func redisCPU(m measurement) float64 { return m.redisCPU }
func commands(m measurement) float64 { return m.commands }
func trips(m measurement) float64    { return m.trips }
func asked(m measurement) float64    { return m.asked }
func loaded(m measurement) float64   { return m.rss }

// ratio is of the load of many connections.
func (r report) ratio(of, to string, figure func(measurement) float64) figures.Summary {
	return figures.Summarise(figures.Ratios(r.of(many, of, figure), r.of(many, to, figure)))
}

func (r report) added(load, of, from string) figures.Summary {
	return figures.Summarise(figures.Differences(r.of(load, of, median), r.of(load, from, median)))
}

func (r report) contenders() []string {
	all := []string{direct, bareGo, verified, anonymous, nginx}
	if r.machine.rival != "" {
		all = append(all, oauth2)
	}
	return all
}

// load is the table of requests.
func (r report) load() *figures.Table {
	t := figures.NewTable(r.contenders()...)
	for _, c := range r.contenders() {
		set := func(row, format string, s figures.Summary) { t.Set(row, c, figures.Show(format, s)) }
		plain := func(row, load, format string, figure func(measurement) float64) {
			set(row, format, figures.Summarise(r.of(load, c, figure)))
		}
		plain(many+": requests per second", many, "%.0f", rate)
		set("the same × bare Go", "%.2f", r.ratio(c, bareGo, rate))
		set("the same × nginx", "%.2f", r.ratio(c, nginx, rate))
		plain(many+": p50, µs", many, "%.0f", median)
		plain(many+": p99, µs", many, "%.0f", tail)
		plain("proxy: CPU-seconds per 10,000 requests", many, "%.2f", cpu)
		set("the same, × bare Go", "%.2f", r.ratio(c, bareGo, cpu))
		set("the same, × nginx", "%.2f", r.ratio(c, nginx, cpu))
		plain("Redis: CPU-seconds per 10,000 requests", many, "%.2f", redisCPU)
		plain("Redis: round trips per 10,000 requests", many, "%.0f", trips)
		plain("Redis: commands per 10,000 requests, those in scripts too", many, "%.0f", commands)
		plain("identity calls per 10,000 requests", many, "%.1f", asked)
		plain("proxy: RSS under load, MiB", many, "%.0f", loaded)
		plain(one+": requests per second", one, "%.0f", rate)
		plain(one+": p50, µs", one, "%.0f", median)
		plain(one+": p99, µs", one, "%.0f", tail)
		set(one+": p50 over direct, µs", "%.0f", r.added(one, c, direct))
		plain(oneCore+": p50, µs", oneCore, "%.0f", median)
		set(oneCore+": p50 over direct, µs", "%.0f", r.added(oneCore, c, direct))
		set(oneCore+": p50 over bare Go, µs", "%.0f", r.added(oneCore, c, bareGo))
	}
	return t
}

// taken is the table of what a process takes.
func (r report) taken() *figures.Table {
	t := figures.NewTable("sidecar", bareGo, direct)
	for _, c := range []struct{ column, name string }{{"sidecar", verified}, {bareGo, bareGo}, {direct, direct}} {
		f := r.footprint[c.name]
		show := func(row, format string, s figures.Summary) { t.Set(row, c.column, figures.Show(format, s)) }
		set := func(row, format string, values []float64) { show(row, format, figures.Summarise(values)) }
		set("program, MB", "%.1f", f.binary)
		set("start to ready, ms", "%.0f", f.ready)
		set("RSS idle, MiB", "%.1f", f.idle)
		set(heldLabel("keep-alive connections"), "%.1f", f.alive)
		show("of that for each, KiB", "%.1f", each(f.alive, f.idle))
		set(heldLabel("WebSockets"), "%.1f", f.sockets)
		show("of that for each WebSocket, KiB", "%.1f", each(f.sockets, f.idle))
		set("download of 256 MiB, MB/s", "%.0f", f.speed)
		show("download × bare Go", "%.2f", figures.Summarise(figures.Ratios(f.speed, r.footprint[bareGo].speed)))
		set("RSS before the downloads, MiB", "%.1f", f.before)
		set("RSS after the downloads, MiB", "%.1f", f.after)
		set("RSS at most until then, MiB", "%.1f", f.atMost)
	}
	for _, c := range []struct {
		row   string
		times []time.Duration
	}{
		{"challenge, a code to the redirect: p50 / p99, ms", r.challenges.totp},
		{"challenge, a recovery code: p50 / p99, ms", r.challenges.recovery},
	} {
		t.Set(c.row, "sidecar", fmt.Sprintf("%s, of %d people", halfAndMost(c.times), len(c.times)))
	}
	return t
}

// halfAndMost are p50 and p99 in milliseconds.
func halfAndMost(sorted []time.Duration) string {
	if len(sorted) == 0 {
		return "not measured"
	}
	millis := func(q float64) float64 { return float64(figures.Percentile(sorted, q)) / float64(time.Millisecond) }
	return fmt.Sprintf("%.1f / %.1f", millis(0.5), millis(0.99))
}

// aims is the table of what is wanted beside what is reached.
func (r report) aims() *figures.Table {
	t := figures.NewTable("must", "aim", "reached")
	set := func(row, must, aim, reached string) {
		t.Set(row, "must", must)
		t.Set(row, "aim", aim)
		t.Set(row, "reached", reached)
	}
	f, bare := r.footprint[verified], r.footprint[bareGo]
	plain := func(format string, values []float64) string { return figures.Show(format, figures.Summarise(values)) }
	set("verified user: requests per second × bare Go", "≥ 0.95", "≥ 2", figures.Show("%.2f", r.ratio(verified, bareGo, rate)))
	set("the same × nginx", "", "≥ 0.7", figures.Show("%.2f", r.ratio(verified, nginx, rate)))
	if r.machine.rival != "" {
		set("the same × oauth2-proxy", "≥ 4", "≥ 8", figures.Show("%.1f", r.ratio(verified, oauth2, rate)))
	}
	set("CPU per request × bare Go", "≤ 1.05", "", figures.Show("%.2f", r.ratio(verified, bareGo, cpu)))
	set("CPU-seconds per 10,000 requests", "", "≤ 0.6", plain("%.2f", r.of(many, verified, cpu)))
	set("p50 over bare Go, all on one core, µs", "≤ 10", "< 0", figures.Show("%.0f", r.added(oneCore, verified, bareGo)))
	set("p50 over direct, all on one core, µs", "", "≤ 160", figures.Show("%.0f", r.added(oneCore, verified, direct)))
	set("Redis round trips per 10,000 verified requests", "0", "0", plain("%.0f", r.of(many, verified, trips)))
	set("identity calls per 10,000 verified requests", "0", "0", plain("%.1f", r.of(many, verified, asked)))
	set("challenge, p50 / p99, ms", "≤ 3 / 10", "≤ 1 / 5", halfAndMost(r.challenges.totp))
	set("RSS idle, MiB", "≤ 20", "≤ 12", plain("%.1f", f.idle))
	set(heldLabel("keep-alive connections"), "≤ 50", "≤ 30", plain("%.1f", f.alive))
	set("program, MB", "≤ 20", "≤ 12", plain("%.1f", f.binary))
	set("start to ready, ms", "≤ 300", "≤ 100", plain("%.0f", f.ready))
	set("download of 256 MiB × bare Go", "≥ 0.9", "", figures.Show("%.2f", figures.Summarise(figures.Ratios(f.speed, bare.speed))))
	return t
}
