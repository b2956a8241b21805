package policy

import "strings"

// CanonicalPath says whether every web server in the world reads the path
// alike: it starts with "/", and holds no escape ("%"), no empty segment
// ("//"), no segment that starts with a dot ("/."), none of ";", "\", "#" and
// "?", no space, no control character and nothing beyond ASCII.
//
// It is the one definition of canonical. Only such paths may stand in a policy,
// and only requests for such paths are ever exempt: what the sidecar and the
// app could read differently must not decide anything.
func CanonicalPath(p string) bool { return pathProblem(p) == "" }

// pathProblem says what keeps a path from being canonical, "" for nothing.
func pathProblem(p string) string {
	if p == "" {
		return "is empty"
	}
	if p[0] != '/' {
		return `does not start with "/"`
	}
	for i := range len(p) {
		switch c := p[i]; {
		case c <= ' ' || c > '~':
			return "holds a space, a control character or a character beyond ASCII"
		case c == '%':
			return `holds an escape ("%")`
		case c == ';' || c == '\\' || c == '#' || c == '?':
			return holdsByte(c)
		case c != '/' || i+1 == len(p):
		case p[i+1] == '/':
			return `holds an empty segment ("//")`
		case p[i+1] == '.':
			return `holds a segment that starts with a dot ("/.")`
		}
	}
	return ""
}

// holdsByte names a forbidden byte without building a string: CanonicalPath
// runs for every request.
func holdsByte(c byte) string {
	switch c {
	case ';':
		return `holds ";"`
	case '#':
		return `holds "#"`
	case '?':
		return `holds "?"`
	default:
		return `holds "\"`
	}
}

// within says whether path is dir itself or lies below it.
func within(path, dir string) bool {
	rest, ok := strings.CutPrefix(path, dir)
	return ok && (rest == "" || rest[0] == '/')
}
