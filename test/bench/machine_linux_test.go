package bench_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sallyport/sallyport/test/bench/figures"
)

// ticksPerSecond is the unit of CPU times in /proc, on every architecture that Go runs on.
const ticksPerSecond = 100

// filesNeeded is for a thousand connections in and as many out.
const filesNeeded = 4096

// machine is what everything ran on, and where on it.
type machine struct {
	description, redis, nginx, rival string
	// proxies run on one core, everything else on the other, where pinned.
	pinned         bool
	proxies, other int
	// unpinned is why not.
	unpinned string
}

// lookAround describes the machine and chooses the cores.
func (b *bench) lookAround() machine {
	var limit syscall.Rlimit
	b.must("read the limit of open files", syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	if limit.Max < filesNeeded {
		b.Fatalf("a process may open %d files, and %d are needed: raise the limit, as with ulimit -Hn %d as root", limit.Max, filesNeeded, filesNeeded)
	}
	model := "unknown CPU"
	for line := range strings.Lines(b.file("/proc/cpuinfo")) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	cpus, err := figures.CPUs(b.line("/proc/self/status", "Cpus_allowed_list"))
	b.must("read which CPUs there are", err)
	m := machine{description: fmt.Sprintf("%s, %d cores, Linux %s, %s/%s, %s",
		model, len(cpus), strings.TrimSpace(b.file("/proc/sys/kernel/osrelease")), runtime.GOOS, runtime.GOARCH, runtime.Version())}
	switch _, err := exec.LookPath("taskset"); {
	case len(cpus) < 2:
		m.unpinned = "there is one core"
	case err != nil:
		m.unpinned = "there is no taskset (util-linux)"
	default:
		m.pinned, m.proxies, m.other = true, cpus[0], cpus[1]
	}
	return m
}

// pinSelf puts the load generator, and with it Redis and the app, on their core.
func (b *bench) pinSelf() {
	if !b.machine.pinned {
		b.say("nothing is pinned to a core: %s", b.machine.unpinned)
		return
	}
	b.pin(os.Getpid(), b.machine.other)
	b.Cleanup(func() { runtime.GOMAXPROCS(runtime.NumCPU()) })
	runtime.GOMAXPROCS(1)
	b.say("proxies run on core %d; client, app and Redis on core %d", b.machine.proxies, b.machine.other)
}

// pin moves every thread of a process to a core.
func (b *bench) pin(pid, core int) {
	b.Helper()
	out, err := exec.CommandContext(b.Context(), "taskset", "-a", "-c", "-p", strconv.Itoa(core), strconv.Itoa(pid)).CombinedOutput()
	if err != nil {
		b.Fatalf("pin a process to core %d: %v\n%s", core, err, out)
	}
}

// pinTree moves a process and all that descend from it.
func (b *bench) pinTree(root, core int) {
	b.Helper()
	for pid := range b.snapshot().Tree(root) {
		b.pin(pid, core)
	}
}

func (b *bench) file(path string) string {
	b.Helper()
	text, err := os.ReadFile(path)
	b.must("read "+path, err)
	return string(text)
}

// line is the value of a line "name: value".
func (b *bench) line(path, name string) string {
	b.Helper()
	for line := range strings.Lines(b.file(path)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	b.Fatalf("%s has no line %s", path, name)
	return ""
}

// snapshot looks at every process. One that ends meanwhile is not there.
func (b *bench) snapshot() figures.Snapshot {
	b.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	b.must("look at the processes", err)
	all := make(figures.Snapshot, len(paths))
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		p, err := figures.ParseStat(string(text))
		b.must("look at the processes", err)
		all[p.PID] = p
	}
	return all
}

func (b *bench) steal() int64 {
	b.Helper()
	ticks, err := figures.Steal(b.file("/proc/stat"))
	b.must("look at the machine", err)
	return ticks
}

// watchOthers begins to watch who else uses the machine. What it returns says how much of
// a core they used meanwhile.
func (b *bench) watchOthers() (share func() float64) {
	b.Helper()
	before, stolen, begin := b.snapshot(), b.steal(), time.Now()
	return func() float64 {
		b.Helper()
		ticks := figures.Foreign(before, b.snapshot(), os.Getpid()) + b.steal() - stolen
		return float64(ticks) / ticksPerSecond / time.Since(begin).Seconds()
	}
}

// rss is the memory of a program that is in RAM, in MiB, to the page. Where it is several
// processes, what they share counts once.
func (b *bench) rss(p *program) float64 {
	b.Helper()
	tree, of := b.snapshot().Tree(p.pid), "Rss"
	if len(tree) > 1 {
		of = "Pss"
	}
	var sum float64
	for pid := range tree {
		sum += b.mib(fmt.Sprintf("/proc/%d/smaps_rollup", pid), of)
	}
	return sum
}

// peak is the most that it ever was, in MiB.
func (b *bench) peak(p *program) float64 {
	b.Helper()
	return b.mib(fmt.Sprintf("/proc/%d/status", p.pid), "VmHWM")
}

func (b *bench) mib(path, name string) float64 {
	b.Helper()
	kib, err := figures.KiB(b.file(path), name)
	b.must("read "+path, err)
	return float64(kib) / 1024
}
