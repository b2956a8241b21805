package probe_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/sidecar/probe"
)

const token = "a-token-of-a-hook"

var all = []probe.Probe{
	{Container: "web", Kind: probe.Readiness, TimeoutSeconds: 3, HTTPGet: &probe.HTTPGet{
		Path: "/ready?full=$(HOST)", Port: 8080, Scheme: "HTTPS", Host: "127.0.0.1",
		Headers: []probe.Header{{Name: "Host", Value: "app.example"}, {Name: "X-A", Value: ""}},
	}},
	{Container: "web", Kind: probe.Liveness, TCPSocket: &probe.TCPSocket{Port: 8080}},
	{Container: "api", Kind: probe.Startup, GRPC: &probe.GRPC{Port: 9090, Service: "notes.v1"}},
	{Container: "web", Kind: probe.PreStop, Token: token, HTTPGet: &probe.HTTPGet{Path: "/stop", Port: 8080}},
}

func TestEncodeIsCompactSortedAndSafeInArguments(t *testing.T) {
	t.Parallel()
	const want = `[{"container":"api","kind":"startup","grpc":{"port":9090,"service":"notes.v1"}},` +
		`{"container":"web","kind":"liveness","tcpSocket":{"port":8080}},` +
		`{"container":"web","kind":"preStop","token":"a-token-of-a-hook","httpGet":{"path":"/stop","port":8080}},` +
		`{"container":"web","kind":"readiness","timeoutSeconds":3,"httpGet":{"path":"/ready?full=\u0024(HOST)","port":8080,` +
		`"scheme":"HTTPS","host":"127.0.0.1","headers":[{"name":"Host","value":"app.example"},{"name":"X-A","value":""}]}}]`
	reversed := slices.Clone(all)
	slices.Reverse(reversed)
	for _, probes := range [][]probe.Probe{all, reversed} {
		got, err := probe.Encode(probes)
		if diff := cmp.Diff(want, string(got)); err != nil || diff != "" {
			t.Fatalf("Encode (%v):\n%s", err, diff)
		}
	}
	decoded, err := probe.Decode([]byte(want))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]probe.Probe{all[2], all[1], all[3], all[0]}, decoded); diff != "" {
		t.Errorf("Decode:\n%s", diff)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	http := func(fields string) string {
		return `[{"container":"web","kind":"liveness","httpGet":{"port":8080` + fields + `}}]`
	}
	one := func(fields string) string { return `[{"container":"web","kind":"liveness"` + fields + `}]` }
	const tcp = `,"tcpSocket":{"port":1}`
	headers := strings.Repeat(`{"name":"a","value":"b"},`, 65)
	for _, tc := range []struct{ name, document, want string }{
		{"what is no JSON", `[`, "read the probes"},
		{"an object", `{}`, "read the probes"},
		{"a second list", one(tcp) + `[]`, "something follows the list"},
		{"a field that is not known", one(tcp + `,"exec":{}`), `unknown field "exec"`},
		{"a document that is too long", one(tcp) + strings.Repeat(" ", 64<<10), "is the most"},
		{"a list that is too long", "[" + strings.Repeat("{},", 256) + "{}]", "257 probes"},
		{"a probe given twice", `[` + strings.Trim(one(tcp), "[]") + `,` + strings.Trim(one(tcp), "[]") + `]`, "given twice"},
		{"no container", `[{"kind":"liveness","tcpSocket":{"port":1}}]`, "container"},
		{"a container with a slash", `[{"container":"a/b","kind":"liveness","tcpSocket":{"port":1}}]`, "container"},
		{"a kind that is not known", `[{"container":"a","kind":"resize","tcpSocket":{"port":1}}]`, "kind"},
		{"a time before now", one(tcp + `,"timeoutSeconds":-1`), "timeoutSeconds"},
		{"no action", one(""), "write one of"},
		{"two actions", one(tcp + `,"grpc":{"port":1}`), "write one of"},
		{"a hook without a token", `[{"container":"a","kind":"preStop","httpGet":{"port":1}}]`, "token"},
		{"a hook with a short token", `[{"container":"a","kind":"preStop","token":"123456789012345","httpGet":{"port":1}}]`, "token"},
		{"a hook over TCP", `[{"container":"a","kind":"preStop","token":"` + token + `","tcpSocket":{"port":1}}]`, "hook"},
		{"a probe with a token", one(tcp + `,"token":"` + token + `"`), "token"},
		{"port 0", one(`,"tcpSocket":{"port":0}`), "port"},
		{"port 65536", one(`,"grpc":{"port":65536}`), "port"},
		{"a named port", one(`,"grpc":{"port":"web"}`), "read the probes"},
		{"another host over TCP", one(`,"tcpSocket":{"port":1,"host":"10.0.0.1"}`), "host"},
		{"another host over HTTP", http(`,"host":"metadata.internal"`), "host"},
		{"any address", http(`,"host":"0.0.0.0"`), "host"},
		{"a host that begins like loopback", http(`,"host":"127.0.0.1.example"`), "host"},
		{"a scheme in small letters", http(`,"scheme":"http"`), "scheme"},
		{"a path that is too long", http(`,"path":"` + strings.Repeat("/", 8<<10+1) + `"`), "path"},
		{"too many headers", http(`,"headers":[` + strings.TrimSuffix(headers, ",") + `]`), "headers"},
		{"a header that is two", http(`,"headers":[{"name":"A","value":"b\r\nC: d"}]`), "headers"},
		{"a header without a name", http(`,"headers":[{"name":"","value":"b"}]`), "headers"},
		{"a service that is too long", one(`,"grpc":{"port":1,"service":"` + strings.Repeat("a", 8<<10+1) + `"}`), "service"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if _, err := probe.Decode([]byte(tc.document)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Decode: %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestDecodeAcceptsLoopback(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"", "localhost", "127.0.0.1", "127.8.9.1", "::1"} {
		p := probe.Probe{Container: "a", Kind: probe.Liveness, TCPSocket: &probe.TCPSocket{Port: 1, Host: host}}
		if err := p.Validate(); err != nil {
			t.Errorf("host %q: %v", host, err)
		}
	}
}

// What is read can be written, and is then read as the same.
func FuzzDecode(f *testing.F) {
	for _, p := range all {
		document, err := json.Marshal([]probe.Probe{p})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(document)
	}
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, document []byte) {
		probes, err := probe.Decode(document)
		if err != nil {
			return
		}
		encoded, err := probe.Encode(probes)
		if err != nil {
			if len(document) < 8<<10 { // what is escaped grows sixfold at most
				t.Fatalf("Encode: %v", err)
			}
			return
		}
		if strings.Contains(string(encoded), "$") {
			t.Errorf("a dollar sign in %s", encoded)
		}
		again, err := probe.Decode(encoded)
		if err != nil {
			t.Fatalf("Decode what Encode wrote: %v", err)
		}
		encodedAgain, err := probe.Encode(again)
		if diff := cmp.Diff(string(encoded), string(encodedAgain)); err != nil || diff != "" {
			t.Errorf("Encode again (%v):\n%s", err, diff)
		}
	})
}
