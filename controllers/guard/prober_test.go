package guard_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sallyport/sallyport/controllers/guard"
)

// network answers at the given addresses and notes what was dialled.
type network struct {
	answering []string
	mu        sync.Mutex
	dialled   []string
	busy, top int
}

func (n *network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	n.dialled = append(n.dialled, address)
	n.busy++
	n.top = max(n.top, n.busy)
	n.mu.Unlock()
	defer func() { n.mu.Lock(); n.busy--; n.mu.Unlock() }()
	if slices.Contains(n.answering, address) {
		c, other := net.Pipe()
		return c, other.Close()
	}
	if strings.HasPrefix(address, "10.9.") { // swallows everything
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return nil, errors.New("refused")
}

func at(name, owner string, ips ...string) corev1.Pod {
	pod := ported(name)
	pod.Status.PodIP, pod.Status.PodIPs = "", nil
	for _, ip := range ips {
		pod.Status.PodIPs = append(pod.Status.PodIPs, corev1.PodIP{IP: ip})
	}
	if owner != "" {
		pod.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: owner, UID: types.UID(owner), Controller: new(true)}}
	}
	return pod
}

func TestReachedTriesEveryAddressAndNamesThePods(t *testing.T) {
	n := &network{answering: []string{"10.0.0.2:8080", "[fd00::3]:8080", "10.0.0.5:8080", "10.0.0.6:8080"}}
	gone := at("gone", "", "10.0.0.5")
	gone.DeletionTimestamp = new(metav1.Now())
	redirectedPod := redirected("redirected")
	redirectedPod.Status = corev1.PodStatus{PodIP: "10.0.0.6"}
	got := guard.Prober{Dial: n.dial}.Reached(t.Context(), []corev1.Pod{
		at("c", "", "10.0.0.3", "fd00::3"), at("b", "", "10.0.0.2"), at("a", "", "10.0.0.1"), at("starting", ""), gone, redirectedPod,
	}, appPort)
	if diff := cmp.Diff([]string{"b", "c"}, got); diff != "" {
		t.Errorf("reached (-want +got):\n%s", diff)
	}
	slices.Sort(n.dialled)
	if diff := cmp.Diff([]string{"10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080", "[fd00::3]:8080"}, n.dialled); diff != "" {
		t.Errorf("dialled (-want +got):\n%s", diff)
	}
}

func TestReachedTriesFivePodsOfAsManyWorkloadsAsItCan(t *testing.T) {
	n := new(network)
	var pods []corev1.Pod
	for i := range 20 {
		pods = append(pods, at(fmt.Sprintf("big-%02d", i), "big", fmt.Sprintf("10.0.1.%d", i)))
	}
	for i := range 3 {
		pods = append(pods, at(fmt.Sprintf("small-%d", i), fmt.Sprintf("small-%d", i), fmt.Sprintf("10.0.2.%d", i)))
	}
	guard.Prober{Dial: n.dial, Concurrency: 2}.Reached(t.Context(), pods, appPort)
	slices.Sort(n.dialled)
	if diff := cmp.Diff([]string{"10.0.1.0:8080", "10.0.1.1:8080", "10.0.2.0:8080", "10.0.2.1:8080", "10.0.2.2:8080"}, n.dialled); diff != "" {
		t.Errorf("dialled (-want +got):\n%s", diff)
	}
	if n.top > 2 {
		t.Errorf("%d at once, want at most 2", n.top)
	}
}

func TestReachedGivesUpOnASilentAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{answering: []string{"10.0.0.1:8080"}}
		before := time.Now()
		got := guard.Prober{Dial: n.dial, Timeout: 300 * time.Millisecond}.Reached(t.Context(), []corev1.Pod{
			at("silent", "", "10.9.0.1"), at("also", "", "10.9.0.2"), at("answers", "", "10.0.0.1"),
		}, appPort)
		if took := time.Since(before); took != 300*time.Millisecond {
			t.Errorf("took %v, want 300ms", took)
		}
		if diff := cmp.Diff([]string{"answers"}, got); diff != "" {
			t.Errorf("reached (-want +got):\n%s", diff)
		}
	})
}

func TestReachedOnTheRealNetwork(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := int32(l.Addr().(*net.TCPAddr).Port)
	pods := []corev1.Pod{at("here", "", "127.0.0.1")}
	if got := (guard.Prober{}).Reached(t.Context(), pods, port); !slices.Equal(got, []string{"here"}) {
		t.Errorf("an open port was not reached: %v", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := (guard.Prober{}).Reached(t.Context(), pods, port); got != nil {
		t.Errorf("a closed port was reached: %v", got)
	}
	if got := (guard.Prober{}).Reached(t.Context(), pods, 0); got != nil {
		t.Errorf("no port was reached: %v", got)
	}
}
