package web

import (
	"encoding/base64"
	"net/http"
	"time"
)

// Cookies are the two cookies of the sidecar: the browser's token, and where to
// return to after the app's sign-in. Neither ever reaches the app.
type Cookies struct {
	// Insecure serves them without Secure and without the __Host- prefix, for
	// development over plain HTTP.
	Insecure bool
}

const returnLifetime = 10 * time.Minute

// Token is the name of the cookie that holds the browser's token.
func (c Cookies) Token() string { return c.prefix() + "sallyport" }

// Return is the name of the cookie that remembers where to return to.
func (c Cookies) Return() string { return c.prefix() + "sallyport-return" }

// Names lists both.
func (c Cookies) Names() []string { return []string{c.Token(), c.Return()} }

// The __Host- prefix makes a browser refuse the cookie from a sibling domain or
// without Secure (RFC 6265bis, section 4.1.3.2).
func (c Cookies) prefix() string {
	if c.Insecure {
		return ""
	}
	return "__Host-"
}

// SetToken gives the browser its token, for as long as the browser runs.
func (c Cookies) SetToken(w http.ResponseWriter, token string) {
	http.SetCookie(w, c.cookie(c.Token(), token, 0))
}

// EndToken takes the token from the browser.
func (c Cookies) EndToken(header http.Header) {
	header.Add("Set-Cookie", c.cookie(c.Token(), "", -1).String())
}

// SetReturn remembers a path for the first page after the sign-in.
func (c Cookies) SetReturn(w http.ResponseWriter, path string) {
	value := base64.RawURLEncoding.EncodeToString([]byte(path))
	http.SetCookie(w, c.cookie(c.Return(), value, int(returnLifetime/time.Second)))
}

// EndReturn forgets the path.
func (c Cookies) EndReturn(w http.ResponseWriter) { http.SetCookie(w, c.cookie(c.Return(), "", -1)) }

// DecodeReturn returns the path that a Return cookie's value holds, "" if none.
func (c Cookies) DecodeReturn(value string) string {
	path, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		return ""
	}
	return string(path)
}

func (c Cookies) cookie(name, value string, maxAge int) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // Secure is off for development alone, and said so at the start
		Name: name, Value: value, Path: "/", MaxAge: maxAge,
		Secure: !c.Insecure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}
