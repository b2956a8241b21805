package guard

import (
	"cmp"
	"context"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// maxSampled bounds how many pods one probe tries.
	maxSampled         = 5
	defaultTimeout     = time.Second
	defaultConcurrency = maxSampled
)

// Prober tries whether the app answers at its pods' own addresses. It measures from
// where the operator runs: a network that lets only the operator's pod through, or
// only keeps that out, deceives it.
//
// Threat: an app that is reached without its sidecar. Safe use: only where capture is
// Port; pods whose network is redirected are left out, since there the sidecar would
// answer. Failure direction: whatever completes a connection counts as the app; a
// mesh that completes connections on behalf of its pods makes an app count as reached
// that is not.
type Prober struct {
	// Dial opens a connection. Nil means the operating system's network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Timeout of one connection. Default: one second.
	Timeout time.Duration
	// Concurrency is how many connections are tried at once. Default: 5.
	Concurrency int
}

// Reached returns the names, sorted, of those pods whose port accepted a connection.
// It tries at most five pods, of as many workloads as it can.
func (p Prober) Reached(ctx context.Context, pods []corev1.Pod, port int32) []string {
	if port < firstPort || port > lastPort {
		return nil
	}
	var (
		mu      sync.Mutex
		wg      sync.WaitGroup
		reached []string
	)
	slots := make(chan struct{}, max(1, cmp.Or(p.Concurrency, defaultConcurrency)))
	for _, pod := range sample(pods) {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if p.answers(ctx, pod, port) {
				mu.Lock()
				defer mu.Unlock()
				reached = append(reached, pod.Name)
			}
		})
	}
	wg.Wait()
	slices.Sort(reached)
	return reached
}

// answers tries every address of the pod: a firewall may know one family only.
func (p Prober) answers(ctx context.Context, pod *corev1.Pod, port int32) bool {
	dial := p.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return slices.ContainsFunc(addresses(pod), func(address string) bool {
		ctx, cancel := context.WithTimeout(ctx, cmp.Or(p.Timeout, defaultTimeout))
		defer cancel()
		conn, err := dial(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(int(port))))
		if err != nil {
			return false
		}
		_ = conn.Close() // nothing was sent
		return true
	})
}

// sample picks pods to try: the first of every workload by name, then the second, and
// so on, since the pods of one workload are alike.
func sample(pods []corev1.Pod) []*corev1.Pod {
	var able []*corev1.Pod
	for i := range pods {
		if len(addresses(&pods[i])) > 0 && pods[i].DeletionTimestamp == nil && !redirected(&pods[i]) {
			able = append(able, &pods[i])
		}
	}
	slices.SortFunc(able, func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	ordinal, seen := map[string]int{}, map[types.UID]int{}
	for _, pod := range able {
		if owner := metav1.GetControllerOf(pod); owner != nil {
			ordinal[pod.Name] = seen[owner.UID]
			seen[owner.UID]++
		}
	}
	slices.SortStableFunc(able, func(a, b *corev1.Pod) int { return cmp.Compare(ordinal[a.Name], ordinal[b.Name]) })
	return able[:min(len(able), maxSampled)]
}

func addresses(pod *corev1.Pod) []string {
	var all []string
	for _, ip := range pod.Status.PodIPs {
		all = append(all, ip.IP)
	}
	if len(all) == 0 && pod.Status.PodIP != "" {
		all = append(all, pod.Status.PodIP)
	}
	return all
}
