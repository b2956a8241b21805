package scale_test

import (
	"bufio"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/test/operator"
)

const mib = 1 << 20

// atRest watches the operator and Redis while nothing changes.
func (b *bench) atRest() {
	b.say("at rest for %s", *rest)
	was, redisWas, begin := b.metrics(), b.redis(), time.Now()
	time.Sleep(*rest)
	is, redisIs, took := b.metrics(), b.redis(), time.Since(begin)
	seconds := took.Seconds()
	b.set("at rest: API requests per minute", "%.0f (%s)", (is["rest_client_requests_total"]-was["rest_client_requests_total"])*60/seconds, methods(was, is))
	b.set("at rest: passes per minute", "%.0f", (is["controller_runtime_reconcile_total"]-was["controller_runtime_reconcile_total"])*60/seconds)
	b.set("at rest: controller, % of a core", "%.1f", 100*(is["process_cpu_seconds_total"]-was["process_cpu_seconds_total"])/seconds)
	b.set("at rest: controller, RSS (heap in use), MiB", "%.0f (%.0f)", is["process_resident_memory_bytes"]/mib, is["go_memstats_heap_inuse_bytes"]/mib)
	b.set("at rest: Redis, commands per second", "%.0f", (redisIs["total_commands_processed"]-redisWas["total_commands_processed"])/seconds)
	b.set("at rest: Redis, % of a core", "%.1f", 100*(redisIs["used_cpu_sys"]+redisIs["used_cpu_user"]-redisWas["used_cpu_sys"]-redisWas["used_cpu_user"])/seconds)
	b.set("at rest: Redis, connections and MiB", "%.0f and %.0f", redisIs["connected_clients"], redisIs["used_memory"]/mib)
}

// flip turns a policy's lever. The time is right before it is.
func (b *bench) flip(p *tracked) (time.Time, error) {
	body := fmt.Sprintf(`{"spec":{"requireForEveryone":%t}}`, !p.get().Spec.RequireForEveryone)
	now := &mfav1alpha1.MFAPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: p.key.Namespace, Name: p.key.Name}}
	begin := time.Now()
	if err := b.Client.Patch(b.Context(), now, client.RawPatch(types.MergePatchType, []byte(body))); err != nil {
		return begin, err
	}
	p.see(now)
	return begin, nil
}

func (b *bench) mustFlip(p *tracked) time.Time {
	b.Helper()
	begin, err := b.flip(p)
	if err != nil {
		b.Fatalf("flip %s: %v", p.key, err)
	}
	return begin
}

// flipOne flips single policies, one after the other.
func (b *bench) flipOne() {
	var obeyed, confirmed []time.Duration
	was := b.metrics()
	for range *flips {
		one := []*tracked{b.policies[rand.IntN(len(b.policies))]}
		begin := b.mustFlip(one[0])
		obeyed = append(obeyed, b.sidecars.obey(b, one).Sub(begin))
		confirmed = append(confirmed, b.settle("a flip", one, true).Sub(begin))
	}
	is := b.metrics()
	b.set("one flip to its last sidecar, p50 / max, s", "%s", quantiles(obeyed, time.Second, 0.5, 1))
	b.set("one flip to Ready again, p50 / max, s", "%s", quantiles(confirmed, time.Second, 0.5, 1))
	b.set("one flip: API requests", "%.1f", float64(is["rest_client_requests_total"]-was["rest_client_requests_total"])/float64(*flips))
}

// flipAll flips every policy at once.
func (b *bench) flipAll() {
	was, begin := b.metrics(), time.Now()
	b.each(len(b.policies), func(i int) error {
		_, err := b.flip(b.policies[i])
		return err
	})
	asked := time.Since(begin)
	last := b.sidecars.obey(b, b.policies)
	settled := b.settle("every policy flipped", b.policies, true)
	b.set("all policies flipped: accepted by the API server, s", "%.1f", asked.Seconds())
	b.set("all policies flipped: to the last sidecar, s", "%.1f", last.Sub(begin).Seconds())
	b.set("all policies flipped: to Ready again, s", "%.1f", settled.Sub(begin).Seconds())
	b.set("all policies flipped: API requests per policy", "%.1f",
		(b.metrics()["rest_client_requests_total"]-was["rest_client_requests_total"])/float64(len(b.policies)))
}

