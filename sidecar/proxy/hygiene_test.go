package proxy_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/sidecar/proxy"
)

// echo answers with the headers that reached the app.
func echo(w http.ResponseWriter, r *http.Request) { _ = json.NewEncoder(w).Encode(r.Header) }

func TestCleanRefusesOnTheWire(t *testing.T) {
	s := newStack(t, setup{app: func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s reached the app", r.Method, r.RequestURI)
	}})
	type refused struct {
		request string
		status  int
		code    string
	}
	cases := map[string]refused{
		"CONNECT":                       {"CONNECT app.example:443 HTTP/1.1\nHost: app.example:443\n", 405, proxy.CodeMethod},
		"CONNECT with a path":           {"CONNECT /x HTTP/1.1\nHost: a\n", 405, proxy.CodeMethod},
		"TRACE":                         {"TRACE / HTTP/1.1\nHost: a\n", 405, proxy.CodeMethod},
		"trace in lower case":           {"trace / HTTP/1.1\nHost: a\n", 405, proxy.CodeMethod},
		"TRACK":                         {"TRACK / HTTP/1.1\nHost: a\n", 405, proxy.CodeMethod},
		"an absolute target, other":     {"GET http://evil/admin HTTP/1.1\nHost: a\n", 400, proxy.CodeTarget},
		"an absolute target, same":      {"GET http://a/admin HTTP/1.1\nHost: a\n", 400, proxy.CodeTarget},
		"an absolute target, no path":   {"GET http://a HTTP/1.1\nHost: a\n", 400, proxy.CodeTarget},
		"a target with a scheme only":   {"GET x:/admin HTTP/1.1\nHost: a\n", 400, proxy.CodeTarget},
		"an asterisk but for OPTIONS":   {"GET * HTTP/1.1\nHost: a\n", 400, proxy.CodeTarget},
		"two Authorization headers":     {"GET / HTTP/1.1\nHost: a\nAuthorization: x\nAuthorization: x\n", 400, proxy.CodeAuthorization},
		"more than 16 KiB of cookies":   {"GET / HTTP/1.1\nHost: a\nCookie: a=" + strings.Repeat("x", 16<<10) + "\n", 431, proxy.CodeCookieSize},
		"more than 100 cookies":         {"GET / HTTP/1.1\nHost: a\nCookie: a=1" + strings.Repeat("; a=1", 100) + "\n", 431, proxy.CodeCookieSize},
		"more than 100 in many headers": {"GET / HTTP/1.1\nHost: a\n" + strings.Repeat("Cookie: a=1\n", 101), 431, proxy.CodeCookieSize},
	}
	for _, token := range []string{
		"X-Auth-User", "x-sallyport-verified", "Cookie", "cookie", "Authorization", "X-Forwarded-For", "Host",
		"Content-Length", "close, Cookie", "keep-alive,\tX-Real-Ip", "upgrade, sec-websocket-key", `"close"`, "clo se",
	} {
		cases["Connection: "+token] = refused{
			"GET / HTTP/1.1\nHost: a\nConnection: " + token + "\n", 400, proxy.CodeConnection,
		}
	}
	cases["a second Connection header"] = refused{
		"GET / HTTP/1.1\nHost: a\nConnection: close\nConnection: Cookie\n", 400, proxy.CodeConnection,
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := dial(t, s.addr)
			c.send(t, tc.request+"\n")
			response := c.response(t)
			var problem proxy.Problem
			if err := json.NewDecoder(response.Body).Decode(&problem); err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != tc.status || problem.Code != tc.code || problem.Detail == "" {
				t.Errorf("got %d %+v, want %d %s", response.StatusCode, problem, tc.status, tc.code)
			}
			if strings.Contains(problem.Detail, "evil") {
				t.Errorf("the request is repeated in %q", problem.Detail)
			}
		})
	}
}

