package policyfile_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/policyfile"
)

// manifest is a valid manifest with the issuer given, and more lines of spec.
func manifest(issuer string, more ...string) string {
	return fmt.Sprintf(`apiVersion: mfa.sallyport.dev/v1alpha1
kind: MFAPolicy
metadata:
  name: portal
spec:
  selector: {matchLabels: {app: portal}}
  issuer: %s
  app: {port: 8080}
  identity: {type: Endpoint, endpoint: {}}
`, issuer) + strings.Join(more, "\n")
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLoadReadsYAMLAndJSONAlike(t *testing.T) {
	fromYAML, err := policyfile.Load(filepath.Join("testdata", "portal.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	fromJSON, err := policyfile.Load(filepath.Join("testdata", "portal.json"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fromJSON, fromYAML); diff != "" {
		t.Errorf("manifests (-JSON +YAML):\n%s", diff)
	}
	if fromYAML.Name != "portal" || fromYAML.Rules.Issuer != "Acme portal" || fromYAML.Rules.App.Port.Number != 8080 {
		t.Errorf("manifest is %+v", fromYAML)
	}
}

func TestDecodeAccepts(t *testing.T) {
	for name, doc := range map[string]string{
		"empty documents around the one": "---\n---\n" + manifest("Acme") + "\n---\n# nothing more\n---\n",
		"a byte order mark":              "\ufeff" + manifest("Acme"),
		"line ends of Windows":           strings.ReplaceAll(manifest("Acme"), "\n", "\r\n"),
		"an alias as a name":             manifest("Acme", "  workspace: &w portal\n  anonymous: Allow\n  branding: {productName: *w}"),
	} {
		t.Run(name, func(t *testing.T) {
			if m, err := policyfile.Decode([]byte(doc)); err != nil || m.Rules.Issuer != "Acme" {
				t.Errorf("got %+v, %v, want the manifest", m, err)
			}
		})
	}
}

// bomb is an alias of aliases of aliases: little to write, much to read.
func bomb(leaf string) string {
	var b strings.Builder
	b.WriteString("a0: &a0 " + leaf + "\n")
	for i := range 12 {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i), 9), ", "))
	}
	return b.String()
}

func TestDecodeRefuses(t *testing.T) {
	good := manifest("Acme")
	for _, tc := range []struct{ name, doc, want string }{
		{"nothing", "", "the file is empty"},
		{"only comments", "# nothing\n---\n", "the file is empty"},
		{"two documents", good + "\n---\n" + good, "line 12: the file holds several documents"},
		{"a second document of another kind", good + "\n---\nkind: Service\n", "several documents"},
		{"broken YAML", "kind: MFAPolicy\nspec:\n\tapp: 1\n", "line 3"},
		{"a broken second document", good + "\n---\n[", "line 12"},
		{"an unclosed list", "x: y\na: [b\n", "did not find expected"},
		{"an unknown alias", "a: *b\n", "unknown anchor"},
		{"a field twice", manifest("Acme", "  requireForAdmins: true", `  "requireForAdmins": false`), "spec.requireForAdmins: is written twice"},
		{"a merge key", manifest("Acme", "  session: {<<: {idle: 1m}}"), `line 10: a field's name must be text`},
		{"a number as a name", "1: 2\n", "line 1: a field's name must be text"},
		{"a list as a name", "? [a]\n: b\n", "a field's name must be text"},
		{"a list by alias as a name", "a: &a [b]\nc: {*a : d}\n", "line 2: a field's name must be text"},
		{"yes for true", manifest("Acme", "  requireForAdmins: yes"), "spec.requireForAdmins: must be true or false, not text"},
		{"a value left out", manifest("Acme", "  exempt:"), "spec.exempt: is empty"},
		{"a value that is no number", manifest("Acme", "  anonymous: .nan"), "line 10: this number has no place"},
		{"a tag", manifest("Acme", "  anonymous: !allow Allow"), `line 10: the tag "!allow" means nothing`},
		{"a tag on an object", manifest("Acme", "  session: !span {}"), `the tag "!span" means nothing`},
		{"a tag on a list", manifest("Acme", "  exempt: !set []"), `the tag "!set" means nothing`},
		{"binary", manifest("Acme", "  anonymous: !!binary QWxsb3c="), `the tag "!!binary" means nothing`},
		{"a value that belies its tag", manifest("Acme", "  requireForAdmins: !!bool perhaps"), "line 10: this is no value of type !!bool"},
		{"several faults at once", manifest("'a:b'", "  workspce: acme"), "did you mean \"workspace\"?\nspec.issuer"},
		{"a bomb of text", bomb("boom"), "too large once its aliases are followed"},
		{"a bomb of nothing", bomb("[]"), "too large once its aliases are followed"},
		{"an alias of itself", "a: &a [*a]\n", "nests too deep"},
		{"a deep document", "a: " + strings.Repeat("[", 1000) + strings.Repeat("]", 1000), "nests too deep"},
		{"a deeper document than the parser bears", strings.Repeat("[", 20000), "exceeded max depth"},
		{"too large a YAML file", good + strings.Repeat("#", policy.MaxManifest), "larger than 262144 bytes"},
		{"not UTF-8", "kind: \xff\n", "reading YAML"},
		{"broken JSON", "{\n\n\"kind\": \"MFAPolicy\",, }", "reading YAML: yaml: line 2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, err := policyfile.Decode([]byte(tc.doc))
			if m != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %+v and %q, want an error that holds %q", m, err, tc.want)
			}
		})
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		write(t, filepath.Join(dir, name), content)
		return filepath.Join(dir, name)
	}
	pipe := filepath.Join(dir, "pipe.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, path, want string }{
		{"a missing file", filepath.Join(dir, "missing.yaml"), "no such file"},
		{"a directory", dir, "not a regular file"},
		{"a pipe that nobody writes to", pipe, "not a regular file"},
		{"broken YAML", file("broken.yaml", "a: b\n\tc: d\n"), "broken.yaml: reading YAML: yaml: line 2"},
		{"invalid rules", file("invalid.yaml", manifest("'a:b'")), "invalid.yaml: spec.issuer: "},
		{"a large file", file("large.yaml", strings.Repeat("#\n", 1<<20)), "larger than 262144 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, err := policyfile.Load(tc.path)
			if m != nil || err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), tc.path) {
				t.Errorf("got %+v and %q, want an error that holds %q and the path", m, err, tc.want)
			}
		})
	}
	if _, err := policyfile.Load(filepath.Join(dir, "missing.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v, want fs.ErrNotExist", err)
	}
	if _, err := policyfile.Load(filepath.Join(dir, "invalid.yaml")); err != nil {
		if faults, ok := errors.AsType[policy.Faults](err); !ok || len(faults) != 1 {
			t.Errorf("error is %T %v, want one fault inside", err, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, name := range []string{"portal.yaml", "portal.json"} {
		b, err := fs.ReadFile(os.DirFS("testdata"), name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(manifest("Acme", "  exempt: [{prefix: /a/}]")))
	f.Add([]byte(bomb("x")))
	f.Add([]byte("a: &a {b: *a}\n---\n? x\n: !!float 1_0e3\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := policyfile.Decode(data)
		if (m == nil) == (err == nil) {
			t.Fatalf("got %+v and %v, want one of them", m, err)
		}
		if err != nil && strings.Contains(err.Error(), "the parser failed") {
			t.Errorf("the parser crashed: %v", err)
		}
		if m != nil && len(m.Rules.Validate()) > 0 {
			t.Errorf("decoded rules are invalid: %+v", m.Rules)
		}
	})
}