// restartUnchanged measures how long a new process works through all there is.
func (b *bench) restartUnchanged() {
	b.process.Stop()
	begin := time.Now()
	b.process = b.start()
	ready := time.Since(begin)
	var is map[string]float64
	for {
		is = b.metrics()
		if is["controller_runtime_reconcile_total"] >= float64(len(b.policies)) && is["workqueue_depth"] == 0 && is["controller_runtime_active_workers"] == 0 {
			break
		}
		if time.Since(begin) > patience {
			b.Fatalf("the operator does not come to rest:\n%s", b.process.Log())
		}
		time.Sleep(100 * time.Millisecond)
	}
	took := time.Since(begin)
	b.set("restart: admits pods after, s", "%.1f", ready.Seconds())
	b.set("restart, nothing changed: at rest after, s", "%.1f", took.Seconds())
	b.set("restart, nothing changed: API requests", "%.0f (%s)", is["rest_client_requests_total"], methods(nil, is))
	b.set("restart, nothing changed: controller, CPU s", "%.1f", is["process_cpu_seconds_total"])
}

// restartChanged changes every policy while no operator runs.
func (b *bench) restartChanged() {
	b.process.Stop()
	b.each(len(b.policies), func(i int) error {
		_, err := b.flip(b.policies[i])
		return err
	})
	begin := time.Now()
	b.process = b.start()
	settled := b.settle("restart with changes", b.policies, false)
	last := b.sidecars.obey(b, b.policies)
	protected := b.settle("restart with changes, pods", b.policies, true)
	is := b.metrics()
	b.set("restart, every policy changed: settled after, s", "%.1f", settled.Sub(begin).Seconds())
	b.set("restart, every policy changed: last sidecar obeys after, s", "%.1f", last.Sub(begin).Seconds())
	b.set("restart, every policy changed: all Ready after, s", "%.1f", protected.Sub(begin).Seconds())
	b.set("restart, every policy changed: controller, CPU s", "%.1f", is["process_cpu_seconds_total"])
	b.set("restart, every policy changed: API requests", "%.0f (%s)", is["rest_client_requests_total"], methods(nil, is))
	b.set("restart: peak RSS, MiB", "%.0f", peak(b, b.process.PID()))
}

// admit measures what the API server takes to admit a pod. The sidecars are away, for
// they need the same cores, and nothing is stored.
func (b *bench) admit() {
	b.sidecars.stop()
	was, begin := b.metrics(), time.Now()
	time.Sleep(20 * time.Second)
	b.set("no sidecar is heard: controller, % of a core", "%.1f",
		100*(b.metrics()["process_cpu_seconds_total"]-was["process_cpu_seconds_total"])/time.Since(begin).Seconds())
	for _, c := range []*operator.Cluster{b.Cluster, b.bare} {
		others := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "others"}}
		if err := client.IgnoreAlreadyExists(c.Client.Create(b.Context(), others)); err != nil {
			b.Fatal(err)
		}
	}
	elsewhere := types.NamespacedName{Namespace: "others", Name: "app"}
	var selected, beside, bare []time.Duration
	for i := range *samples {
		p := b.policies[rand.IntN(len(b.policies))]
		selected = append(selected, b.dryRun(b.Cluster, podFor(p.key, 1000+i)))
		beside = append(beside, b.dryRun(b.Cluster, podFor(elsewhere, i)))
		bare = append(bare, b.dryRun(b.bare, podFor(elsewhere, i)))
	}
	const unit = time.Millisecond
	b.set("admission: selected pod, p50 / p99, ms", "%s", quantiles(selected, unit, 0.5, 0.99))
	b.set("admission: pod of another namespace, p50 / p99, ms", "%s", quantiles(beside, unit, 0.5, 0.99))
	b.set("admission: the same without any policy in the cluster, p50 / p99, ms", "%s", quantiles(bare, unit, 0.5, 0.99))
	b.set("admission: what others pay, ratio of the medians", "%.2f", float64(quantile(beside, 0.5))/float64(quantile(bare, 0.5)))
	b.set("admission: what the selected pay, ratio of the medians", "%.2f", float64(quantile(selected, 0.5))/float64(quantile(bare, 0.5)))
}