// What net/http refuses by itself is not ours to test in detail, but ours to notice
// should it ever change.
func TestServerRefusesMalformedFraming(t *testing.T) {
	s := newStack(t, setup{app: func(http.ResponseWriter, *http.Request) { t.Error("the app was reached") }})
	for name, request := range map[string]string{
		"two Host headers":             "GET / HTTP/1.1\nHost: a\nHost: b\n\n",
		"no Host":                      "GET / HTTP/1.1\n\n",
		"a blank before the colon":     "GET / HTTP/1.1\nHost: a\nX-Auth-User : x\n\n",
		"a folded line":                "GET / HTTP/1.1\nHost: a\n X-Auth-User: x\n\n",
		"two lengths":                  "POST / HTTP/1.1\nHost: a\nContent-Length: 1\nContent-Length: 2\n\nab",
		"an unknown transfer encoding": "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: xchunked\n\n",
		"NUL in a cookie":              "GET / HTTP/1.1\nHost: a\nCookie: a=\x00\n\n",
		"a blank in the target":        "GET /a b HTTP/1.1\nHost: a\n\n",
		"a control character in it":    "GET /a\x01 HTTP/1.1\nHost: a\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, s.addr)
			c.send(t, request)
			if got := c.response(t).StatusCode; got < 400 {
				t.Errorf("got %d", got)
			}
		})
	}
}

func TestCleanRefusesTwoHostsOfHTTP2(t *testing.T) {
	r := get("/")
	r.Host = "app.example"
	r.Header["Host"] = []string{"APP.example"}
	if refusal := hygiene().Clean(r); refusal != nil || len(r.Header) != 0 {
		t.Errorf("the same host twice: %+v, headers %v", refusal, r.Header)
	}
	r.Header["Host"] = []string{"evil.example"}
	if refusal := hygiene().Clean(r); refusal == nil || refusal.Code != proxy.CodeTarget {
		t.Errorf("got %+v", refusal)
	}
}

