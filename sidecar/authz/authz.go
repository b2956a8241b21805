// Package authz decides what happens to a request. It is one pure function over
// everything that matters, so that its whole input space can be read and tested.
//
// It may import sidecar/identity for the three-valued answer. It must never do
// I/O, hold state, or look at a request: whoever calls it has looked already.
package authz

import "github.com/sallyport/sallyport/sidecar/identity"

// Path classifies the path and method of a request.
type Path uint8

// The classes. PathApp is the zero value: whatever is not known is the app's.
const (
	// PathApp is any path of the app.
	PathApp Path = iota
	// PathExempt is exempt by the policy.
	PathExempt
	// PathSignIn belongs to the app's sign-in.
	PathSignIn
	// PathSignOut is the request that ends the app's session.
	PathSignOut
)

// Input is what a decision depends on.
type Input struct {
	Path Path
	// Identity of the request.
	Identity identity.Kind
	// Enrolled: the user's enrolment is Enabled. A pending one is not.
	Enrolled bool
	// Verified: this sign-in has passed the second step.
	Verified bool
	// Required: the policy applies to this user.
	Required bool
	// DenyAnonymous: the policy refuses requests without a sign-in.
	DenyAnonymous bool
}

// Decision is what happens to a request.
type Decision uint8

// The decisions. Refuse is the zero value on purpose.
const (
	// Refuse: it cannot be established who this is.
	Refuse Decision = iota
	// Allow: pass to the app.
	Allow
	// SignIn: the app's sign-in comes first.
	SignIn
	// Challenge: a code comes first.
	Challenge
	// Enrol: setting up a second factor comes first.
	Enrol
)

// String names the decision as metrics and logs do.
func (d Decision) String() string {
	switch d {
	case Allow:
		return "allow"
	case SignIn:
		return "sign_in"
	case Challenge:
		return "challenge"
	case Enrol:
		return "enrol"
	default:
		return "refuse"
	}
}

// Decide says what happens to a request.
func Decide(in Input) Decision {
	if in.Path == PathExempt {
		return Allow
	}
	switch in.Identity {
	case identity.Anonymous:
		if in.DenyAnonymous && in.Path != PathSignIn {
			return SignIn
		}
		return Allow
	case identity.Authenticated:
		return decideUser(in)
	default:
		return Refuse
	}
}

func decideUser(in Input) Decision {
	switch {
	case in.Enrolled && in.Verified:
		return Allow
	case !in.Enrolled && !in.Required:
		return Allow
	case in.Path == PathSignOut:
		return Allow
	case in.Enrolled:
		return Challenge
	default:
		return Enrol
	}
}
