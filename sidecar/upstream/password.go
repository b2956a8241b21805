package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/mfa"
)

// CheckPassword asks the app whether the password belongs to the account. It
// returns nil, mfa.ErrWrongPassword, or an error that wraps ErrUnavailable where
// the app's answer tells neither.
func (c *Client) CheckPassword(ctx context.Context, from *http.Request, account, password string) error {
	if account == "" || password == "" {
		return mfa.ErrWrongPassword
	}
	switch c.rules.PasswordCheck.Type {
	case policy.PasswordCheckForm:
		return c.checkForm(ctx, from, account, password)
	case policy.PasswordCheckJSON:
		return c.checkJSON(ctx, from, account, password)
	case policy.PasswordCheckBasic:
		return c.checkBasic(ctx, from, account, password)
	default:
		return fmt.Errorf("%w: the policy has no password check", ErrUnavailable)
	}
}

// checkForm fetches the sign-in page as nobody, fills in its form and submits it:
// so the app's own form token and its anonymous session come along.
func (c *Client) checkForm(ctx context.Context, from *http.Request, account, password string) error {
	check := c.rules.PasswordCheck
	page, err := c.request(ctx, from, http.MethodGet, check.Path, nil)
	if err != nil {
		return err
	}
	page.Header.Set("Accept", "text/html")
	page.Header.Del("Origin")
	response, err := c.client.Do(page)
	if err != nil {
		return fmt.Errorf("%w: fetch the sign-in page: %w", ErrUnavailable, err)
	}
	defer drain(response)
	found := form{action: check.Path, fields: url.Values{}}
	if response.StatusCode == http.StatusOK {
		f, ok, err := findForm(io.LimitReader(response.Body, maxBody), check.Path, check.PasswordField)
		if err != nil {
			return fmt.Errorf("%w: read the sign-in page: %w", ErrUnavailable, err)
		}
		if ok {
			found = f
		}
	}
	found.fields.Set(check.UsernameField, account)
	found.fields.Set(check.PasswordField, password)
	submit, err := c.request(ctx, from, http.MethodPost, found.action, strings.NewReader(found.fields.Encode()))
	if err != nil {
		return err
	}
	submit.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	submit.Header.Set("Accept", "text/html")
	setCookies(submit, response.Cookies())
	return c.judge(ctx, from, submit, response.Cookies())
}

func (c *Client) checkJSON(ctx context.Context, from *http.Request, account, password string) error {
	check := c.rules.PasswordCheck
	body, err := json.Marshal(map[string]string{check.UsernameField: account, check.PasswordField: password})
	if err != nil {
		return fmt.Errorf("encode a password check: %w", err)
	}
	r, err := c.request(ctx, from, http.MethodPost, check.Path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	return c.judge(ctx, from, r, nil)
}

func (c *Client) checkBasic(ctx context.Context, from *http.Request, account, password string) error {
	if strings.Contains(account, ":") {
		return fmt.Errorf("%w: an account name with a colon cannot be sent (RFC 7617, section 2)", ErrUnavailable)
	}
	r, err := c.request(ctx, from, http.MethodGet, c.rules.PasswordCheck.Path, nil)
	if err != nil {
		return err
	}
	r.SetBasicAuth(account, password)
	return c.judge(ctx, from, r, nil)
}

// judge sends the attempt and reads the app's verdict. A session that the app
// opened for it is ended again; nobody else ever sees its cookies.
func (c *Client) judge(ctx context.Context, from *http.Request, attempt *http.Request, before []*http.Cookie) error {
	response, err := c.client.Do(attempt)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer drain(response)
	if !c.accepted(response) {
		if saysNothing(response.StatusCode) {
			return fmt.Errorf("%w: it answered with status %d", ErrUnavailable, response.StatusCode)
		}
		return mfa.ErrWrongPassword
	}
	if cookies := response.Cookies(); len(cookies) > 0 {
		session := merge(before, cookies)
		// The password was right whether or not this session can be ended.
		_, _ = c.signOut(ctx, withoutCredentials(from), session)
	}
	return nil
}

func (c *Client) accepted(response *http.Response) bool {
	success := c.rules.PasswordCheck.Success
	if !slices.Contains(success.Status, response.StatusCode) {
		return false
	}
	if success.NotLocation == "" {
		return true
	}
	location, err := response.Location()
	if err != nil {
		// No Location to tell a success from a return to the sign-in page by.
		return response.StatusCode < 300 || response.StatusCode > 399
	}
	return strings.TrimSuffix(location.Path, "/") != strings.TrimSuffix(success.NotLocation, "/")
}

// saysNothing reports whether a status speaks of the app's trouble and not of the
// password.
func saysNothing(status int) bool {
	switch status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	}
	return status >= 500
}

func withoutCredentials(from *http.Request) *http.Request {
	r := from.Clone(from.Context())
	r.Header.Del("Authorization")
	r.Header.Del("Cookie")
	return r
}

func setCookies(r *http.Request, cookies []*http.Cookie) {
	if header := merge(nil, cookies); header != "" {
		r.Header.Set("Cookie", header)
	}
}

// merge returns a Cookie header of the cookies; later ones win, deleted ones go.
func merge(before, after []*http.Cookie) string {
	values, order := map[string]string{}, []string{}
	for _, cookie := range slices.Concat(before, after) {
		if _, known := values[cookie.Name]; !known {
			order = append(order, cookie.Name)
		}
		values[cookie.Name] = cookie.Value
		if cookie.MaxAge < 0 || cookie.Value == "" {
			values[cookie.Name] = ""
		}
	}
	var pairs []string
	for _, name := range order {
		if values[name] != "" {
			pairs = append(pairs, name+"="+values[name])
		}
	}
	return strings.Join(pairs, "; ")
}
