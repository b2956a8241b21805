package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// maxObjects bounds how many objects one command names.
const maxObjects = 5

// Command returns one line for a shell that brings the given pods up to date: it
// restarts what Kubernetes can roll out, deletes single pods, and says what else
// there is to do. It names at most five objects, and of several pods of one owner
// that nothing rolls out only the first, since deleting all at once would be an
// outage; the others take their places once these are done. It is "" for no pods.
//
// There is no short form by a label selector: kubectl would apply it to the labels
// of the workloads, which need not be those of their pods.
func Command(namespace string, pods []corev1.Pod) string {
	var restarts, deletions, notes []string
	served := map[owner]bool{}
	left := 0
	for _, pod := range byName(pods) {
		o, _ := ownerOf(pod)
		if served[o] && o.kind != none {
			if o.kind == replacing {
				left++
			}
			continue
		}
		served[o] = true
		switch o.kind {
		case deployment, statefulSet, daemonSet:
			restarts = append(restarts, o.String())
		case none, replacing:
			deletions = append(deletions, pod.Name)
		case job:
			notes = append(notes, fmt.Sprintf("wait for job/%s to end, or delete it", o.name))
		case node:
			notes = append(notes, fmt.Sprintf("restart pod %s by its manifest on node %s", pod.Name, o.name))
		case unknown:
			notes = append(notes, fmt.Sprintf("restart %s, the owner of pod %s, by its own tool", o.name, pod.Name))
		}
	}
	slices.Sort(restarts)
	room := maxObjects
	take := func(names []string) []string {
		n := min(room, len(names))
		room -= n
		left += len(names) - n
		return names[:n]
	}
	var parts []string
	if names := take(restarts); len(names) > 0 {
		parts = append(parts, fmt.Sprintf("kubectl -n %s rollout restart %s", namespace, strings.Join(names, " ")))
	}
	if names := take(deletions); len(names) > 0 {
		parts = append(parts, fmt.Sprintf("kubectl -n %s delete pod %s", namespace, strings.Join(names, " ")))
	}
	for _, note := range take(notes) {
		parts = append(parts, "echo '"+note+"'")
	}
	if left > 0 {
		parts = append(parts, fmt.Sprintf("echo 'then look at the status again for %d more'", left))
	}
	return strings.Join(parts, " && ")
}

// byName returns the pods that are not on their way out, in order.
func byName(pods []corev1.Pod) []*corev1.Pod {
	var all []*corev1.Pod
	for i := range pods {
		if pods[i].DeletionTimestamp == nil {
			all = append(all, &pods[i])
		}
	}
	slices.SortFunc(all, func(a, b *corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
