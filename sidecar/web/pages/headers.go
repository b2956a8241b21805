package pages

import "net/http"

// contentPolicy lets a page load its own style sheet, script and icons, show
// the QR code it carries, and post to its own origin. Nothing else.
const contentPolicy = "default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// SetHeaders sets the headers that every answer of the sidecar's own carries,
// pages, redirects and refusals alike. The threats: framing (clickjacking),
// injected markup, a type guessed by the browser, a referrer that tells where
// somebody was, another origin that reads or holds on to the window, and a
// cache that hands one person's answer to another. It overwrites, so nothing
// weaker that was set before survives.
//
// The referrer policy is same-origin and not no-referrer: under the latter a
// browser posts a form with "Origin: null", and where it sends no Sec-Fetch-Site
// (plain HTTP to a name) the cross-origin check could only refuse it. No other
// origin learns anything either way.
func SetHeaders(h http.Header) {
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Cookie, Authorization")
}
