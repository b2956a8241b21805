package server_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/sidecar/server"
	"github.com/sallyport/sallyport/test/stack"
)

// smuggling are bytes of a connection, as they stand: "{with}" and "{without}" are
// alice's cookies with and without the factor, "{hidden}" is a request without it
// for /hidden. They are followed by a request for /end, with the factor.
//
// want are the statuses of the answers, the one for /end included where the
// connection was still open for it. seen are the targets that reached the app, sorted.
var smuggling = []struct {
	name, bytes string
	want        []int
	seen        []string
}{
	{"one request", "GET /front HTTP/1.1\r\nHost: a\r\n{with}\r\n\r\n", []int{200, 200}, []string{"/end", "/front"}},
	{"a length and chunks, hidden behind the chunks", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nContent-Length: 9999\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}", []int{200, 401, 200}, []string{"/end", "/front"}},
	{"chunks and a length, hidden in a chunk", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{size}\r\n{hidden}\r\n0\r\n\r\n", []int{200, 200}, []string{"/end", "/front"}},
	{"a length and chunks in HTTP/1.0", "POST /front HTTP/1.0\r\nHost: a\r\n{with}\r\nConnection: keep-alive\r\nContent-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n{hidden}", []int{200, 200}, []string{"/end", "/front"}},
	{"unknown coding", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{hidden}", []int{501}, nil},
	{"a coding before chunked", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: identity, chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{hidden}", []int{501}, nil},
	{"gzip before chunked", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: gzip, chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{hidden}", []int{501}, nil},
	{"a coding behind chunked", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked, identity\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{hidden}", []int{501}, nil},
	{"chunked twice in one", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked, chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{hidden}", []int{501}, nil},
	{"chunked in quotes", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: \"chunked\"\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{hidden}", []int{501}, nil},
	{"chunked with a parameter", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked;a=b\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{hidden}", []int{501}, nil},
	{"chunked with a vertical tab", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: \x0bchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{hidden}", []int{400}, nil},
	{"chunked with NUL", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked\x00\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{hidden}", []int{400}, nil},
	{"chunked with a no-break space", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: \u00a0chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{hidden}", []int{501}, nil},
	{"empty coding", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: \r\nContent-Length: 5\r\n\r\n0\r\n\r\n{hidden}", []int{501}, nil},
	{"chunked in capitals behind a tab", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding:\tCHUNKED \r\n\r\n{size}\r\n{hidden}\r\n0\r\n\r\n", []int{200, 200}, []string{"/end", "/front"}},
	{"two codings", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{hidden}", []int{501}, nil},
	{"chunked twice", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}", []int{501}, nil},
	{"a blank before the colon of the coding", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n{hidden}", []int{400}, nil},
	{"a coding with an underscore", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer_Encoding: chunked\r\nContent-Length: {length}\r\n\r\n{hidden}", []int{200, 200}, []string{"/end", "/front"}},
	{"a coding on a folded line", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding:\r\n chunked\r\n\r\n{size}\r\n{hidden}\r\n0\r\n\r\n", []int{200, 200}, []string{"/end", "/front"}},
	{"a coding on the second line of another", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nX-A: b\r\n Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n{hidden}", []int{200, 200}, []string{"/end", "/front"}},
	{"a coding behind a bare LF", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nX-A: b\nTransfer-Encoding: chunked\r\n\r\n{size}\r\n{hidden}\r\n0\r\n\r\n", []int{200, 200}, []string{"/end", "/front"}},
	{"a coding behind a bare CR", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nX-A: b\rTransfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n{hidden}", []int{400}, nil},
	{"a length with a sign", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nContent-Length: +{length}\r\n\r\n{hidden}", []int{400}, nil},
	{"a negative length", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nContent-Length: -1\r\n\r\n{hidden}", []int{400}, nil},
	{"a hexadecimal length", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nContent-Length: 0x{size}\r\n\r\n{hidden}", []int{400}, nil},
	{"a length of two", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nContent-Length: {length}, {length}\r\n\r\n{hidden}", []int{400}, nil},
	{"a length of two that differ", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nContent-Length: 0, {length}\r\n\r\n{hidden}", []int{400}, nil},
	{"a length with a letter", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nContent-Length: {length}a\r\n\r\n{hidden}", []int{400}, nil},
	{"a length with a blank inside", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nContent-Length: 0 {length}\r\n\r\n{hidden}", []int{400}, nil},
	{"a length beyond 64 bits", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nContent-Length: 18446744073709551616\r\n\r\n{hidden}", []int{400}, nil},
	{"an empty length", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nContent-Length: \r\n\r\n{hidden}", []int{400}, nil},
	{"a length with zeros before it", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nContent-Length: 000{length}\r\n\r\n{hidden}", []int{200, 200}, []string{"/end", "/front"}},
	{"a length in quotes", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nContent-Length: \"{length}\"\r\n\r\n{hidden}", []int{400}, nil},
	{"a length with a point", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nContent-Length: {length}.0\r\n\r\n{hidden}", []int{400}, nil},
	{"two lengths", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nContent-Length: 0\r\nContent-Length: {length}\r\n\r\n{hidden}", []int{400}, nil},
	{"the same length twice", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nContent-Length: {length}\r\nContent-Length: {length}\r\n\r\n{hidden}", []int{200, 200}, []string{"/end", "/front"}},
	{"a length on a folded line", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nContent-Length:\r\n {length}\r\n\r\n{hidden}", []int{200, 200}, []string{"/end", "/front"}},
	{"a length folded in two", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nContent-Length: 0\r\n {length}\r\n\r\n{hidden}", []int{400}, nil},
	{"a blank before the colon of the length", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nContent-Length : {length}\r\n\r\n{hidden}", []int{400}, nil},
	{"a length with an underscore", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nContent_Length: {length}\r\n\r\n{hidden}", []int{200, 401, 200}, []string{"/end", "/front"}},
	{"a length with NUL", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nContent-Length\x00: {length}\r\n\r\n{hidden}", []int{400}, nil},
	{"GET with a body", "GET /front HTTP/1.1\r\nHost: a\r\n{with}\r\nContent-Length: {length}\r\n\r\n{hidden}", []int{200, 200}, []string{"/end", "/front"}},
	{"OPTIONS with a body", "OPTIONS /front HTTP/1.1\r\nHost: a\r\n{with}\r\nContent-Length: {length}\r\n\r\n{hidden}", []int{200, 200}, []string{"/end", "/front"}},
	{"DELETE with a body", "DELETE /front HTTP/1.1\r\nHost: a\r\n{with}\r\nContent-Length: {length}\r\n\r\n{hidden}", []int{200, 200}, []string{"/end", "/front"}},
	{"foo with a body", "foo /front HTTP/1.1\r\nHost: a\r\n{with}\r\nContent-Length: {length}\r\n\r\n{hidden}", []int{200, 200}, []string{"/end", "/front"}},
	{"GET with chunks", "GET /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\n{hidden}\r\n0\r\n\r\n", []int{200, 200}, []string{"/end", "/front"}},
	{"a chunk extension", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked\r\n\r\n{size};a=b\r\n{hidden}\r\n0;c\r\n\r\n", []int{200, 200}, []string{"/end", "/front"}},
	{"a chunk extension in quotes with CRLF", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked\r\n\r\n{size};a=\"\r\n{hidden}\r\n0\r\n\r\n", []int{200, 200}, []string{"/end", "/front"}},
	{"a chunk extension that ends in a bare LF", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked\r\n\r\n{size};a\n{hidden}\r\n0\r\n\r\n", []int{400}, nil},
	{"a chunk size that ends in a bare LF", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked\r\n\r\n{size}\n{hidden}\r\n0\r\n\r\n", []int{400}, nil},
	{"a chunk extension with a bare CR", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked\r\n\r\n{size};a\rb\r\n{hidden}\r\n0\r\n\r\n", []int{400}, nil},
	{"a chunk that ends in a bare LF", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n{hidden}", []int{400}, nil},
	{"a chunk without its end", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n{hidden}", []int{400}, nil},
	{"a last chunk that ends in a bare LF", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\n\n{hidden}", []int{400}, nil},
	{"a last chunk with zeros", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0000\r\n\r\n{hidden}", []int{200, 401, 200}, []string{"/end", "/front"}},
	{"a chunk size beyond 64 bits", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n{hidden}", []int{400}, nil},
	{"a chunk size with a sign", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n{hidden}", []int{400}, nil},
	{"a chunk size that is negative", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n{hidden}", []int{400}, nil},
	{"a chunk size with 0x", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n{hidden}", []int{400}, nil},
	{"a chunk size behind a blank", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n{hidden}", []int{400}, nil},
	{"a chunk size before a blank", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n{hidden}", []int{200, 401, 200}, []string{"/end", "/front"}},
	{"a chunk size before a tab", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked\r\n\r\n5\t\r\nhello\r\n0\r\n\r\n{hidden}", []int{200, 401, 200}, []string{"/end", "/front"}},
	{"a chunk size of nothing", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n{hidden}", []int{400}, nil},
	{"a chunk size with an underscore", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked\r\n\r\n0_5\r\nhello\r\n0\r\n\r\n{hidden}", []int{400}, nil},
	{"a chunk size in many digits", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked\r\n\r\n0000000000000000000005\r\nhello\r\n0\r\n\r\n{hidden}", []int{400}, nil},
	{"a trailer with cookies", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{without}\r\nContent-Length: 7\r\nTransfer-Encoding: x\r\n\r\n{hidden}", []int{200, 401, 200}, []string{"/end", "/front"}},
	{"a trailer that was announced", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTrailer: Content-Length, Transfer-Encoding, Cookie, X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\nContent-Length: 7\r\n\r\n{hidden}", []int{400}, nil},
	{"an endless chunk extension", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nTransfer-Encoding: chunked\r\n\r\n5;aaaaaaaaaa{long}\r\nhello\r\n0\r\n\r\n{hidden}", []int{400}, nil},
	{"two hosts", "GET /front HTTP/1.1\r\nHost: a\r\nHost: b\r\n{with}\r\n\r\n", []int{400}, nil},
	{"the same host twice", "GET /front HTTP/1.1\r\nHost: a\r\nHost: a\r\n{with}\r\n\r\n", []int{400}, nil},
	{"no host", "GET /front HTTP/1.1\r\n{with}\r\n\r\n", []int{400}, nil},
	{"a host with a path", "GET /front HTTP/1.1\r\nHost: a/b\r\n{with}\r\n\r\n", []int{400}, nil},
	{"a host with a blank", "GET /front HTTP/1.1\r\nHost: a b\r\n{with}\r\n\r\n", []int{400}, nil},
	{"a host with a user", "GET /front HTTP/1.1\r\nHost: x@a\r\n{with}\r\n\r\n", []int{400}, nil},
	{"a host on a folded line", "GET /front HTTP/1.1\r\nHost: a\r\n b\r\n{with}\r\n\r\n", []int{400}, nil},
	{"a whole address", "GET http://a/front HTTP/1.1\r\nHost: a\r\n{with}\r\n\r\n", []int{400, 200}, []string{"/end"}},
	{"a whole address elsewhere", "GET http://b/front HTTP/1.1\r\nHost: a\r\n{with}\r\n\r\n", []int{400, 200}, []string{"/end"}},
	{"no version", "GET /front\r\nHost: a\r\n{with}\r\n\r\n", []int{400}, nil},
	{"an unknown version", "GET /front HTTP/1.2\r\nHost: a\r\n{with}\r\n\r\n", []int{200, 200}, []string{"/end", "/front"}},
	{"a version that is too high", "GET /front HTTP/3.0\r\nHost: a\r\n{with}\r\n\r\n", []int{505}, nil},
	{"a version in lower case", "GET /front http/1.1\r\nHost: a\r\n{with}\r\n\r\n", []int{400}, nil},
	{"a version with a blank behind it", "GET /front HTTP/1.1 \r\nHost: a\r\n{with}\r\n\r\n", []int{400}, nil},
	{"a target with a blank", "GET /front /x HTTP/1.1\r\nHost: a\r\n{with}\r\n\r\n", []int{400}, nil},
	{"two blanks", "GET  /front HTTP/1.1\r\nHost: a\r\n{with}\r\n\r\n", []int{400}, nil},
	{"a tab for a blank", "GET\t/front HTTP/1.1\r\nHost: a\r\n{with}\r\n\r\n", []int{400}, nil},
	{"a blank before the method", " GET /front HTTP/1.1\r\nHost: a\r\n{with}\r\n\r\n", []int{400}, nil},
	{"an empty line before the request", "\r\nGET /front HTTP/1.1\r\nHost: a\r\n{with}\r\n\r\n", []int{400}, nil},
	{"a request line that ends in a bare LF", "GET /front HTTP/1.1\nHost: a\r\n{with}\r\n\r\n", []int{200, 200}, []string{"/end", "/front"}},
	{"a request line with a bare CR", "GET /front HTTP/1.1\rX: y\r\nHost: a\r\n{with}\r\n\r\n", []int{400}, nil},
	{"headers that end in bare LFs", "GET /front HTTP/1.1\r\nHost: a\r\n{with}\r\nX-A: b\n\n", []int{200, 200}, []string{"/end", "/front"}},
	{"a method that is no token", "G(T /front HTTP/1.1\r\nHost: a\r\n{with}\r\n\r\n", []int{400}, nil},
	{"a header without a colon", "GET /front HTTP/1.1\r\nHost: a\r\n{with}\r\nX-A\r\n\r\n", []int{400}, nil},
	{"a header without a name", "GET /front HTTP/1.1\r\nHost: a\r\n{with}\r\n: x\r\n\r\n", []int{400}, nil},
	{"a header name with a blank", "GET /front HTTP/1.1\r\nHost: a\r\n{with}\r\nX A: b\r\n\r\n", []int{400}, nil},
	{"a header name beyond ASCII", "GET /front HTTP/1.1\r\nHost: a\r\n{with}\r\nX\u00e9: b\r\n\r\n", []int{400}, nil},
	{"a first header that is folded", "GET /front HTTP/1.1\r\n X-A: b\r\nHost: a\r\n{with}\r\n\r\n", []int{400}, nil},
	{"a folded header", "GET /front HTTP/1.1\r\nHost: a\r\n{with}\r\nX-A: b\r\n\tc\r\n\r\n", []int{200, 200}, []string{"/end", "/front"}},
	{"a cookie on a folded line", "GET /front HTTP/1.1\r\nHost: a\r\nX-A: b\r\n {with}\r\n\r\n", []int{200, 200}, []string{"/end", "/front"}},
	{"a header with NUL", "GET /front HTTP/1.1\r\nHost: a\r\n{with}\r\nX-A: b\x00c\r\n\r\n", []int{400}, nil},
	{"a header with a bare CR", "GET /front HTTP/1.1\r\nHost: a\r\n{with}\r\nX-A: b\rc\r\n\r\n", []int{400}, nil},
	{"a header with DEL", "GET /front HTTP/1.1\r\nHost: a\r\n{with}\r\nX-A: b\x7fc\r\n\r\n", []int{400}, nil},
	{"a header beyond ASCII", "GET /front HTTP/1.1\r\nHost: a\r\n{with}\r\nX-A: \u00e9\xff\r\n\r\n", []int{200, 200}, []string{"/end", "/front"}},
	{"three in a row", "GET /one HTTP/1.1\r\nHost: a\r\n{with}\r\n\r\n{hidden}GET /two HTTP/1.1\r\nHost: a\r\n{with}\r\n\r\n", []int{200, 401, 200, 200}, []string{"/end", "/one", "/two"}},
	{"behind an exempt one", "GET /public/a HTTP/1.1\r\nHost: a\r\n{with}\r\n\r\n{hidden}", []int{200, 401, 200}, []string{"/end", "/public/a"}},
	{"in the body of an exempt one", "POST /public/a HTTP/1.1\r\nHost: a\r\n{with}\r\nContent-Length: {length}\r\n\r\n{hidden}", []int{200, 200}, []string{"/end", "/public/a"}},
	{"in the body of one that is refused", "POST /front HTTP/1.1\r\nHost: a\r\n{without}\r\nContent-Length: {length}\r\n\r\n{hidden}", []int{401, 200}, []string{"/end"}},
	{"in the chunks of one that is refused", "POST /front HTTP/1.1\r\nHost: a\r\n{without}\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\n{hidden}\r\n0\r\n\r\n", []int{401, 200}, []string{"/end"}},
	{"in the body of one that hygiene refuses", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nConnection: Cookie\r\nContent-Length: {length}\r\n\r\n{hidden}", []int{400, 200}, []string{"/end"}},
	{"in the body of a page of the sidecar's", "POST /my/profile/two-factor/enable HTTP/1.1\r\nHost: a\r\n{with}\r\nContent-Length: {length}\r\n\r\n{hidden}", []int{403, 200}, []string{"/end"}},
	{"behind an upgrade that the app declines", "GET /front HTTP/1.1\r\nHost: a\r\n{with}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n{hidden}", []int{200, 401, 200}, []string{"/end", "/front"}},
	{"behind an upgrade with a length", "GET /front HTTP/1.1\r\nHost: a\r\n{with}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: {length}\r\n\r\n{hidden}", []int{200, 200}, []string{"/end", "/front"}},
	{"behind an upgrade to h2c", "GET /front HTTP/1.1\r\nHost: a\r\n{with}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n\r\n{hidden}", []int{200, 401, 200}, []string{"/end", "/front"}},
	{"behind CONNECT", "CONNECT /front HTTP/1.1\r\nHost: a\r\n{with}\r\n\r\n{hidden}", []int{405, 401, 200}, []string{"/end"}},
	{"behind 100-continue", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n{hidden}", []int{100, 200, 200}, []string{"/end", "/front"}},
	{"behind an unknown expectation", "POST /front HTTP/1.1\r\nHost: a\r\n{with}\r\nExpect: magic\r\nContent-Length: {length}\r\n\r\n{hidden}", []int{417}, nil},
	{"a preface of HTTP/2 in the middle", "GET /front HTTP/1.1\r\nHost: a\r\n{with}\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{hidden}", []int{200, 400}, []string{"/front"}},
}

// Whatever a connection carries, the app gets the requests that were decided upon,
// each framed in one way alone, and nothing that hid in one of them.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	late := alice.again()
	tapped := newTap(t, w.AppURL)
	door := w.another(func(o *server.Options) { o.App = tapped.url })
	end := "GET /end HTTP/1.1\r\nHost: a\r\n" + alice.credentials() + "\r\n\r\n"
	hidden := "GET /hidden HTTP/1.1\r\nHost: a\r\n" + late.credentials() + "\r\n\r\n"
	fill := strings.NewReplacer("{with}", alice.credentials(), "{without}", late.credentials(), "{hidden}", hidden,
		"{size}", fmt.Sprintf("%x", len(hidden)), "{length}", fmt.Sprint(len(hidden)), "{long}", strings.Repeat("a", 64<<10))
	for _, tc := range smuggling {
		t.Run(tc.name, func(t *testing.T) {
			statuses := converse(t, door.URL, fill.Replace(tc.bytes)+end)
			if diff := cmp.Diff(tc.seen, tapped.targets(t)); diff != "" || !slices.Equal(statuses, tc.want) {
				t.Errorf("the answers are %d, want %d; the app saw\n%s", statuses, tc.want, diff)
			}
		})
	}
}

// converse sends bytes and returns the statuses of the answers, until the one that
// speaks of /end or the end of the connection.
func converse(t *testing.T, base, text string) []int {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	go func() { _, _ = io.WriteString(conn, text) }()
	var statuses []int
	for answers := bufio.NewReader(conn); ; {
		if _, err := answers.Peek(1); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("after %d neither an answer nor an end", statuses)
			}
			return statuses
		}
		response, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatalf("after %d: %v", statuses, err)
		}
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		statuses = append(statuses, response.StatusCode)
		if strings.Contains(string(body), "saw GET /end ") {
			return statuses
		}
	}
}
