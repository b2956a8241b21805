package chart_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/sallyport/sallyport/test/apiserver"
)

// patience is how long anything may take on a busy machine.
const patience = time.Minute

// minors are the API servers that the chart must do with.
var minors = map[string]func(testing.TB) *apiserver.Server{
	"the current minor": apiserver.Start, "the oldest minor": apiserver.StartOldest,
}

// cluster is a real API server without anything of ours, as an administrator has it.
// Nothing runs there: no pod, no Job.
type cluster struct {
	*apiserver.Server
	kubeconfig string
}

func bare(t *testing.T, start func(testing.TB) *apiserver.Server) *cluster {
	t.Helper()
	c := &cluster{Server: start(t)}
	user, err := c.Env.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	content, err := user.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	c.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(c.kubeconfig, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mfapolicies", "mfaresets", "mfatickets"} {
		crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: name + ".mfa.sallyport.dev"}}
		if err := c.Client.Delete(t.Context(), crd); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the CRD is gone", func(ctx context.Context) error {
			if err := c.Client.Get(ctx, client.ObjectKeyFromObject(crd), crd); !apierrors.IsNotFound(err) {
				return fmt.Errorf("it is there: %w", err)
			}
			return nil
		})
	}
	return c
}

// helm runs Helm against the cluster, in the operator's namespace.
func (c *cluster) helm(t testing.TB, arguments ...string) (string, error) {
	t.Helper()
	return helm(t, append(arguments, "--kubeconfig", c.kubeconfig, "--namespace", system)...)
}

// does is helm where it must go well.
func (c *cluster) does(t testing.TB, arguments ...string) string {
	t.Helper()
	out, err := c.helm(t, arguments...)
	if err != nil {
		t.Fatalf("helm %s: %v", strings.Join(arguments, " "), err)
	}
	return out
}

// kubectl runs the cluster's kubectl on what is given as its input.
func (c *cluster) kubectl(t testing.TB, input string, arguments ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	command := exec.CommandContext(t.Context(), filepath.Join(os.Getenv(apiserver.Assets), "kubectl"), append(arguments, "--kubeconfig", c.kubeconfig)...)
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(input), &out, &out
	command.Env = append(os.Environ(), "HOME="+t.TempDir())
	err := command.Run()
	return out.String(), err
}

func (c *cluster) create(t testing.TB, object client.Object) {
	t.Helper()
	if err := c.Client.Create(t.Context(), object); err != nil {
		t.Fatalf("create %T %s: %v", object, object.GetName(), err)
	}
}

func (c *cluster) namespace(t testing.TB, name string, labels map[string]string) {
	t.Helper()
	c.create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}})
}

// as writes the kubeconfig of a service account, with a token that the API server made.
func (c *cluster) as(t testing.TB, namespace, account string) string {
	t.Helper()
	clients, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	token, err := clients.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), account, new(authenticationv1.TokenRequest), metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("a token of service account %s: %v", account, err)
	}
	path := filepath.Join(t.TempDir(), account)
	if err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:  map[string]*clientcmdapi.Cluster{"c": {Server: c.Config.Host, CertificateAuthorityData: c.Config.CAData}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"u": {Token: token.Status.Token}},
		Contexts:  map[string]*clientcmdapi.Context{"c": {Cluster: "c", AuthInfo: "u"}}, CurrentContext: "c",
	}, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// program builds the controller, once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sallyport-chart")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "controller")
	if out, err := exec.Command("go", "build", "-race", "-o", path, root+"/cmd/controller").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the controller: %w\n%s", err, out)
	}
	return path, nil
})

// runJobs does what the chart's Jobs ask for, until the test ends, as no Job controller
// and no kubelet does here: the program that their image holds, with their arguments, as
// their service account.
func (c *cluster) runJobs(t *testing.T) {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	watching, err := client.NewWithWatch(c.Config, client.Options{Scheme: apiserver.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	w, err := watching.Watch(t.Context(), new(batchv1.JobList), client.InNamespace(system))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		done := make(map[any]bool)
		for event := range w.ResultChan() {
			if job, ok := event.Object.(*batchv1.Job); ok && !done[job.UID] {
				done[job.UID] = true
				c.runJob(t, path, job)
			}
		}
	}()
	t.Cleanup(func() { w.Stop(); <-ended })
}

func (c *cluster) runJob(t *testing.T, path string, job *batchv1.Job) {
	pod := job.Spec.Template.Spec
	var out bytes.Buffer
	command := exec.CommandContext(t.Context(), path, pod.Containers[0].Args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+c.as(t, job.Namespace, pod.ServiceAccountName), "POD_NAMESPACE="+job.Namespace)
	command.Stdout, command.Stderr = &out, &out
	err := command.Run()
	t.Logf("Job %s %q: %v\n%s", job.Name, pod.Containers[0].Args, err, &out)

	now := metav1.Now()
	kinds := []batchv1.JobConditionType{batchv1.JobSuccessCriteriaMet, batchv1.JobComplete}
	job.Status = batchv1.JobStatus{StartTime: &now, CompletionTime: &now, Succeeded: 1}
	if err != nil {
		kinds = []batchv1.JobConditionType{batchv1.JobFailureTarget, batchv1.JobFailed}
		job.Status = batchv1.JobStatus{StartTime: &now, Failed: 1}
	}
	for _, kind := range kinds {
		job.Status.Conditions = append(job.Status.Conditions, batchv1.JobCondition{
			Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: now, Reason: "Test", Message: out.String(),
		})
	}
	if err := c.Client.Status().Update(t.Context(), job); err != nil {
		t.Errorf("say how Job %s ended: %v", job.Name, err)
	}
}

// eventually tries until the error is nil.
func eventually(t testing.TB, what string, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s: %v", what, err)
		case <-ticker.C:
		}
	}
}

// operate runs the operator as the release's Deployment says: with its arguments, its
// environment and its service account. Only what is a pod's differs: addresses, and the
// folder that says how Redis is reached.
func (c *cluster) operate(t *testing.T, pod corev1.PodSpec, webhook, redisDir string) (stop func() string) {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	container := pod.Containers[0]
	arguments := make([]string, 0, len(container.Args)+5)
	for _, argument := range container.Args {
		for _, v := range container.Env {
			argument = strings.ReplaceAll(argument, "$("+v.Name+")", v.Value)
		}
		arguments = append(arguments, argument)
	}
	arguments = append(arguments, "--redis-dir="+redisDir, "--webhook-listen="+webhook, "--webhook-url=https://"+webhook,
		"--metrics-listen=0", "--health-listen=0")
	command := exec.CommandContext(t.Context(), path, arguments...)
	command.Env = append(os.Environ(), "KUBECONFIG="+c.as(t, system, pod.ServiceAccountName), "POD_NAMESPACE="+system)
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = 20 * time.Second
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = command.Wait(); close(ended) }() // how it ended is in its log
	var once sync.Once
	stop = func() string {
		once.Do(func() {
			_ = command.Process.Signal(os.Interrupt) // it may have ended already
			select {
			case <-ended:
			case <-time.After(patience):
				_ = command.Process.Kill()
				<-ended
			}
		})
		return out.String()
	}
	t.Cleanup(func() {
		if log := stop(); t.Failed() {
			t.Logf("operator:\n%s", log)
		}
	})
	return stop
}
