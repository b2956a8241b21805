// Package identity answers "who is signed in?" for a request, from one of three
// sources: the app itself (Endpoint), a signed token (JWT), or an authenticating
// proxy in front (Headers).
//
// The answer has three values, and the zero value is the safe one: a user,
// nobody, or "cannot be established". A source never turns a failure, a
// malformed credential or a nonsensical answer into nobody: whoever is taken for
// nobody is let through to the app, so that mistake would be the bypass.
//
// It may import api/policy and nothing else of ours. It must never log or return
// a credential.
package identity

import (
	"context"
	"net/http"
)

// Kind is the value of an answer.
type Kind uint8

// The three values. Indeterminate is the zero value on purpose.
const (
	// Indeterminate: it cannot be established who this is. Never let through.
	Indeterminate Kind = iota
	// Anonymous: certainly nobody.
	Anonymous
	// Authenticated: a user of the workspace.
	Authenticated
)

// Reason says why an answer is Indeterminate, from a closed set that is safe for
// metrics and logs.
type Reason string

// The reasons of an Indeterminate answer.
const (
	// ReasonMalformed: the request carries a credential that no two parsers would
	// read alike. The request is at fault: 400.
	ReasonMalformed Reason = "malformed_credential"
	// ReasonTimeout: the source did not answer in time: 503.
	ReasonTimeout Reason = "timeout"
	// ReasonUnreachable: the source cannot be reached: 503.
	ReasonUnreachable Reason = "unreachable"
	// ReasonStatus: the source answered with a status that says nothing: 503.
	ReasonStatus Reason = "unexpected_status"
	// ReasonAnswer: the source's answer makes no sense: 503.
	ReasonAnswer Reason = "unreadable_answer"
	// ReasonKeys: the keys that tokens are checked with are not at hand: 503.
	ReasonKeys Reason = "keys_unavailable"
)

// Identity is the answer for one request.
type Identity struct {
	Kind Kind
	// Reason is set when Kind is Indeterminate.
	Reason Reason
	// Subject is the user's stable id in the workspace. Set when Authenticated.
	Subject string
	// Account is the name that the user signs in with, "" where unknown.
	Account string
	// Roles that the source reports. Nobody may change them: the answers to requests of
	// one user share them.
	Roles []string
	// RolesKnown is false where the source reported no readable roles; the user
	// then counts as one who holds every role.
	RolesKnown bool
	// SignIn identifies this sign-in as long as it lasts, "" where the source
	// has no stable id. It may be a credential: hash it, never log it.
	SignIn string
}

// Source answers who is signed in. It is safe for concurrent use.
type Source interface {
	// Identify answers for a request that has passed hygiene, and removes from it
	// every credential that the answer does not speak for. What goes on to the app
	// is what was judged, whichever of it the app heeds: another credential beside
	// the judged one would make the app see another user.
	Identify(ctx context.Context, r *http.Request) Identity
	// Strip removes from a request that was not judged whatever this source takes
	// for a credential, and the Authorization header.
	Strip(r *http.Request)
	// Forget drops what was remembered for the request's credentials.
	Forget(r *http.Request)
	// Observe tells the answer's sign-in id after the app's response set
	// cookies; changed is false where the response does not touch it.
	Observe(r *http.Request, response http.Header) (signIn string, changed bool)
}
