package policy

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
)

// decodeStrict fills out, a pointer to a struct, from a JSON value. Names must
// be spelt exactly; unknown ones and values of a wrong type are faults, all of
// which it reports. What is at fault stays as it was.
func decodeStrict(n *node, out any, path string) Faults {
	d := &strictDecoder{}
	d.value(n, reflect.ValueOf(out).Elem(), path)
	return d.faults
}

type strictDecoder struct{ faults Faults }

func (d *strictDecoder) value(n *node, v reflect.Value, path string) {
	if v.Kind() == reflect.Interface {
		return // "any" marks what is accepted and means nothing here
	}
	if n.kind == kindNull {
		d.faults.add(path, "is empty; give it a value or remove the field")
		return
	}
	if u, ok := reflect.TypeAssert[json.Unmarshaler](v.Addr()); ok {
		if err := u.UnmarshalJSON(n.scalarJSON()); err != nil {
			d.faults.add(path, "%s", err)
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		target := reflect.New(v.Type().Elem())
		before := len(d.faults)
		d.value(n, target.Elem(), path)
		// A scalar that cannot be read leaves no pointer to nothing behind,
		// so that defaults apply; a block stays, for its other fields' sake.
		if n.kind == kindObject || len(d.faults) == before {
			v.Set(target)
		}
	case reflect.Struct:
		d.object(n, v, path)
	case reflect.Map:
		d.dictionary(n, v, path)
	case reflect.Slice:
		d.list(n, v, path)
	default:
		d.scalar(n, v, path)
	}
}

func (d *strictDecoder) object(n *node, v reflect.Value, path string) {
	if !d.expect(n, kindObject, path) {
		return
	}
	fields := fieldsOf(v.Type())
	for _, m := range n.members {
		index, ok := fields[m.name]
		if !ok {
			d.unknown(m.name, fields, path)
			continue
		}
		d.value(m.value, v.FieldByIndex(index), child(path, m.name))
	}
}

func (d *strictDecoder) unknown(name string, fields map[string][]int, path string) {
	names := make([]string, 0, len(fields))
	for field := range fields {
		names = append(names, field)
	}
	if near := nearest(name, names); near != "" {
		d.faults.add(child(path, name), "is not a field; did you mean %q?", near)
		return
	}
	d.faults.add(child(path, name), "is not a field; remove it")
}

func (d *strictDecoder) dictionary(n *node, v reflect.Value, path string) {
	if !d.expect(n, kindObject, path) {
		return
	}
	out := reflect.MakeMapWithSize(v.Type(), len(n.members))
	for _, m := range n.members {
		value := reflect.New(v.Type().Elem()).Elem()
		d.value(m.value, value, child(path, m.name))
		out.SetMapIndex(reflect.ValueOf(m.name), value)
	}
	v.Set(out)
}

func (d *strictDecoder) list(n *node, v reflect.Value, path string) {
	if !d.expect(n, kindList, path) {
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
	for i, item := range n.items {
		d.value(item, out.Index(i), element(path, i))
	}
	v.Set(out)
}

func (d *strictDecoder) scalar(n *node, v reflect.Value, path string) {
	switch {
	case v.Kind() == reflect.String:
		if d.expect(n, kindText, path) {
			v.SetString(n.text)
		}
	case v.Kind() == reflect.Bool:
		if d.expect(n, kindBool, path) {
			v.SetBool(n.yes)
		}
	case v.CanInt():
		if !d.expect(n, kindNumber, path) {
			return
		}
		i, err := strconv.ParseInt(n.text, 10, v.Type().Bits())
		if err != nil {
			d.faults.add(path, "%s is not a whole number of a sensible size; write one such as 200", shorten(n.text, 40))
			return
		}
		v.SetInt(i)
	default:
		// No field has such a type today. One that gets it must not pass unread.
		d.faults.add(path, "cannot be read")
	}
}

func (d *strictDecoder) expect(n *node, want kind, path string) bool {
	if n.kind == want {
		return true
	}
	hint := ""
	switch {
	case want == kindText && (n.kind == kindNumber || n.kind == kindBool):
		hint = "; put it in quotes"
	case want == kindList && n.kind != kindObject:
		hint = "; write it in brackets, such as [a, b]"
	}
	d.faults.add(path, "must be %s, not %s%s", want, n.kind, hint)
	return false
}

// scalarJSON is the value for an Unmarshaler. Those of this package read
// scalars only, so that all they need of a list or an object is that it is one.
func (n *node) scalarJSON() []byte {
	switch n.kind {
	case kindText:
		return jsonText(n.text)
	case kindNumber:
		return []byte(n.text)
	case kindBool:
		return strconv.AppendBool(nil, n.yes)
	case kindList:
		return []byte("[]")
	default:
		return []byte("{}")
	}
}

func jsonText(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil { // a string always has a JSON form
		return []byte(`""`)
	}
	return b
}

// fieldsOf maps the JSON names of a struct's fields, those of embedded structs
// included, to where they are.
func fieldsOf(t reflect.Type) map[string][]int {
	fields := make(map[string][]int)
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" && f.IsExported() {
			fields[name] = f.Index
		}
	}
	return fields
}
