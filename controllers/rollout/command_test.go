package rollout_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sallyport/sallyport/controllers/rollout"
)

// podOf is a pod of the given owner, "apps/v1 StatefulSet db"; of none for "".
func podOf(name, owner string, labels ...string) corev1.Pod {
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "portal"}}}
	for i := 0; i+1 < len(labels); i += 2 {
		pod.Labels[labels[i]] = labels[i+1]
	}
	if part := strings.SplitN(owner, " ", 3); len(part) == 3 {
		pod.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: part[0], Kind: part[1], Name: part[2], UID: types.UID(part[1] + part[2]), Controller: new(true),
		}}
	}
	return pod
}

// ofDeployment is a pod that the named Deployment made.
func ofDeployment(name, deployment string) corev1.Pod {
	return podOf(name, "apps/v1 ReplicaSet "+deployment+"-5d4c9", "pod-template-hash", "5d4c9")
}

func TestCommand(t *testing.T) {
	terminating := ofDeployment("a", "portal")
	terminating.DeletionTimestamp = new(metav1.Now())
	uncontrolled := podOf("a", "apps/v1 StatefulSet db")
	uncontrolled.OwnerReferences[0].Controller = nil
	var many []corev1.Pod
	for i := range 7 {
		many = append(many, ofDeployment(fmt.Sprintf("a%d", i), fmt.Sprintf("web-%d", i)))
	}
	cases := map[string]struct {
		pods []corev1.Pod
		want string
	}{
		"no pods":                         {nil, ""},
		"only a pod that goes":            {[]corev1.Pod{terminating}, ""},
		"pods of one Deployment":          {[]corev1.Pod{ofDeployment("a", "portal"), ofDeployment("b", "portal")}, "kubectl -n acme rollout restart deployment/portal"},
		"a Deployment with a dashed name": {[]corev1.Pod{ofDeployment("a", "my-portal-5d4c9")}, "kubectl -n acme rollout restart deployment/my-portal-5d4c9"},
		"three kinds that are rolled out": {
			[]corev1.Pod{podOf("c", "apps/v1 StatefulSet db"), ofDeployment("b", "portal"), podOf("a", "apps/v1 DaemonSet edge")},
			"kubectl -n acme rollout restart daemonset/edge deployment/portal statefulset/db",
		},
		"bare pods":                      {[]corev1.Pod{podOf("b", ""), podOf("a", "")}, "kubectl -n acme delete pod a b"},
		"an owner that does not control": {[]corev1.Pod{uncontrolled}, "kubectl -n acme delete pod a"},
		"one pod at a time of a ReplicaSet without a Deployment": {
			[]corev1.Pod{podOf("b", "apps/v1 ReplicaSet web"), podOf("a", "apps/v1 ReplicaSet web"), podOf("c", "apps/v1 ReplicaSet web")},
			"kubectl -n acme delete pod a && echo 'then look at the status again for 2 more'",
		},
		"a ReplicaSet whose name is not by the hash": {
			[]corev1.Pod{podOf("a", "apps/v1 ReplicaSet web", "pod-template-hash", "5d4c9")}, "kubectl -n acme delete pod a",
		},
		"a ReplicaSet whose name is but the hash": {
			[]corev1.Pod{podOf("a", "apps/v1 ReplicaSet -5d4c9", "pod-template-hash", "5d4c9")},
			"echo 'restart owner, the owner of pod a, by its own tool'",
		},
		"a Job":        {[]corev1.Pod{podOf("a", "batch/v1 Job nightly"), podOf("b", "batch/v1 Job nightly")}, "echo 'wait for job/nightly to end, or delete it'"},
		"a static pod": {[]corev1.Pod{podOf("a-node1", "v1 Node node1")}, "echo 'restart pod a-node1 by its manifest on node node1'"},
		"an owner of another kind": {
			[]corev1.Pod{podOf("a", "argoproj.io/v1alpha1 Rollout web")},
			"echo 'restart rollout.argoproj.io/web, the owner of pod a, by its own tool'",
		},
		"another group's kind of a known name is not ours": {
			[]corev1.Pod{podOf("a", "apps.kruise.io/v1 StatefulSet db")},
			"echo 'restart statefulset.apps.kruise.io/db, the owner of pod a, by its own tool'",
		},
		"everything at once": {
			[]corev1.Pod{podOf("c", "batch/v1 Job j"), podOf("b", ""), ofDeployment("a", "portal")},
			"kubectl -n acme rollout restart deployment/portal && kubectl -n acme delete pod b && echo 'wait for job/j to end, or delete it'",
		},
		"more than five": {
			append([]corev1.Pod{podOf("bare", "")}, many...),
			"kubectl -n acme rollout restart deployment/web-0 deployment/web-1 deployment/web-2 deployment/web-3 deployment/web-4 && echo 'then look at the status again for 3 more'",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for range 3 {
				if got := rollout.Command("acme", tc.pods); got != tc.want {
					t.Errorf("got  %s\nwant %s", got, tc.want)
				}
				rand.Shuffle(len(tc.pods), func(i, j int) { tc.pods[i], tc.pods[j] = tc.pods[j], tc.pods[i] })
			}
		})
	}
}

// safe is the whole language of a command.
var safe = regexp.MustCompile(`^[A-Za-z0-9 ./,'&-]*$`)

// FuzzCommand holds that whoever may create a pod cannot put words into a command
// that an administrator pastes: no API server checks an owner reference's names, or
// a label's fitting them.
func FuzzCommand(f *testing.F) {
	f.Add("apps/v1", "StatefulSet", "db; rm -rf ~", "")
	f.Add("apps/v1", "ReplicaSet", "$(id)-5d4c9", "5d4c9")
	f.Add("x'/v1", "Kind`id`", "a", "")
	f.Add("argoproj.io/v1", "Rollout' && id '", "web", "")
	f.Add("batch/v1", "Job", "--all", "")
	f.Add("v1", "Node", "n\nid", "")
	f.Fuzz(func(t *testing.T, version, kind, name, hash string) {
		pod := podOf("pod-1", "")
		pod.Labels["pod-template-hash"] = hash
		pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: version, Kind: kind, Name: name, Controller: new(true)}}
		got := rollout.Command("acme", []corev1.Pod{pod})
		if got == "" {
			t.Error("nothing is said of an outdated pod")
		}
		if !safe.MatchString(got) || strings.Count(got, "'")%2 != 0 || strings.Count(got, "'") > 2 ||
			strings.Contains(got, "&") || strings.Contains(got, " -") != strings.Contains(got, " -n acme") || strings.Count(got, " -") > 1 {
			t.Errorf("unsafe: %q", got)
		}
	})
}
