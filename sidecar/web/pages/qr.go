package pages

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/a-h/templ"
	qrcode "github.com/skip2/go-qrcode"
)

// modulePixels is how many pixels wide one module of the QR code is: enough
// for a sharp picture on a dense screen, few enough for a small page.
const modulePixels = 6

// keyURIScheme is how every URI that authenticator apps understand begins.
const keyURIScheme = "otpauth://totp/"

// errKeyURI says nothing about the URI, because the URI is a secret.
var errKeyURI = errors.New("key URI does not begin with " + keyURIScheme)

// qrImage draws a key URI as a PNG in a data URL, black on white with its
// quiet zone, whatever colours the page has. It travels inside the page so that no
// request, cache or log ever names it.
func qrImage(keyURI string) (templ.SafeURL, error) {
	if !strings.HasPrefix(keyURI, keyURIScheme) {
		return "", errKeyURI
	}
	png, err := qrcode.Encode(keyURI, qrcode.Medium, -modulePixels)
	if err != nil {
		return "", fmt.Errorf("drawing QR code: %w", err)
	}
	// templ lets no data URL pass. This one is vouched for: a picture that we drew, in base64.
	return templ.SafeURL("data:image/png;base64," + base64.StdEncoding.EncodeToString(png)), nil
}

// keyLink returns a key URI as a link that opens an authenticator app. Its
// scheme is none that templ lets pass, so it is vouched for here, once it
// is certain that the scheme is otpauth.
func keyLink(keyURI string) (templ.SafeURL, error) {
	if !strings.HasPrefix(keyURI, keyURIScheme) {
		return "", errKeyURI
	}
	return templ.SafeURL(link(keyURI)), nil
}

// grouped writes a base32 secret in groups of four, however it came.
func grouped(secret string) string {
	secret = strings.Join(strings.Fields(secret), "")
	var groups []string
	for len(secret) > 4 {
		groups = append(groups, secret[:4])
		secret = secret[4:]
	}
	return strings.Join(append(groups, secret), " ")
}
