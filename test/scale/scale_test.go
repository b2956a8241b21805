// Package scale_test measures how the operator grows with pods and policies: a real
// API server, a real Redis, the operator as a process, pods injected through its
// webhook, and the followers of all their sidecars.
//
// It measures and prints, and fails only where something does not come to rest. It
// does nothing without -pods; `make scale` is the whole run, docs/scale.md its result.
package scale_test

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sallyport/sallyport/test/operator"
)

var (
	pods    = flag.String("pods", "", "numbers of pods to measure at, in ascending order, such as 100,1000,10000")
	rest    = flag.Duration("rest", time.Minute, "how long the operator is watched at rest")
	flips   = flag.Int("flips", 20, "how many policies are flipped, one after the other")
	samples = flag.Int("samples", 300, "how many pods of each kind are admitted")
)

const (
	policiesPerNamespace = 10
	podsPerPolicy        = 10
	podsPerNamespace     = policiesPerNamespace * podsPerPolicy
)

func TestMain(m *testing.M) { os.Exit(operator.Main(m)) }

// bench is one run: a cluster that grows from one size to the next.
type bench struct {
	*operator.Cluster
	*testing.T

	bare     *operator.Cluster // an API server without any policy, for comparison
	process  *operator.Process
	sidecars *fleet
	begin    time.Time
	pods     []*corev1.Pod

	mu       sync.Mutex
	policies []*tracked
	known    map[types.NamespacedName]*tracked

	report table
}

func TestScale(t *testing.T) {
	if *pods == "" {
		t.Skip("a benchmark: make scale, or -pods 100,1000")
	}
	b := &bench{Cluster: operator.ForFigures(t), T: t, begin: time.Now(), known: make(map[types.NamespacedName]*tracked)}
	b.bare = operator.ForFigures(t)
	b.allowConnections(19_000)
	b.process = b.start()
	b.watch()
	for size := range strings.SplitSeq(*pods, ",") {
		n, err := strconv.Atoi(size)
		if err != nil || n < podsPerNamespace || n%podsPerNamespace != 0 {
			t.Fatalf("-pods: %q is no multiple of %d", size, podsPerNamespace)
		}
		b.measure(n)
	}
	fmt.Println(b.report.String()) //nolint:forbidigo // what the run is for
}

// start runs the operator as it is deployed.
func (b *bench) start() *operator.Process {
	return b.Operator("--resync", "30s", "--enrolment-count", "5m", "--log-level", "warn")
}

func (b *bench) measure(n int) {
	b.report.column(fmt.Sprintf("%d pods, %d policies", n, n/podsPerPolicy))
	b.grow(n)
	b.atRest()
	b.flipOne()
	b.flipAll()
	b.restartUnchanged()
	b.restartChanged()
	b.admit()
}

// say prints how far the run is.
func (b *bench) say(format string, args ...any) {
	fmt.Printf("%6.1fs  %s\n", time.Since(b.begin).Seconds(), fmt.Sprintf(format, args...)) //nolint:forbidigo // progress
}

// set notes a figure for the present size, and prints it.
func (b *bench) set(row, format string, args ...any) {
	value := fmt.Sprintf(format, args...)
	b.report.set(row, value)
	b.say("%s: %s", row, value)
}

// table is rows of figures, a column for each size.
type table struct {
	columns []string
	rows    []string
	cells   map[string]map[string]string
}

func (t *table) column(name string) { t.columns = append(t.columns, name) }

func (t *table) set(row, value string) {
	if t.cells == nil {
		t.cells = make(map[string]map[string]string)
	}
	if t.cells[row] == nil {
		t.cells[row] = make(map[string]string)
		t.rows = append(t.rows, row)
	}
	t.cells[row][t.columns[len(t.columns)-1]] = value
}

// String is the table in Markdown.
func (t *table) String() string {
	var out strings.Builder
	line := func(cells ...string) { fmt.Fprintf(&out, "| %s |\n", strings.Join(cells, " | ")) }
	line(append([]string{"what"}, t.columns...)...)
	line(strings.Split(strings.Repeat("--- ", len(t.columns))+"---", " ")...)
	for _, row := range t.rows {
		cells := []string{row}
		for _, c := range t.columns {
			cells = append(cells, t.cells[row][c])
		}
		line(cells...)
	}
	return out.String()
}
