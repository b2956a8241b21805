package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds how deep a document nests. Rules nest 6 deep; what API
// servers add to metadata nests deeper.
const maxDepth = 64

// kind of a JSON value.
type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindNumber
	kindText
	kindList
	kindObject
)

// String names the kind as a person who writes YAML would.
func (k kind) String() string {
	return [...]string{"null", "true or false", "a number", "text", "a list", "an object"}[k]
}

// node is a JSON value with its members in order and their names as they are
// written: encoding/json ignores case and lets the last duplicate win, and both
// would let two readers of one manifest see different rules.
type node struct {
	kind    kind
	text    string // of a text or, as it is written, of a number
	yes     bool
	items   []*node
	members []member
}

type member struct {
	name  string
	value *node
}

// member returns the value of a name, nil where there is none.
func (n *node) member(name string) *node {
	for _, m := range n.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// parseJSON reads exactly one JSON document. A syntax error ends it with a nil
// node; duplicate names are faults, of which it reports every one.
func parseJSON(doc []byte, path string) (*node, Faults) {
	var f Faults
	if !utf8.Valid(doc) {
		f.add(path, "is not UTF-8; save the document as UTF-8")
		return nil, f
	}
	// The decoder below reads token by token and would not see what follows
	// the document, so that its grammar is checked as a whole first.
	var whole json.RawMessage
	if err := json.Unmarshal(doc, &whole); err != nil {
		f.add(path, "is not JSON: %s", syntaxMessage(doc, err))
		return nil, f
	}
	p := &parser{dec: json.NewDecoder(bytes.NewReader(doc)), faults: &f}
	p.dec.UseNumber()
	n, err := p.value(path, 0)
	if err != nil {
		f.add(path, "is not JSON: %s", err)
		return nil, f
	}
	return n, f
}

// syntaxMessage says on which line of the document the error is.
func syntaxMessage(doc []byte, err error) string {
	syntax, ok := errors.AsType[*json.SyntaxError](err)
	if !ok {
		return err.Error()
	}
	before := doc[:min(max(syntax.Offset-1, 0), int64(len(doc)))]
	var f Faults
	f.add("", "line %d, column %d: %s", bytes.Count(before, []byte{'\n'})+1,
		len(before)-bytes.LastIndexByte(before, '\n'), syntax)
	return f[0].Message
}

type parser struct {
	dec    *json.Decoder
	faults *Faults
}

var errTooDeep = errors.New("it nests too deep")

func (p *parser) value(path string, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	t, err := p.dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '[' {
			return p.list(path, depth)
		}
		return p.object(path, depth)
	case string:
		return &node{kind: kindText, text: t}, nil
	case json.Number:
		return &node{kind: kindNumber, text: t.String()}, nil
	case bool:
		return &node{kind: kindBool, yes: t}, nil
	default:
		return &node{kind: kindNull}, nil
	}
}

func (p *parser) list(path string, depth int) (*node, error) {
	n := &node{kind: kindList}
	for p.dec.More() {
		item, err := p.value(element(path, len(n.items)), depth+1)
		if err != nil {
			return nil, err
		}
		n.items = append(n.items, item)
	}
	_, err := p.dec.Token() // "]"
	return n, err
}

func (p *parser) object(path string, depth int) (*node, error) {
	n := &node{kind: kindObject}
	seen := make(map[string]bool)
	for p.dec.More() {
		t, err := p.dec.Token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string) // the grammar allows nothing else here
		at := child(path, name)
		value, err := p.value(at, depth+1)
		if err != nil {
			return nil, err
		}
		if seen[name] {
			p.faults.add(at, "is written twice; keep one of them")
			continue
		}
		seen[name] = true
		n.members = append(n.members, member{name, value})
	}
	_, err := p.dec.Token() // "}"
	return n, err
}

// child is the path of a member. A name that would not read as one, or break
// the line, is quoted.
func child(path, name string) string {
	odd := func(c rune) bool {
		return !lowerAlphanumeric(c) && (c < 'A' || c > 'Z') && c != '_' && c != '-'
	}
	switch {
	case name == "" || len(name) > maxField || strings.ContainsFunc(name, odd):
		return path + "[" + quote(name) + "]"
	case path == "":
		return name
	default:
		return path + "." + name
	}
}
