// Package upstream asks the app two things in the app's own words: "is this
// password right?" and "end this session". The app owns passwords and sessions;
// the sidecar only repeats what a browser would send.
//
// It may import api/policy, sidecar/mfa (for what a wrong password is called) and
// sidecar/identity/wire (the forwarding headers that everything for the app carries).
// It must never keep, log or return a password, and never let a cookie of its own
// sign-in attempts reach a browser.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/identity/wire"
)

// ErrUnavailable means that the app gave no usable answer, so that nothing is
// known about the password.
var ErrUnavailable = errors.New("the app did not answer the password check")

const (
	timeout     = 5 * time.Second
	maxBody     = 256 << 10
	dialTimeout = 2 * time.Second
)

// Client asks one app under one policy.
type Client struct {
	app    *url.URL
	rules  policy.App
	client *http.Client
}

// New returns a Client for the app at the given origin.
func New(app *url.URL, rules policy.App) *Client {
	return &Client{app: app, rules: rules, client: &http.Client{
		Timeout: timeout,
		// Connections are not shared with proxied traffic: one poisoned by a
		// client must not answer a password check.
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
			MaxIdleConnsPerHost: 2,
			IdleConnTimeout:     30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close lets go of idle connections.
func (c *Client) Close() { c.client.CloseIdleConnections() }

// request returns a request to the app's path, as if it came from the same place
// as the browser's request and from a page of the app itself.
func (c *Client) request(
	ctx context.Context, from *http.Request, method, path string, body io.Reader,
) (*http.Request, error) {
	ref, err := url.Parse(path)
	if err != nil {
		return nil, fmt.Errorf("read the path %q: %w", path, err)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.app.ResolveReference(ref).String(), body)
	if err != nil {
		return nil, fmt.Errorf("make a request to the app: %w", err)
	}
	r.Host = from.Host
	for _, name := range []string{"User-Agent", "Accept-Language"} {
		r.Header[name] = slices.Clone(from.Header.Values(name))
	}
	wire.Forwarded(r.Header, from)
	origin := r.Header.Get("X-Forwarded-Proto") + "://" + from.Host
	r.Header.Set("Origin", origin)
	r.Header.Set("Referer", origin+path)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return r, nil
}

// SignOut ends the session of the browser's request at the app and returns the
// cookies that the app sets in answer. An app that refuses (its sign-out may want
// a form token that only its own pages hold) is no error: whoever calls expires
// the session cookies in the browser as well.
func (c *Client) SignOut(ctx context.Context, from *http.Request) ([]string, error) {
	return c.signOut(ctx, from, from.Header.Get("Cookie"))
}

func (c *Client) signOut(ctx context.Context, from *http.Request, cookie string) ([]string, error) {
	r, err := c.request(ctx, from, c.rules.SignOut.Method, c.rules.SignOut.Path, nil)
	if err != nil {
		return nil, err
	}
	if r.Method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.Header.Set("Accept", "text/html,application/json;q=0.9,*/*;q=0.8")
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	if auth := from.Header.Get("Authorization"); auth != "" {
		r.Header.Set("Authorization", auth)
	}
	response, err := c.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("end the app's session: %w", err)
	}
	defer drain(response)
	if response.StatusCode >= http.StatusBadRequest {
		return nil, nil
	}
	return response.Header.Values("Set-Cookie"), nil
}

func drain(response *http.Response) {
	_, _ = io.CopyN(io.Discard, response.Body, maxBody)
	_ = response.Body.Close()
}
