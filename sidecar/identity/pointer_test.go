package identity_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/sidecar/identity"
)

// The document and most pointers are those of RFC 6901, section 5.
const pointerDocument = `{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8,
	"user":{"id":"u1","none":null,"01":"key"},"list":[{"id":9}]}`

func TestPointer(t *testing.T) {
	var document any
	if err := json.Unmarshal([]byte(pointerDocument), &document); err != nil {
		t.Fatal(err)
	}
	for pointer, want := range map[string]string{
		"/foo": `["bar","baz"]`, "/foo/0": `"bar"`, "/foo/1": `"baz"`, "/": "0", "/a~1b": "1", "/c%d": "2", "/e^f": "3",
		"/g|h": "4", `/i\j`: "5", `/k"l`: "6", "/" + " ": "7", "/m~0n": "8", "/user/id": `"u1"`, "/user/none": "null",
		"/user/01": `"key"`, "/list/0/id": "9",
	} {
		p, err := identity.ParsePointer(pointer)
		if err != nil {
			t.Fatalf("%q: %v", pointer, err)
		}
		got, ok := p.Lookup(document)
		text, _ := json.Marshal(got)
		if !ok || string(text) != want {
			t.Errorf("%q points at %s, %t; want %s", pointer, text, ok, want)
		}
	}
	for _, nowhere := range []string{
		"/foo/2", "/foo/-", "/foo/00", "/foo/01", "/foo/+1", "/foo/-1", "/foo/0/x", "/bar", "/user/none/x",
		"/foo/", "/foo/99999999999999999999", "//",
	} {
		p, err := identity.ParsePointer(nowhere)
		if err != nil {
			t.Fatalf("%q: %v", nowhere, err)
		}
		if got, ok := p.Lookup(document); ok {
			t.Errorf("%q points at %v, want nowhere", nowhere, got)
		}
	}
	if got, ok := (identity.Pointer{}).Lookup(document); !ok || got == nil {
		t.Error("the zero pointer does not point at the document")
	}
}

func TestParsePointerRefusesWhatIsNone(t *testing.T) {
	for _, text := range []string{"foo", "#/foo", "/~", "/a~2b", "/a~", "/~~0"} {
		if _, err := identity.ParsePointer(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func FuzzPointer(f *testing.F) {
	for _, seed := range []string{"", "/foo/0", "/a~1b", "/m~0n", "~", "/~2", "/foo/-", "/ / ", "foo"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, text, key string) {
		if p, err := identity.ParsePointer(text); err == nil {
			p.Lookup(map[string]any{key: []any{key}})
			p.Lookup([]any{map[string]any{key: key}})
			if text != "" && text[0] != '/' {
				t.Fatalf("%q was accepted", text)
			}
		}
		// Every key can be pointed at.
		escaped := "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
		p, err := identity.ParsePointer(escaped)
		if err != nil {
			t.Fatalf("%q: %v", escaped, err)
		}
		if got, ok := p.Lookup(map[string]any{key: "here"}); !ok || got != "here" {
			t.Fatalf("%q does not point at the key %q", escaped, key)
		}
	})
}
