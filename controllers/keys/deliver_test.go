package keys_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/controllers/keys"
	"github.com/sallyport/sallyport/sidecar/redisstore"
)

func TestFromSecret(t *testing.T) {
	t.Parallel()
	got, err := keys.FromSecret(map[string][]byte{
		"url": []byte("rediss://redis.data:6380\n"), "username": []byte("door"), "password": []byte("p#?w\r\n"),
		"ca.crt": []byte("CA"), "tls.crt": []byte("C"), "tls.key": []byte("K"), "server-name": []byte("redis"),
		"sentinel-username": []byte("su"), "sentinel-password": []byte("sp"),
		"wait-replicas": []byte("2\n"),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := redisstore.Document{
		URL: "rediss://redis.data:6380", Username: "door", Password: "p#?w", CA: "CA", Cert: "C", Key: "K",
		ServerName: "redis", SentinelUsername: "su", SentinelPassword: "sp", WaitReplicas: "2",
	}
	if *got != want {
		t.Error("the document is not what the Secret says") // which is not printed
	}
}

func TestFromSecretRefuses(t *testing.T) {
	t.Parallel()
	const canary = "canary-7f3a"
	for name, c := range map[string]struct {
		data map[string][]byte
		want string
	}{
		"nothing":                 {nil, "no key url"},
		"no url":                  {map[string][]byte{"password": []byte(canary)}, "no key url"},
		"an empty url":            {map[string][]byte{"url": []byte("\n")}, "url is empty"},
		"an empty password":       {map[string][]byte{"url": []byte(canary), "password": nil}, "password is empty"},
		"keys that mean nothing":  {map[string][]byte{"url": []byte(canary), "passwd": []byte(canary), "CA": []byte(canary)}, "CA, passwd; known are ca.crt"},
		"a zero byte":             {map[string][]byte{"url": []byte(canary + "\x00")}, "url is not text"},
		"bytes that are no text":  {map[string][]byte{"url": []byte(canary), "password": []byte(canary + "\xff")}, "password is not text"},
		"a value beyond bounds":   {map[string][]byte{"url": []byte(canary), "ca.crt": []byte(strings.Repeat(canary, 1<<15))}, "ca.crt is too large"},
		"a certificate alone":     {map[string][]byte{"url": []byte(canary), "tls.crt": []byte(canary)}, "come together"},
		"a key alone":             {map[string][]byte{"url": []byte(canary), "tls.key": []byte(canary)}, "come together"},
		"replicas that are none":  {map[string][]byte{"url": []byte(canary), "wait-replicas": []byte("canary-7f3a")}, "not one from 0 to 100"},
		"a Sentinel's user alone": {map[string][]byte{"url": []byte(canary), "sentinel-username": []byte(canary)}, "sentinel-password"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc, err := keys.FromSecret(c.data)
			if err == nil || doc != nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("FromSecret = %v, %v; want an error with %q", doc != nil, err, c.want)
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("the error quotes a value: %v", err)
			}
		})
	}
}

func FuzzFromSecret(f *testing.F) {
	f.Add("url", []byte("redis://r:6379"), "password", []byte("x"))
	f.Add("tls.crt", []byte("x"), "tls.key", []byte("y"))
	f.Fuzz(func(t *testing.T, k1 string, v1 []byte, k2 string, v2 []byte) {
		doc, err := keys.FromSecret(map[string][]byte{k1: v1, k2: v2})
		if err != nil {
			return
		}
		encoded, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		again, err := redisstore.ParseDocument(encoded)
		if err != nil || *again != *doc {
			t.Errorf("the sidecar reads another document: %v", err)
		}
	})
}

func TestSidecarSecretIsDeterministic(t *testing.T) {
	t.Parallel()
	content := map[string][]byte{"keys.json": []byte("k"), "redis.json": []byte("r"), "epochs.json": []byte("{}")}
	encode := func(version string) string {
		t.Helper()
		doc, err := json.Marshal(keys.SidecarSecret("acme", version, content))
		if err != nil {
			t.Fatal(err)
		}
		return string(doc)
	}
	want := `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"sallyport-sidecar","namespace":"acme",` +
		`"labels":{"app.kubernetes.io/managed-by":"sallyport"}},"data":{"epochs.json":"e30=","keys.json":"aw==","redis.json":"cg=="},"type":"Opaque"}`
	if diff := cmp.Diff(want, encode("")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := encode("7"); !strings.Contains(got, `"resourceVersion":"7"`) {
		t.Errorf("no precondition in %s", got)
	}
}

func TestARingNeverPrints(t *testing.T) {
	t.Parallel()
	ring := keys.Ring{Document: []byte("canary")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, ring) + fmt.Sprintf(verb, &ring); strings.Contains(got, "canary") || strings.Contains(got, "63616e") || strings.Contains(got, "99 97") {
			t.Errorf("%s prints %s", verb, got)
		}
	}
	if doc, err := json.Marshal(ring); err == nil {
		t.Errorf("it encodes to %s", doc)
	}
}
