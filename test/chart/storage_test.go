package chart_test

import (
	"strings"
	"testing"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sallyport/sallyport/test/apiserver"
)

// TestInstallationWithoutADefaultStorageClass is refused before anything is made: the
// volume would wait for ever, and nobody can name a class later.
func TestInstallationWithoutADefaultStorageClass(t *testing.T) {
	c := bare(t, apiserver.Start)
	class := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "fast"}, Provisioner: "example.com/none"}
	c.create(t, class)
	install := []string{
		"install", "sallyport", folder, "--create-namespace", "--values", "testdata/values/default.yaml", "--dry-run=server",
	}
	const says = "set redis.bundled.storage.storageClassName to one of fast"
	if _, err := c.helm(t, install...); err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("helm install: %v, want it to say %q", err, says)
	}
	c.does(t, append(install, "--set", "redis.bundled.storage.storageClassName=fast")...)
	before := class.DeepCopy()
	class.Annotations = map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}
	if err := c.Client.Patch(t.Context(), class, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	c.does(t, install...)
}
