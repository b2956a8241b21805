package policy

import (
	"encoding/json"
	"reflect"
	"slices"
)

// SpecFields lists every field that the decoder knows in a manifest's spec, each
// with what it must be.
func SpecFields() []string {
	var out []string
	listFields(reflect.TypeFor[manifestSpec](), "spec", &out)
	slices.Sort(out)
	return out
}

func listFields(t reflect.Type, path string, out *[]string) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[Port]():
		*out = append(*out, path+" number or text")
	case t.Kind() == reflect.Interface:
		*out = append(*out, path+" anything")
	case reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()), t.Kind() == reflect.String:
		*out = append(*out, path+" text")
	case t.Kind() == reflect.Bool:
		*out = append(*out, path+" true or false")
	case t.Kind() == reflect.Slice:
		listFields(t.Elem(), path+"[]", out)
	case t.Kind() == reflect.Map:
		listFields(t.Elem(), path+"{}", out)
	case t.Kind() == reflect.Struct:
		for name, index := range fieldsOf(t) {
			listFields(t.FieldByIndex(index).Type, path+"."+name, out)
		}
	default:
		*out = append(*out, path+" number")
	}
}
