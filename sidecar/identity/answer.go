package identity

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"

	"github.com/sallyport/sallyport/api/policy"
)

// maxPage is how long a page may be. It holds menus and more beside the user.
const maxPage = 256 << 10

func (e *Endpoint) accept() string {
	if e.format == policy.AnswerForm {
		return "text/html"
	}
	return "application/json"
}

func (e *Endpoint) limit() int64 {
	if e.format == policy.AnswerForm {
		return maxPage
	}
	return maxAnswer
}

// readable reports whether the answer is of the kind that was asked for.
func (e *Endpoint) readable(h http.Header) bool {
	if encoding := h.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return false
	}
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return false
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return false
	}
	if e.format == policy.AnswerForm {
		return kind == "text/html"
	}
	return kind == "application/json" || strings.HasSuffix(kind, "+json")
}

// decode reads an answer into what the pointers lead into.
func (e *Endpoint) decode(body []byte) (any, error) {
	if e.format != policy.AnswerForm {
		document, err := decodeJSON(body)
		if err != nil {
			return nil, errors.New("the app's answer is not a JSON document")
		}
		return document, nil
	}
	return decodeForms(body)
}

// inert are the types of input whose value says nothing about the user: it is the
// same whoever asks, or is what somebody would type.
var inert = []string{"checkbox", "radio", "submit", "image", "button", "reset", "file", "password"}

// decodeForms reads the values that a page's forms are filled in with: a field that
// is there once is a string, one that is there more often a list. A page is made
// for people, and what other users wrote may be on it; as text it is never a field,
// and a field that somebody managed to add beside the app's own makes a list of
// both, of which no subject is read.
func decodeForms(body []byte) (any, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("the app's page is not UTF-8")
	}
	root, err := html.Parse(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("read the app's page: %w", err)
	}
	fields := map[string]any{}
	for node := range root.Descendants() {
		name, value := readInput(node)
		if name == "" {
			continue
		}
		switch before := fields[name].(type) {
		case nil:
			fields[name] = value
		case string:
			fields[name] = []any{before, value}
		case []any:
			fields[name] = append(before, value)
		}
	}
	return fields, nil
}

// readInput returns a field's name and value, "" for what is none.
func readInput(node *html.Node) (name, value string) {
	if node.Type != html.ElementNode || node.Data != "input" || node.Namespace != "" {
		return "", ""
	}
	for _, a := range node.Attr {
		switch a.Key {
		case "name":
			name = a.Val
		case "value":
			value = a.Val
		case "type":
			if slices.Contains(inert, strings.ToLower(a.Val)) {
				return "", ""
			}
		}
	}
	return name, value
}
