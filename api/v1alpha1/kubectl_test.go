package v1alpha1_test

import (
	"bytes"
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/test/apiserver"
)

var update = flag.Bool("update", false, "write the golden files anew")

// servesKubectl asks with the kubectl of the current minor, as people do.
func servesKubectl(t *testing.T, s *apiserver.Server) {
	kubectl := newKubectl(t, s.Config)
	awaitSchema(t, s.Config)
	for name, args := range map[string][]string{
		"explain":           {"explain", "mfapolicy"},
		"explain-recursive": {"explain", "mfapolicy", "--recursive"},
		"explain-spec":      {"explain", "mfapolicy.spec"},
		"explain-session":   {"explain", "mfapolicy.spec.session"},
		"explain-endpoint":  {"explain", "mfap.spec.identity.endpoint"},
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, kubectl(t, args...)) })
	}
	t.Run("get", func(t *testing.T) {
		storePolicy(t, s)
		lines := strings.Split(kubectl(t, "get", "mfap"), "\n")
		columns := []string{"NAME", "EVERYONE", "ADMINS", "PODS", "PROTECTED", "READY", "AGE"}
		if diff := cmp.Diff(columns, strings.Fields(lines[0])); diff != "" {
			t.Errorf("columns (-want +got):\n%s", diff)
		}
		// The last one is the age.
		if diff := cmp.Diff([]string{"portal", "false", "true", "12", "11", "False"}, strings.Fields(lines[1])[:len(columns)-1]); diff != "" {
			t.Errorf("row (-want +got):\n%s", diff)
		}
		if wide := kubectl(t, "get", "mfapolicies", "-o", "wide"); !strings.Contains(wide, "PodsStale") {
			t.Errorf("the wide form does not give the reason:\n%s", wide)
		}
	})
}

// awaitSchema waits until the server publishes the schema of our types, which it does
// some time after it serves them: kubectl explains out of that.
func awaitSchema(t *testing.T, config *rest.Config) {
	t.Helper()
	server, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	limit, ticker := time.After(time.Minute), time.NewTicker(100*time.Millisecond)
	defer ticker.Stop()
	for {
		paths, err := server.OpenAPIV3().Paths()
		if err == nil && paths["apis/"+mfav1alpha1.GroupVersion.String()] != nil {
			return
		}
		select {
		case <-limit:
			t.Fatalf("the schema is not published: %v", err)
		case <-ticker.C:
		}
	}
}

// storePolicy stores one with a status.
func storePolicy(t *testing.T, s *apiserver.Server) {
	t.Helper()
	stored := patched(t, `requireForAdmins: true`)
	if err := s.Client.Create(t.Context(), stored); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Client.Delete(context.WithoutCancel(t.Context()), stored); err != nil {
			t.Error(err)
		}
	})
	var p mfav1alpha1.MFAPolicy
	if err := s.Client.Get(t.Context(), client.ObjectKeyFromObject(stored), &p); err != nil {
		t.Fatal(err)
	}
	p.Status.Pods = &mfav1alpha1.PodStatus{Selected: 12, Protected: 11, Stale: 1}
	p.Status.Conditions = []metav1.Condition{{
		Type: string(mfav1alpha1.ConditionReady), Status: metav1.ConditionFalse, Reason: string(mfav1alpha1.ReasonPodsStale),
		Message: "One pod is stale.", LastTransitionTime: metav1.Now(),
	}}
	if err := s.Client.Status().Update(t.Context(), &p); err != nil {
		t.Fatal(err)
	}
}

// newKubectl returns what runs kubectl as the server's administrator.
func newKubectl(t *testing.T, config *rest.Config) func(*testing.T, ...string) string {
	t.Helper()
	program := filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl")
	dir := t.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"c": {Server: config.Host, CertificateAuthorityData: config.CAData}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{
			"a": {ClientCertificateData: config.CertData, ClientKeyData: config.KeyData, Token: config.BearerToken},
		},
		Contexts:       map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "a", Namespace: "default"}},
		CurrentContext: "x",
	}, kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	return func(t *testing.T, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Env = []string{"KUBECONFIG=" + kubeconfig, "HOME=" + dir}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, &stderr)
		}
		return string(out)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(readFile(t, path)), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}