func TestCleanRemovesWhatAClientMayNotSay(t *testing.T) {
	s := newStack(t, setup{app: echo})
	c := dial(t, s.addr)
	c.send(t, `GET /x HTTP/1.1
Host: app.example
X-Auth-User: a
x-auth-user: b
X_Auth_User: c
X-Auth_User: d
X.AUTH.USER: e
X-Auth-User:
X-Proxy-User: f
X_proxy_User: g
X-Sallyport-Verified: true
X-Sallyport-Anything: true
X_Sallyport_Verified: true
x-sallyport_method: totp
X_Forwarded_For: 6.6.6.6
X_Forwarded-Proto: https
X_Real_Ip: 6.6.6.6
X_Original_Url: /admin
X_HTTP_Method_Override: DELETE
Content_Length: 5
Transfer_Encoding: chunked
Te: gzip, trailers
Upgrade: h2c
HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA
Connection: Upgrade, HTTP2-Settings
Proxy-Connection: x
Keep-Alive: 5
My_Header: kept
X-Auth-Users: kept
X-Tab: a	b

`)
	var got map[string][]string
	if err := json.NewDecoder(c.response(t).Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		"My_header": {"kept"}, "X-Auth-Users": {"kept"}, "X-Tab": {"a\tb"}, "Te": {"trailers"},
		"X-Sallyport-Verified": {"false"}, "X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Proto": {"http"},
		"X-Forwarded-Host": {"app.example"}, "X-Forwarded-Port": {"80"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestCleanLetsATrustedPeerSpeakInItsExactSpellingOnly(t *testing.T) {
	r := get("/", "X-Proxy-User", "alice", "X_proxy_user", "mallory", "X-Auth-User", "x")
	r.Header["X-PROXY.USER"] = []string{"mallory"}
	if refusal := hygiene().Clean(r); refusal != nil {
		t.Fatal(refusal)
	}
	if diff := cmp.Diff(http.Header{"X-Proxy-User": {"alice"}}, r.Header); diff != "" {
		t.Error(diff)
	}
}

func TestCleanKeepsWebSocketUpgradesAndNoOthers(t *testing.T) {
	for _, tc := range []struct {
		name, method, upgrade, connection string
		minor                             int
		want                              string
	}{
		{"a WebSocket", "GET", "websocket", "Upgrade", 1, "Upgrade"},
		{"a WebSocket in other case", "GET", "WebSocket", "keep-alive, UPGRADE", 1, "Upgrade"},
		{"a POST", "POST", "websocket", "Upgrade", 1, ""},
		{"HTTP/1.0", "GET", "websocket", "Upgrade", 0, ""},
		{"without Connection", "GET", "websocket", "keep-alive", 1, ""},
		{"several protocols", "GET", "websocket, h2c", "Upgrade", 1, ""},
		{"h2c", "GET", "h2c", "Upgrade", 1, ""},
		{"TLS", "OPTIONS", "TLS/1.0", "Upgrade", 1, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := get("/ws", "Upgrade", tc.upgrade, "Connection", tc.connection)
			r.Method, r.ProtoMinor = tc.method, tc.minor
			if refusal := hygiene().Clean(r); refusal != nil {
				t.Fatal(refusal)
			}
			if got := r.Header.Get("Connection"); got != tc.want || (r.Header.Get("Upgrade") != "") != (tc.want != "") {
				t.Errorf("left %v", r.Header)
			}
		})
	}
}

func TestCleanRemovesTrailersThatCouldDecideAnything(t *testing.T) {
	r := get("/")
	r.Trailer = http.Header{}
	for _, name := range []string{"X-Auth-User", "X-Proxy-User", "X-Sallyport-Verified", "Cookie", "Authorization", "X-Forwarded-For", "Host", "X-Checksum"} {
		r.Trailer[name] = nil
	}
	if refusal := hygiene().Clean(r); refusal != nil {
		t.Fatal(refusal)
	}
	if got := slices.Collect(maps.Keys(r.Trailer)); !slices.Equal(got, []string{"X-Checksum"}) {
		t.Errorf("left %v", got)
	}
}

func TestCleanAllowsOptionsOfTheServer(t *testing.T) {
	r := get("/")
	r.Method, r.RequestURI, r.URL.Path = http.MethodOptions, "*", "*"
	if refusal := hygiene().Clean(r); refusal != nil {
		t.Error(refusal)
	}
}

// Every method and many credentials: nothing but the listed methods is special.
func TestCleanTreatsMethodsAlike(t *testing.T) {
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "foo"} {
		r := get("/", "Authorization", "Basic eA==", "Cookie", "session=s1")
		r.Method = method
		if refusal := hygiene().Clean(r); refusal != nil {
			t.Errorf("%s: %+v", method, refusal)
		}
		want := http.Header{"Authorization": {"Basic eA=="}, "Cookie": {"session=s1"}}
		if diff := cmp.Diff(want, r.Header); diff != "" {
			t.Error(fmt.Sprint(method, diff))
		}
	}
}

// As CGI and its heirs hand a request on, no reserved header is left, and none that
// decides anything comes from two headers.
func FuzzCleanHeaders(f *testing.F) {
	for _, name := range []string{
		"X-Auth-User", "x_auth_user", "X.Auth.User", "X-Sallyport-Verified", "X_sallyport-", "Cookie", "COOKIE", "Content_Length",
		"X-Forwarded_For", "Transfer~Encoding", "Upgrade", "Http2-Settings", "Connection", "Te", "Trailer", "X-Rewrite-URL",
	} {
		f.Add(name, "x", strings.ReplaceAll(name, "-", "_"), "trailers")
		f.Add("Connection", name, name, "upgrade")
	}
	f.Fuzz(func(t *testing.T, one, first, other, second string) {
		raw := "GET / HTTP/1.1\r\nHost: a\r\n" + one + ": " + first + "\r\n" + other + ": " + second + "\r\n\r\n"
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil || hygiene().Clean(r) != nil {
			return
		}
		variables := map[string][]string{}
		for name := range r.Header {
			variable := strings.Map(func(c rune) rune {
				if c < '0' || c > '9' && c < 'A' || c > 'Z' {
					return '_'
				}
				return c
			}, strings.ToUpper(name))
			variables[variable] = append(variables[variable], name)
		}
		for variable, names := range variables {
			switch {
			case variable == "X_AUTH_USER", variable == "X_PROXY_USER", strings.HasPrefix(variable, "X_SALLYPORT_"):
				t.Fatalf("%q left %q", raw, names)
			case len(names) > 1 && slices.Contains(decisive, variable), strings.HasPrefix(variable, "X_FORWARDED_") && len(names) > 1:
				t.Fatalf("%q left %q, which are one to CGI", raw, names)
			}
		}
		if len(r.Header["Connection"]) > 1 || r.Header.Get("Connection") != "" && r.Header.Get("Connection") != "Upgrade" ||
			r.Header.Get("Upgrade") != "" && !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			t.Fatalf("%q left %v", raw, r.Header)
		}
	})
}

// decisive are headers, as CGI names them, by which an app decides.
var decisive = []string{"COOKIE", "AUTHORIZATION", "HOST", "CONTENT_LENGTH", "CONTENT_TYPE", "TRANSFER_ENCODING", "UPGRADE", "X_REWRITE_URL"}
