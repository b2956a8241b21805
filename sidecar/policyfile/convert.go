package policyfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"

	"github.com/sallyport/sallyport/api/policy"
)

// maxDepth bounds how deep a document nests once its aliases are followed,
// which also ends an alias that holds itself.
const maxDepth = 64

// toJSON converts the one YAML document in data. Names that are written twice
// stay so, for api/policy to report them with their paths.
func toJSON(data []byte) (out []byte, err error) {
	// The parser is not ours, and a file that crashes it must not take the
	// door down with it.
	defer func() {
		if r := recover(); r != nil {
			out, err = nil, fmt.Errorf("reading YAML: the parser failed: %v", r)
		}
	}()
	root, err := onlyDocument(data)
	if err != nil {
		return nil, err
	}
	var c converter
	if err := c.value(root, 0); err != nil {
		return nil, err
	}
	return c.out.Bytes(), nil
}

// onlyDocument parses the stream and wants one document in it, empty ones
// aside: editors and generators leave "---" at either end.
func onlyDocument(data []byte) (*yaml.Node, error) {
	var only *yaml.Node
	for dec := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var doc yaml.Node
		err := dec.Decode(&doc)
		switch {
		case errors.Is(err, io.EOF) && only == nil:
			return nil, errors.New("reading YAML: the file is empty; write one MFAPolicy manifest")
		case errors.Is(err, io.EOF):
			return only, nil
		case err != nil:
			return nil, fmt.Errorf("reading YAML: %w", err)
		case len(doc.Content) == 0 || isEmpty(doc.Content[0]):
		case only != nil:
			return nil, fmt.Errorf("reading YAML: line %d: the file holds several documents; "+
				"keep the one MFAPolicy manifest that this sidecar obeys", doc.Content[0].Line)
		default:
			only = doc.Content[0]
		}
	}
}

func isEmpty(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" && n.Value == ""
}

// converter writes JSON. What it writes is bounded, so that aliases of aliases
// cannot make much of little.
type converter struct{ out bytes.Buffer }

func (c *converter) value(n *yaml.Node, depth int) error {
	if depth > maxDepth {
		return fault(n, "the document nests too deep")
	}
	if c.out.Len() > policy.MaxManifest {
		return fault(n, "the document is too large once its aliases are followed")
	}
	switch n.Kind {
	case yaml.MappingNode:
		return c.mapping(n, depth)
	case yaml.SequenceNode:
		return c.sequence(n, depth)
	case yaml.AliasNode:
		return c.value(n.Alias, depth+1)
	case yaml.ScalarNode:
		return c.scalar(n)
	default:
		return fault(n, "this cannot stand in a manifest")
	}
}

func (c *converter) mapping(n *yaml.Node, depth int) error {
	if n.ShortTag() != "!!map" {
		return fault(n, "the tag %q means nothing here; remove it", n.Tag)
	}
	c.out.WriteByte('{')
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" {
			return fault(n.Content[i], "a field's name must be text; put it in quotes (merge keys, \"<<\", are not supported)")
		}
		if i > 0 {
			c.out.WriteByte(',')
		}
		if err := c.scalar(key); err != nil {
			return err
		}
		c.out.WriteByte(':')
		if err := c.value(n.Content[i+1], depth+1); err != nil {
			return err
		}
	}
	c.out.WriteByte('}')
	return nil
}

func (c *converter) sequence(n *yaml.Node, depth int) error {
	if n.ShortTag() != "!!seq" {
		return fault(n, "the tag %q means nothing here; remove it", n.Tag)
	}
	c.out.WriteByte('[')
	for i, item := range n.Content {
		if i > 0 {
			c.out.WriteByte(',')
		}
		if err := c.value(item, depth+1); err != nil {
			return err
		}
	}
	c.out.WriteByte(']')
	return nil
}

// scalar follows YAML 1.2, where "yes" and "on" are text: a cluster's tools may
// read them as true, and api/policy asks for a clear word where they differ.
func (c *converter) scalar(n *yaml.Node) error {
	var v any
	switch tag := n.ShortTag(); tag {
	case "!!str", "!!timestamp":
		v = n.Value
	case "!!null", "!!bool", "!!int", "!!float":
		if err := n.Decode(&v); err != nil {
			return fault(n, "this is no value of type %s", tag)
		}
	default:
		return fault(n, "the tag %q means nothing here; remove it", n.Tag)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fault(n, "this number has no place in a manifest; write a finite one")
	}
	c.out.Write(b)
	return nil
}

func fault(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("reading YAML: line %d: %s", n.Line, fmt.Sprintf(format, args...))
}