func (b *bench) dryRun(c *operator.Cluster, pod *corev1.Pod) time.Duration {
	b.Helper()
	begin := time.Now()
	if err := c.Client.Create(b.Context(), pod, client.DryRunAll); err != nil {
		b.Fatalf("admit a pod: %v\n%s", err, b.process.Log())
	}
	return time.Since(begin)
}

func quantile(all []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(int(float64(len(sorted))*q), len(sorted)-1)]
}

func quantiles(all []time.Duration, unit time.Duration, qs ...float64) string {
	var parts []string
	for _, q := range qs {
		parts = append(parts, fmt.Sprintf("%.1f", float64(quantile(all, q))/float64(unit)))
	}
	return strings.Join(parts, " / ")
}

// metrics are the operator's, summed over their labels; requests to the API server by
// method too.
func (b *bench) metrics() map[string]float64 {
	b.Helper()
	request, err := http.NewRequestWithContext(b.Context(), http.MethodGet, b.process.MetricsURL, nil)
	if err != nil {
		b.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		b.Fatalf("read the metrics: %v", err)
	}
	defer answer.Body.Close()
	sums := make(map[string]float64)
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		at := strings.LastIndexByte(lines.Text(), ' ')
		if at < 0 || strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		value, err := strconv.ParseFloat(lines.Text()[at+1:], 64)
		if err != nil {
			b.Fatalf("read the metrics: %q", lines.Text())
		}
		name, labels, _ := strings.Cut(lines.Text()[:at], "{")
		sums[name] += value
		if _, method, ok := strings.Cut(labels, `method="`); ok && name == "rest_client_requests_total" {
			method, _, _ = strings.Cut(method, `"`)
			sums["method "+method] += value
		}
	}
	return sums
}

// methods tells the requests between two looks by their method.
func methods(was, is map[string]float64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(is)) {
		if method, ok := strings.CutPrefix(name, "method "); ok && is[name] > was[name] {
			parts = append(parts, fmt.Sprintf("%s %.0f", method, is[name]-was[name]))
		}
	}
	return strings.Join(parts, ", ")
}

// redis are the figures that the server tells of itself.
func (b *bench) redis() map[string]float64 {
	b.Helper()
	info, err := b.Redis.Client().Info(b.Context()).Result()
	if err != nil {
		b.Fatalf("ask redis: %v", err)
	}
	figures := make(map[string]float64)
	for line := range strings.Lines(info) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), ":")
		if value, err := strconv.ParseFloat(text, 64); err == nil {
			figures[name] = value
		}
	}
	return figures
}

// allowConnections raises what Redis accepts beyond its default of 10,000.
func (b *bench) allowConnections(n int) {
	b.Helper()
	if err := b.Redis.Client().ConfigSet(b.Context(), "maxclients", strconv.Itoa(n)).Err(); err != nil {
		b.Fatalf("raise maxclients: %v; raise the limit of open files (ulimit -n)", err)
	}
}

// peak is the most memory that a process had, in MiB.
func peak(b *bench, pid int) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "kB")), 64)
			if err != nil {
				b.Fatal(err)
			}
			return kib / 1024
		}
	}
	return 0
}
