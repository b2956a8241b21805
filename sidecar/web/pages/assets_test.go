package pages_test

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/sidecar/web/pages"
)

// assetPaths reads off a page which files it refers to, by kind.
func assetPaths(t *testing.T) map[string]string {
	t.Helper()
	page := showCard(t, pages.Card{})
	return map[string]string{
		"text/css; charset=utf-8":        page.Find("link[rel=stylesheet]").AttrOr("href", ""),
		"text/javascript; charset=utf-8": page.Find("script").AttrOr("src", ""),
		"image/svg+xml":                  page.Find("link[rel=icon]").AttrOr("href", ""),
	}
}

func fetch(t *testing.T, method, path string, header http.Header) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	maps.Copy(r.Header, header)
	w := httptest.NewRecorder()
	renderer(t, site()).Assets().ServeHTTP(w, r)
	return w
}

func TestAssetsOfAPageAreServedForAYear(t *testing.T) {
	for contentType, path := range assetPaths(t) {
		t.Run(contentType, func(t *testing.T) {
			w := fetch(t, http.MethodGet, path, nil)
			if w.Code != http.StatusOK || w.Body.Len() == 0 {
				t.Fatalf("GET %s = %d with %d bytes", path, w.Code, w.Body.Len())
			}
			for name, want := range map[string]string{
				"Content-Type":           contentType,
				"Cache-Control":          "public, max-age=31536000, immutable",
				"X-Content-Type-Options": "nosniff",
			} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
			sum := sha256.Sum256(w.Body.Bytes())
			if hash := hex.EncodeToString(sum[:])[:16]; !strings.Contains(path, "-"+hash+".") {
				t.Errorf("%s does not carry the hash %s of its content", path, hash)
			}
			head := fetch(t, http.MethodHead, path, nil)
			if head.Code != http.StatusOK || head.Body.Len() != 0 {
				t.Errorf("HEAD = %d with %d bytes", head.Code, head.Body.Len())
			}
			again := fetch(t, http.MethodGet, path, http.Header{"If-None-Match": {w.Header().Get("ETag")}})
			if again.Code != http.StatusNotModified {
				t.Errorf("GET with the known ETag = %d, want 304", again.Code)
			}
		})
	}
}

func TestOtherAssetsAreNotFound(t *testing.T) {
	style := assetPaths(t)["text/css; charset=utf-8"]
	for name, test := range map[string]struct {
		method, path string
		header       http.Header
	}{
		"name without hash":      {http.MethodGet, prefix + "/assets/style.css", nil},
		"wrong hash":             {http.MethodGet, prefix + "/assets/style-0000000000000000.css", nil},
		"the folder":             {http.MethodGet, prefix + "/assets/", nil},
		"path beside the prefix": {http.MethodGet, strings.TrimPrefix(style, "/my"), nil},
		"something after it":     {http.MethodGet, style + "/x", nil},
		"climbing to a source":   {http.MethodGet, prefix + "/assets/../card.templ", nil},
		"posting to a file":      {http.MethodPost, style, nil},
		"asking as a service worker": {
			http.MethodGet, assetPaths(t)["text/javascript; charset=utf-8"], http.Header{"Service-Worker": {"script"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := fetch(t, test.method, test.path, test.header)
			if w.Code != http.StatusNotFound {
				t.Errorf("%s %s = %d, want 404", test.method, test.path, w.Code)
			}
			if got := w.Header().Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control = %q, want no-store", got)
			}
		})
	}
}

// The content policy lets a style sheet fetch nothing but from its own origin;
// ours needs to fetch nothing at all.
func TestStyleSheetFetchesNothing(t *testing.T) {
	body := fetch(t, http.MethodGet, assetPaths(t)["text/css; charset=utf-8"], nil).Body.String()
	for _, word := range []string{"url(", "@import", "@font-face"} {
		if strings.Contains(body, word) {
			t.Errorf("the style sheet has %s", word)
		}
	}
}
