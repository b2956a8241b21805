package proxy_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/sidecar/identity/wire"
	"github.com/sallyport/sallyport/sidecar/proxy"
)

func cookieRequest(lines ...string) *http.Request {
	r := get("/")
	r.Header["Cookie"] = lines
	return r
}

func TestCleanRefusesCookiesWithTwoReadings(t *testing.T) {
	for name, line := range map[string]string{
		"the session cookie twice":                    `session=a; session=b`,
		"twice with the same value":                   `session=a; session=a`,
		"twice, far apart":                            `session=a; x=1; y=2; session=b`,
		"a value with a quote":                        `session=a"b`,
		"a quoted value":                              `session="abc"`,
		"a value that begins with a quote":            `session="abc`,
		"a backslash":                                 `session=a\b`,
		"a comma":                                     `session=a,b`,
		"a blank in the value":                        `session=a b`,
		"a blank before the value":                    `session= a`,
		"a character beyond ASCII":                    `session=café`,
		"a byte that is no UTF-8":                     "session=a\xff",
		"a tab in the value":                          "session=a\tb",
		"a tab anywhere":                              "a=\t1; session=a",
		"DEL":                                         "session=a\x7f",
		"a line break":                                "a=1\r\nX: y; session=a",
		"a blank before the equals sign":              `session =a`,
		"another case":                                `Session=a`,
		"all capitals beside the right one":           `session=a; SESSION=b`,
		"quotes around the name":                      `"session"=a`,
		"an escape in the name":                       `%73ession=a`,
		"an escaped blank before the name":            `%20session=a`,
		"a name that PHP folds":                       `my.sid=a`,
		"another that PHP folds":                      `my_sid=a; my[sid=b`,
		"a blank that PHP folds":                      `my sid=a`,
		"no equals sign":                              `session`,
		"no equals sign beside the right one":         `session=a; session`,
		"nameless":                                    `=session=a`,
		"nameless twice over":                         `==session=a`,
		"behind a comma":                              `x=1,session=b`,
		"behind a comma and a blank":                  `session=a; x=1, session=b`,
		"behind a blank":                              `x=1 session=b`,
		"behind a blank, with blanks around":          `x=1 session = b`,
		"inside quotes":                               `x="session=b"`,
		"behind a quoted value":                       `x="1"session=b`,
		"inside a quoted value with a semicolon":      `x="1; session=a; y=2"`,
		"inside a quoted value that stays open":       `x="1; session=a`,
		"inside a quoted value that goes on for long": `x="1; y=2; session=a; z=3"`,
		"behind an escaped quote":                     `x="1\"; session=a; y="2"`,
		"behind a backslash that escapes nothing":     `x="1\"; session=a`,
		"in another spelling inside another":          `x=1, "SESSION"=b`,
		"a quote that our own closes":                 `x="1; __Host-own=t"; session=a`,
		"behind a no-break space":                     "\xa0session=a",
		"before a next line":                          "session\x85=a",
		"a part of an array of PHP":                   `session[]=a`,
		"our own in another case":                     `__host-own=a`,
		"our own in quotes":                           `"__Host-own"=a`,
		"our own with a blank":                        `__Host-own =a`,
		"our own nameless":                            `=__Host-own=a`,
		"our own escaped":                             `%5F_Host-own=a`,
	} {
		t.Run(name, func(t *testing.T) {
			refusal := hygiene().Clean(cookieRequest(line))
			if refusal == nil || refusal.Status != http.StatusBadRequest || refusal.Code != proxy.CodeCookie {
				t.Fatalf("got %+v", refusal)
			}
			// Split over two headers, which servers join, it is as bad.
			if head, tail, ok := strings.Cut(line, "; "); ok {
				if hygiene().Clean(cookieRequest(head, tail)) == nil {
					t.Error("accepted in two headers")
				}
			}
		})
	}
}

