// Package apiserver runs a real kube-apiserver and etcd for tests, with our CRD
// installed.
//
// The programs are built by test/setup; KUBEBUILDER_ASSETS names their folder.
// It serves tests only, and imports of ours nothing but api/v1alpha1.
package apiserver

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// The variables that name the folders of the API servers' programs.
const (
	// Assets is for the current one.
	Assets = "KUBEBUILDER_ASSETS"
	// assetsOldest is for the oldest that is supported.
	assetsOldest = "KUBEBUILDER_ASSETS_OLDEST"
)

// Missing says what to do where no folder is named.
const Missing = `no API server: run the tests with "make test", or eval "$(test/setup/install --env)" first`

// Server is a running API server with an administrator's credentials.
type Server struct {
	// Config reaches the server as an administrator, without a client-side rate limit.
	Config *rest.Config
	// Client is one for it.
	Client client.Client
	// Env starts and stops it, and adds users.
	Env *envtest.Environment

	again *exec.Cmd // after Kill
}

// Start runs the current API server until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	return start(t, os.Getenv(Assets))
}

// StartOldest runs the oldest supported API server until the test ends.
func StartOldest(t testing.TB) *Server {
	t.Helper()
	return start(t, os.Getenv(assetsOldest))
}

func start(t testing.TB, assets string) *Server {
	t.Helper()
	if assets == "" {
		t.Skip(Missing)
	}
	s, stop, err := Run(assets)
	if err != nil {
		t.Fatalf("start the API server of %s: %v", assets, err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("stop the API server: %v", err)
		}
	})
	return s
}

// Run starts an API server outside a test, for a TestMain that shares one.
func Run(assets string) (s *Server, stop func() error, err error) {
	env := &envtest.Environment{
		BinaryAssetsDirectory:    assets,
		CRDDirectoryPaths:        []string{filepath.Join(root(), "config", "crd", "bases")},
		ErrorIfCRDPathMissing:    true,
		DownloadBinaryAssets:     false,
		AttachControlPlaneOutput: os.Getenv("APISERVER_OUTPUT") != "",
	}
	config, err := env.Start()
	if err != nil {
		return nil, nil, err
	}
	config.QPS = -1
	c, err := client.New(config, client.Options{Scheme: Scheme()})
	if err != nil {
		_ = env.Stop()
		return nil, nil, err
	}
	s = &Server{Config: config, Client: c, Env: env}
	return s, func() error { s.stopAgain(); return env.Stop() }, nil
}

// Scheme knows every type that the operator handles.
func Scheme() *k8sruntime.Scheme {
	scheme := k8sruntime.NewScheme()
	for _, add := range []func(*k8sruntime.Scheme) error{
		clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, mfav1alpha1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			panic(err) // the types are compiled in
		}
	}
	return scheme
}

// root is the module's folder.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}
