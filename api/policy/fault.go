package policy

import (
	"fmt"
	"strconv"
	"strings"
)

// Fault is one thing that is wrong with a manifest or with its rules.
//
// +kubebuilder:object:generate=false
type Fault struct {
	// Path of the field, such as "spec.identity.endpoint.cookies[1]"; "" means
	// the document itself.
	Path string
	// Message says what is wrong and what to write instead, on one line.
	Message string
}

// String is the path and the message, on one line.
func (f Fault) String() string {
	if f.Path == "" {
		return f.Message
	}
	return f.Path + ": " + f.Message
}

// Faults is every fault of one document. It is an error when it is not empty:
// return it through Err.
//
// +kubebuilder:object:generate=false
type Faults []Fault

// Error is one line per fault.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].String()
	}
	return strings.Join(lines, "\n")
}

// Err is nil where there is no fault, so that an empty list never becomes a
// non-nil error.
func (f Faults) Err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// maxMessage bounds a fault's message: what a manifest says is quoted in it,
// and may be long.
const maxMessage = 400

func (f *Faults) add(path, format string, args ...any) {
	*f = append(*f, Fault{Path: path, Message: shorten(fmt.Sprintf(format, args...), maxMessage)})
}

// quote renders what a manifest says for a message: escaped, and short.
func quote(s string) string { return strconv.Quote(shorten(s, 80)) }

// shorten cuts s to at most limit runes.
func shorten(s string, limit int) string {
	n := 0
	for i := range s {
		if n == limit {
			return s[:i] + "…"
		}
		n++
	}
	return s
}

// inside says whether the fault's field is one of fields, or lies in one.
func (f Fault) inside(fields map[string]bool) bool {
	for i, c := range f.Path {
		if (c == '.' || c == '[') && fields[f.Path[:i]] {
			return true
		}
	}
	return fields[f.Path]
}
