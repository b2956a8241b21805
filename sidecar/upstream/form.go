package upstream

import (
	"fmt"
	"io"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// form is a sign-in form as the app's page holds it.
type form struct {
	// action is a path of the app, with its query.
	action string
	// fields are the hidden and pre-filled ones.
	fields url.Values
}

// findForm returns the first form that has a field of the given name. Its action
// is resolved against the page's path and never leaves the app.
func findForm(page io.Reader, path, field string) (form, bool, error) {
	root, err := html.Parse(page)
	if err != nil {
		return form{}, false, fmt.Errorf("parse the page: %w", err)
	}
	for node := range root.Descendants() {
		if node.Type != html.ElementNode || node.Data != "form" {
			continue
		}
		fields, ok := readFields(node, field)
		if !ok {
			continue
		}
		action, err := resolveAction(path, attribute(node, "action"))
		if err != nil {
			return form{}, false, err
		}
		return form{action: action, fields: fields}, true, nil
	}
	return form{}, false, nil
}

func readFields(node *html.Node, wanted string) (fields url.Values, found bool) {
	fields = url.Values{}
	for input := range node.Descendants() {
		if input.Type != html.ElementNode || input.Data != "input" {
			continue
		}
		name := attribute(input, "name")
		found = found || name == wanted
		switch strings.ToLower(attribute(input, "type")) {
		case "checkbox", "radio", "submit", "image", "button", "reset", "file":
			continue
		}
		if name != "" {
			fields.Add(name, attribute(input, "value"))
		}
	}
	return fields, found
}

func resolveAction(path, action string) (string, error) {
	base, err := url.Parse(path)
	if err != nil {
		return "", fmt.Errorf("read the path of the sign-in page: %w", err)
	}
	ref, err := url.Parse(strings.TrimSpace(action))
	if err != nil {
		return "", fmt.Errorf("read the action of the sign-in form: %w", err)
	}
	target := base.ResolveReference(ref)
	return (&url.URL{Path: target.Path, RawPath: target.RawPath, RawQuery: target.RawQuery}).String(), nil
}

func attribute(node *html.Node, name string) string {
	for _, a := range node.Attr {
		if a.Namespace == "" && a.Key == name {
			return a.Val
		}
	}
	return ""
}
