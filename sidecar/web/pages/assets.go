package pages

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed static
var staticFiles embed.FS

// hashLength is how many hex digits of a file's SHA-256 its name carries.
const hashLength = 16

// asset is one file and how it is served.
type asset struct {
	body        []byte
	contentType string
	etag        string
}

// assets knows every file by the path under which browsers ask for it, and
// the paths of those that pages refer to.
type assets struct {
	Style, Script, Icon string

	byPath map[string]asset
}

// loadAssets names each embedded file after its content. A name never changes
// its meaning, so browsers may keep the file for as long as they like, and a
// new version of the sidecar is picked up at once.
func loadAssets(prefix string) (assets, error) {
	loaded := assets{byPath: make(map[string]asset)}
	for _, file := range []struct {
		name, contentType string
		url               *string
	}{
		{"style.css", "text/css; charset=utf-8", &loaded.Style},
		{"page.js", "text/javascript; charset=utf-8", &loaded.Script},
		{"icon.svg", "image/svg+xml", &loaded.Icon},
	} {
		body, err := staticFiles.ReadFile("static/" + file.name)
		if err != nil {
			return assets{}, fmt.Errorf("reading asset %s: %w", file.name, err)
		}
		sum := sha256.Sum256(body)
		hash := hex.EncodeToString(sum[:])[:hashLength]
		ext := path.Ext(file.name)
		*file.url = fmt.Sprintf("%s/assets/%s-%s%s", prefix, strings.TrimSuffix(file.name, ext), hash, ext)
		loaded.byPath[*file.url] = asset{body: body, contentType: file.contentType, etag: `"` + hash + `"`}
	}
	return loaded, nil
}

// Assets serves the style sheet, the script and the icon to anyone who asks
// for them by their exact path. Everything else below it is 404, and so is any
// of them asked for as a service worker: a worker on this prefix would see the
// codes that people type.
func (r *Renderer) Assets() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		file, known := r.assets.byPath[req.URL.Path]
		readable := req.Method == http.MethodGet || req.Method == http.MethodHead
		if !known || !readable || req.Header.Get("Service-Worker") != "" {
			SetHeaders(w.Header())
			http.Error(w, http.StatusText(http.StatusNotFound), http.StatusNotFound)
			return
		}
		// A 412 would carry the headers below, and a cache could keep it in the file's
		// place for a year. These two guard changes, and here there are none.
		req = req.Clone(req.Context())
		req.Header.Del("If-Match")
		req.Header.Del("If-Unmodified-Since")
		h := w.Header()
		h.Set("Content-Type", file.contentType)
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
		h.Set("ETag", file.etag)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(file.body))
	})
}