func TestCleanKeepsOtherCookiesAsTheyAre(t *testing.T) {
	for name, tc := range map[string]struct{ line, want string }{
		"plain cookies":                {`a=1; session=abc; b=2`, `a=1; session=abc; b=2`},
		"no blanks":                    {`a=1;session=abc`, `a=1;session=abc`},
		"all that a value may hold":    {"session=!#$%&'()*+-./0:<=>?@AZ[]^_`az{|}~", "session=!#$%&'()*+-./0:<=>?@AZ[]^_`az{|}~"},
		"an empty value":               {`session=`, `session=`},
		"JSON":                         {`prefs={"a":[1,2],"b":"x y"}; session=abc`, `prefs={"a":[1,2],"b":"x y"}; session=abc`},
		"the name as a JSON key":       {`prefs={"session":1}; session=abc`, `prefs={"session":1}; session=abc`},
		"the name in a query":          {`ref=/login?session=1&x=2; session=abc`, `ref=/login?session=1&x=2; session=abc`},
		"the name as a value":          {`a=session; session=abc`, `a=session; session=abc`},
		"names that merely look alike": {`sessions=1; xsession=2; session-id=3; session=abc`, `sessions=1; xsession=2; session-id=3; session=abc`},
		"duplicates of others":         {`a=1; a=2; A=3`, `a=1; a=2; A=3`},
		"a quoted value that closes in another piece": {`x="1; y=2"; session=abc`, `x="1; y=2"; session=abc`},
		"a quoted value that closes":                  {`x="1 2"; session=abc`, `x="1 2"; session=abc`},
		"a quote inside an unquoted value":            {`x=5"; session=abc`, `x=5"; session=abc`},
		"bytes beyond ASCII":                          {"x=caf\xe9; y=é; session=abc", "x=caf\xe9; y=é; session=abc"},
		"odd separators":                              {`;; a=1 ;  b ;session=abc;`, `;; a=1 ;  b ;session=abc;`},
		"our own first":                               {`__Host-own=t; a={"x":1};  session=abc`, `a={"x":1};  session=abc`},
		"our own in the middle":                       {`a=1;__Host-own=t; session=abc`, `a=1; session=abc`},
		"our own last":                                {`a=1; session=abc; __Host-own=t`, `a=1; session=abc`},
		"our own twice":                               {`__Host-own=t; a=1; __Host-own=u`, `a=1`},
		"our own alone":                               {`__Host-own=t`, ``},
	} {
		t.Run(name, func(t *testing.T) {
			r := cookieRequest(tc.line)
			if refusal := hygiene().Clean(r); refusal != nil {
				t.Fatalf("refused: %+v", refusal)
			}
			if got := r.Header.Get("Cookie"); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if _, ok := r.Header["Cookie"]; !ok && tc.want != "" || ok && tc.want == "" {
				t.Errorf("headers: %v", r.Header)
			}
		})
	}
}

func TestCleanJoinsCookieHeaders(t *testing.T) {
	r := cookieRequest("a=1", "session=abc", "__Host-own=t", "b=2")
	if refusal := hygiene().Clean(r); refusal != nil {
		t.Fatal(refusal)
	}
	if got := r.Header["Cookie"]; !slices.Equal(got, []string{"a=1; session=abc; b=2"}) {
		t.Errorf("got %q", got)
	}
}

func TestCookieValue(t *testing.T) {
	for name, tc := range map[string]struct {
		lines []string
		want  string
		ok    bool
	}{
		"one is read":                      {[]string{"a=1; __Host-own=t"}, "t", true},
		"from a second header too":         {[]string{"a=1", "__Host-own=t"}, "t", true},
		"none is none":                     {[]string{"a=1"}, "", false},
		"two are none":                     {[]string{"__Host-own=t; __Host-own=t"}, "", false},
		"two in two headers are none":      {[]string{"__Host-own=t", "__Host-own=u"}, "", false},
		"an odd value is none":             {[]string{`__Host-own="t"`}, "", false},
		"another case is another cookie":   {[]string{"__host-own=t"}, "", false},
		"a bare name is none":              {[]string{"__Host-own"}, "", false},
		"an empty value is an empty value": {[]string{"__Host-own="}, "", true},
	} {
		if got, ok := proxy.CookieValue(cookieRequest(tc.lines...), "__Host-own"); got != tc.want || ok != tc.ok {
			t.Errorf("%s: got %q, %t", name, got, ok)
		}
	}
}

