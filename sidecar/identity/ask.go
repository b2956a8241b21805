package identity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/identity/wire"
)

const (
	askTimeout = time.Second
	askIdle    = 1500 * time.Millisecond // as the proxy's connections, for the same reason
	maxAnswer  = 64 << 10
	drainLimit = 4 << 10
)

// ask puts the question to the app and reads the answer, all within askTimeout. Only
// users are kept: remembering a nobody would let the first request after a sign-in
// through without a second factor.
func (e *Endpoint) ask(ctx context.Context, question *http.Request) (id Identity, keep bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	asked := e.clock()
	id, err = e.exchange(question.WithContext(ctx))
	if e.observer != nil {
		e.observer(ctx, Event{
			Source: policy.IdentityEndpoint, Kind: id.Kind, Reason: id.Reason, Took: e.clock().Sub(asked), Err: err,
		})
	}
	return id, id.Kind == Authenticated, err
}

// question is a GET that the app cannot tell from one of the browser's own, as far
// as sessions go: the same cookies, the same Authorization, the same Host and the
// same address. The round trip is made without an http.Client, so that there are
// no redirects to follow and no cookies to keep.
func (e *Endpoint) question(r *http.Request, ev evidence) *http.Request {
	target := e.target
	q := &http.Request{
		Method: http.MethodGet, URL: &target, Host: r.Host, Header: http.Header{},
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	wire.Forwarded(q.Header, r)
	wire.SetCookieLine(q.Header, ev.cookies)
	if len(ev.authorization) > 0 {
		q.Header["Authorization"] = slices.Clone(ev.authorization)
	}
	q.Header["User-Agent"] = []string{""} // net/http would speak of itself otherwise
	for _, name := range []string{"User-Agent", "Accept-Language"} {
		if values := r.Header[name]; len(values) > 0 {
			q.Header[name] = slices.Clone(values)
		}
	}
	q.Header.Set("Accept", e.accept())
	return q
}

func (e *Endpoint) exchange(q *http.Request) (Identity, error) {
	response, err := e.transport.RoundTrip(q)
	if err != nil {
		return failure(fmt.Errorf("ask the app who is signed in: %w", err))
	}
	defer func() {
		// What is left of a short answer is read, for the connection's next use.
		_, _ = io.CopyN(io.Discard, response.Body, drainLimit)
		_ = response.Body.Close()
	}()
	switch {
	case slices.Contains(e.anonymous, response.StatusCode), e.leadsToSignIn(response):
		return Identity{Kind: Anonymous}, nil
	case response.StatusCode != http.StatusOK:
		return indeterminate(ReasonStatus), fmt.Errorf("the app answered %d where 200, anonymousStatus %v or anonymousLocation %q was expected",
			response.StatusCode, e.anonymous, e.signInPath)
	case !e.readable(response.Header):
		return unreadable("the app's answer is not " + string(e.format))
	}
	limit := e.limit()
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return failure(fmt.Errorf("read the app's answer: %w", err))
	}
	if int64(len(body)) > limit {
		return unreadable("the app's answer is too long")
	}
	return e.read(body)
}

// leadsToSignIn reports whether the app sends whoever asks to its sign-in page. Only
// the path counts: the query says where to return to, and the host is the app's own
// idea of its address.
func (e *Endpoint) leadsToSignIn(response *http.Response) bool {
	switch response.StatusCode {
	case http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect:
	default:
		return false
	}
	values := response.Header["Location"]
	if e.signInPath == "" || len(values) != 1 {
		return false
	}
	location, err := e.target.Parse(values[0])
	return err == nil && location.EscapedPath() == e.signInPath
}

// read finds the user in the app's answer. The answer itself is in no error: it is
// the user's profile.
func (e *Endpoint) read(body []byte) (Identity, error) {
	document, err := e.decode(body)
	if err != nil {
		return Identity{Kind: Indeterminate, Reason: ReasonAnswer}, err
	}
	value, _ := e.subject.Lookup(document)
	subject, ok := readSubject(value)
	if !ok {
		return unreadable("the app's answer holds no usable subject")
	}
	id := Identity{Kind: Authenticated, Subject: subject}
	if account, ok := e.account.Lookup(document); ok {
		id.Account = readAccount(account)
	}
	if roles, ok := e.roles.Lookup(document); ok {
		id.Roles, id.RolesKnown = readRoles(roles)
	}
	return id, nil
}

func unreadable(why string) (Identity, error) { return indeterminate(ReasonAnswer), errors.New(why) }

func failure(err error) (Identity, error) {
	if timeout, ok := errors.AsType[net.Error](err); errors.Is(err, context.DeadlineExceeded) || (ok && timeout.Timeout()) {
		return indeterminate(ReasonTimeout), err
	}
	return indeterminate(ReasonUnreachable), err
}
