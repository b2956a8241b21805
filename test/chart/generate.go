// Package chart writes what the chart takes from elsewhere: the CRD and the rights from
// config/, and the table of the README from values.yaml. Its tests hold the chart to
// what Helm and a real API server make of it.
//
// It serves the chart's generator and tests only, and imports nothing of ours.
package chart

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// Folder is the chart's, below the module's.
	Folder = "charts/sallyport"

	crdSources = "config/crd/bases"
	begin      = "<!-- begin: written from values.yaml by make manifests -->\n"
	end        = "<!-- end -->\n"
	labels     = "  labels:\n    {{- include \"sallyport.labels\" . | nindent 4 }}\n"
)

// rbacSources are in the order of the template.
var rbacSources = []string{
	"service_account.yaml", "role.yaml", "role_binding.yaml", "mfapolicy_editor_role.yaml", "mfapolicy_viewer_role.yaml",
	"mfareset_editor_role.yaml", "mfaticket_editor_role.yaml",
}

// Generate returns the files of the chart that are derived, by their path below root,
// the module's folder.
func Generate(root string) (map[string][]byte, error) {
	files := make(map[string][]byte)
	for name, generate := range map[string]func(string) ([]byte, error){
		"templates/crd.yaml": crd, "templates/rbac.yaml": rbac, "README.md": readme,
	} {
		content, err := generate(root)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		files[filepath.Join(Folder, name)] = content
	}
	return files, nil
}

func read(root, path string) (string, error) {
	content, err := os.ReadFile(filepath.Join(root, path))
	return strings.TrimPrefix(string(content), "---\n"), err
}

// crd is the CRDs as a template, for Helm upgrades nothing in the folder crds/. They
// stay when the chart goes, and every policy with them.
func crd(root string) ([]byte, error) {
	names, err := filepath.Glob(filepath.Join(root, crdSources, "*.yaml"))
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	out.WriteString("{{- /* Written from " + crdSources + " by make manifests. */ -}}\n{{- if .Values.crd.install }}\n")
	for i, name := range names {
		source, err := read(root, filepath.Join(crdSources, filepath.Base(name)))
		if err != nil {
			return nil, err
		}
		const annotations = "  annotations:\n"
		if strings.Count(source, annotations) != 1 {
			return nil, fmt.Errorf("%s has its annotations elsewhere than it had", filepath.Base(name))
		}
		if i > 0 {
			out.WriteString("---\n")
		}
		out.WriteString(strings.Replace(literal(source), annotations, labels+annotations+"    helm.sh/resource-policy: keep\n", 1))
	}
	out.WriteString("{{- end }}\n")
	return []byte(out.String()), nil
}

// rbac is config/rbac as a template, in the release's namespace.
func rbac(root string) ([]byte, error) {
	var out strings.Builder
	out.WriteString("{{- /* Written from config/rbac by make manifests. */ -}}\n")
	for i, name := range rbacSources {
		source, err := read(root, "config/rbac/"+name)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out.WriteString("---\n")
		}
		source = strings.ReplaceAll(literal(source), "\nmetadata:\n", "\nmetadata:\n"+labels)
		out.WriteString(strings.ReplaceAll(source, "namespace: sallyport-system\n", "namespace: {{ .Release.Namespace }}\n"))
	}
	return []byte(out.String()), nil
}

// literal keeps what reads like a template from being one.
func literal(source string) string { return strings.ReplaceAll(source, "{{", `{{ "{{" }}`) }

// readme is the README with its table of values written anew.
func readme(root string) ([]byte, error) {
	text, err := read(root, Folder+"/README.md")
	if err != nil {
		return nil, err
	}
	before, rest, found := strings.Cut(text, begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		return nil, errors.New("it has no marks between which the table of values belongs")
	}
	values, err := os.ReadFile(filepath.Join(root, Folder, "values.yaml"))
	if err != nil {
		return nil, err
	}
	table, err := Table(values)
	if err != nil {
		return nil, err
	}
	return []byte(before + begin + table + end + after), nil
}

// Value is one value of the chart, as its comment has it.
type Value struct {
	// Section is the heading that it stands under, Path its keys, Default as written.
	Section, Path, Default string
	// Comment is what the comment above it says, after what is said above its parents.
	Comment string
	// Own reports whether it has a comment itself.
	Own bool
}

// Values are the values of a commented file, in its order. A mapping whose keys have no
// comments is one value.
func Values(source []byte) ([]Value, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(source, &document); err != nil {
		return nil, err
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("it is not one mapping")
	}
	w := walker{}
	if err := w.walk(document.Content[0], nil, ""); err != nil {
		return nil, err
	}
	return w.values, nil
}

type walker struct {
	section string
	values  []Value
}

func (w *walker) walk(mapping *yaml.Node, path []string, said string) error {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		comment := comment(key)
		own := comment != ""
		if heading, ok := strings.CutPrefix(comment, "-- "); ok {
			w.section, comment = heading, ""
		}
		comment = strings.TrimSpace(said + " " + comment)
		path := append(slices.Clip(path), key.Value)
		if value.Kind == yaml.MappingNode && commented(value) {
			if err := w.walk(value, path, comment); err != nil {
				return err
			}
			continue
		}
		written, err := inline(value)
		if err != nil {
			return err
		}
		w.values = append(w.values, Value{Section: w.section, Path: strings.Join(path, "."), Default: written, Comment: comment, Own: own})
	}
	return nil
}

// comment is the paragraph right above a key.
func comment(key *yaml.Node) string {
	paragraphs := strings.Split(key.HeadComment, "\n\n")
	lines := strings.Split(paragraphs[len(paragraphs)-1], "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(strings.TrimPrefix(line, "#"))
	}
	return strings.Join(lines, " ")
}

// commented reports whether something below says what it is.
func commented(mapping *yaml.Node) bool {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if comment(mapping.Content[i]) != "" || mapping.Content[i+1].Kind == yaml.MappingNode && commented(mapping.Content[i+1]) {
			return true
		}
	}
	return false
}

// inline is a value on one line.
func inline(value *yaml.Node) (string, error) {
	bare := *value
	bare.HeadComment, bare.LineComment, bare.FootComment = "", "", ""
	flow(&bare)
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	if err := encoder.Encode(&bare); err != nil {
		return "", err
	}
	return strings.Join(strings.Fields(out.String()), " "), nil
}

func flow(node *yaml.Node) {
	if node.Kind == yaml.MappingNode || node.Kind == yaml.SequenceNode {
		node.Style = yaml.FlowStyle
	}
	for _, child := range node.Content {
		flow(child)
	}
}

// Table is the values as Markdown, a table for each section.
func Table(source []byte) (string, error) {
	values, err := Values(source)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	section := ""
	for _, v := range values {
		if v.Section != section {
			section = v.Section
			fmt.Fprintf(&out, "\n### %s\n\n| value | default | meaning |\n| --- | --- | --- |\n", section)
		}
		fmt.Fprintf(&out, "| `%s` | `%s` | %s |\n", v.Path, v.Default, strings.ReplaceAll(v.Comment, "|", `\|`))
	}
	return out.String() + "\n", nil
}