func FuzzCleanCookies(f *testing.F) {
	for _, line := range []string{
		"session=a; __Host-own=t; x=1", `x="1; session=a"; session=b`, "session=a; session=b", `x=1, session=b`,
		`"session"=a`, "%73ession=a;=session=b", `a="\"; session=1`, "my.sid=1; my_sid=2", "\xff;;;=",
		`x="1; __Host-own=t"; session=a`, `__Host-own="; session=a; x="1`, "\xa0session=a", "session[]=a",
	} {
		f.Add(line, "x=1")
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		r := cookieRequest(first, second)
		if hygiene().Clean(r) != nil {
			return
		}
		line := wire.CookieLine(r.Header)
		seen := map[string]int{}
		for p := range wire.Pairs(line) {
			switch p.Folded() {
			case wire.Fold("__Host-own"):
				t.Fatalf("our own cookie is left in %q", line)
			case "session", "my_sid":
				seen[p.Folded()]++
				if p.Name != p.Folded() || strings.ContainsAny(p.Value, "\"\\, \t") {
					t.Fatalf("an odd spelling is left in %q", line)
				}
			}
		}
		for name, n := range seen {
			if n > 1 {
				t.Fatalf("%s is %d times in %q", name, n, line)
			}
		}
		// What Go's own parser finds is what there is.
		for _, name := range []string{"session", "my_sid"} {
			if got := len(r.CookiesNamed(name)); got != seen[name] {
				t.Fatalf("net/http finds %s %d times in %q, not %d", name, got, line, seen[name])
			}
		}
		// A strict reading of RFC 6265 and one that honours quotes find the same.
		for name := range seen {
			want := wire.Values(line, name)
			if got := strictValues(line, name); !slices.Equal(got, want) {
				t.Fatalf("RFC 6265 finds %q of %s in %q, not %q", got, name, line, want)
			}
			for _, escapes := range []bool{false, true} {
				if got := quotingValues(line, name, escapes); !slices.Equal(got, want) {
					t.Fatalf("a server that reads quotes finds %q of %s in %q, not %q", got, name, line, want)
				}
			}
		}
		before := line
		if refusal := hygiene().Clean(r); refusal != nil || wire.CookieLine(r.Header) != before {
			t.Fatalf("%q did not stay as it was: %+v", before, refusal)
		}
	})
}

// strictPair is a cookie-pair of RFC 6265, section 4.1.1.
var strictPair = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+=(\"[!#-+--:<-[\\]-~]*\"|[!#-+--:<-[\\]-~]*)$")

// strictValues finds what the grammar finds, and ignores what is not of it.
func strictValues(line, name string) []string {
	var values []string
	for piece := range strings.SplitSeq(line, ";") {
		piece = strings.Trim(piece, " \t")
		if key, value, _ := strings.Cut(piece, "="); key == name && strictPair.MatchString(piece) {
			values = append(values, value)
		}
	}
	return values
}

// quotingValues reads as RFC 2109 did: a value that begins with a quote reaches to
// the next one, across semicolons, and a backslash may escape.
func quotingValues(line, name string, escapes bool) []string {
	var values []string
	for line != "" {
		end := strings.IndexByte(line, ';')
		key, value, ok := strings.Cut(line, "=")
		if ok && (end < 0 || len(key) < end) && strings.HasPrefix(strings.TrimLeft(value, " \t"), `"`) {
			start := len(line) - len(strings.TrimLeft(value, " \t")) + 1
			for end = start; end < len(line) && line[end] != '"'; end++ {
				if escapes && line[end] == '\\' {
					end++
				}
			}
			end = min(end, len(line))
			if rest := strings.IndexByte(line[end:], ';'); rest >= 0 {
				end += rest
			} else {
				end = len(line)
			}
		}
		if end < 0 {
			end = len(line)
		}
		if key, value, ok := strings.Cut(strings.Trim(line[:end], " \t"), "="); ok && key == name {
			values = append(values, value)
		}
		line = strings.TrimPrefix(line[end:], ";")
	}
	return values
}
