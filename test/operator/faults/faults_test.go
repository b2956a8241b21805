// Package faults_test breaks what the operator stands on, and the operator itself, on
// a real API server: nothing may be lost, nothing may open, and pods that no policy
// selects may notice nothing.
//
// It may import the test helpers. It must never reach into the operator.
package faults_test

import (
	"os"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport/sallyport/test/operator"
)

func TestMain(m *testing.M) { os.Exit(operator.Main(m)) }

func exists(c *operator.Cluster, key string) bool { return c.Redis.Do("EXISTS", key) == int64(1) }

func metaOf(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}
