package appconn

import (
	"bufio"
	"net/http"
	"net/textproto"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// writeHead writes a request that is a head and nothing else, byte for byte as
// Request.Write does, but for the order of headers: Request.Write sorts them, and
// that alone costs as much as all the rest of it. Where it could come to more than
// that, nothing is written and ok is false. R is plain, so its headers may be
// written as they are.
//
// An error of w is for whoever flushes it.
func writeHead(w *bufio.Writer, r *http.Request, over http.Header) (ok bool) {
	if !headOnly(r, over) || !plainHost(r.Host) {
		return false
	}
	target := r.URL.RequestURI()
	if !plainTarget(target) {
		return false
	}
	writeAll(w, r.Method, " ", target, " HTTP/1.1\r\nHost: ", r.Host, "\r\n")
	writeHeader(w, r.Header, over)
	writeHeader(w, over, nil)
	writeAll(w, "\r\n")
	return true
}

// writeHeader writes the headers in h that over does not replace.
func writeHeader(w *bufio.Writer, h, over http.Header) {
	for name, values := range h {
		if _, ok := over[name]; ok {
			continue
		}
		switch name {
		case "Host", "Content-Length": // the request itself says both
			continue
		case "User-Agent": // one, and none at all rather than an empty one
			if len(values) == 0 || values[0] == "" {
				continue
			}
			values = values[:1]
		}
		for _, value := range values {
			writeAll(w, name, ": ", textproto.TrimString(value), "\r\n")
		}
	}
}

func writeAll(w *bufio.Writer, parts ...string) {
	for _, part := range parts {
		_, _ = w.WriteString(part)
	}
}

// headOnly tells whether nothing stands behind the head of r, and nothing in it says so.
func headOnly(r *http.Request, over http.Header) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodDelete, http.MethodOptions:
	default:
		return false // a length of 0 would be told
	}
	// net/http has a name of its own for those without.
	return named(r, over, "User-Agent") && !uploads(r) && len(r.TransferEncoding) == 0
}

// plainHost tells whether a host may be written as it is: it is one, and has no zone,
// which concerns this machine alone.
func plainHost(host string) bool {
	return host != "" && !strings.Contains(host, "%") && httpguts.ValidHostHeader(host)
}

// plainTarget tells whether a target ends where its line has it end.
func plainTarget(target string) bool {
	for i := range len(target) {
		if target[i] < ' ' || target[i] == 0x7f {
			return false
		}
	}
	return true
}
