package authz_test

import (
	"testing"

	"github.com/sallyport/sallyport/sidecar/authz"
	"github.com/sallyport/sallyport/sidecar/identity"
)

// everyInput walks the whole input space.
func everyInput(visit func(authz.Input)) {
	bools := []bool{false, true}
	for path := authz.PathApp; path <= authz.PathSignOut; path++ {
		for kind := identity.Indeterminate; kind <= identity.Authenticated; kind++ {
			for _, enrolled := range bools {
				for _, verified := range bools {
					for _, required := range bools {
						for _, deny := range bools {
							visit(authz.Input{
								Path: path, Identity: kind, Enrolled: enrolled, Verified: verified,
								Required: required, DenyAnonymous: deny,
							})
						}
					}
				}
			}
		}
	}
}

func TestDecideHoldsItsInvariantsOverEveryInput(t *testing.T) {
	t.Parallel()
	invariants := []struct {
		name  string
		holds func(in authz.Input, got authz.Decision) bool
	}{
		{"an exempt path passes and nothing else is exempt", func(in authz.Input, got authz.Decision) bool {
			return in.Path != authz.PathExempt || got == authz.Allow
		}},
		{"an identity that cannot be established is refused", func(in authz.Input, got authz.Decision) bool {
			return in.Path == authz.PathExempt || in.Identity != identity.Indeterminate || got == authz.Refuse
		}},
		{"only an identity that cannot be established is refused", func(in authz.Input, got authz.Decision) bool {
			return got != authz.Refuse || in.Identity == identity.Indeterminate
		}},
		{"an enrolled user passes only verified, or to sign out", func(in authz.Input, got authz.Decision) bool {
			if in.Identity != identity.Authenticated || !in.Enrolled || in.Verified || in.Path == authz.PathExempt {
				return true
			}
			return (got == authz.Allow) == (in.Path == authz.PathSignOut) && (got == authz.Allow || got == authz.Challenge)
		}},
		{"a required user who is not enrolled passes only to sign out", func(in authz.Input, got authz.Decision) bool {
			if in.Identity != identity.Authenticated || in.Enrolled || !in.Required || in.Path == authz.PathExempt {
				return true
			}
			return (got == authz.Allow) == (in.Path == authz.PathSignOut) && (got == authz.Allow || got == authz.Enrol)
		}},
		{"a verification without an enrolment counts for nothing", func(in authz.Input, got authz.Decision) bool {
			without := in
			without.Verified = false
			return in.Enrolled || got == authz.Decide(without)
		}},
		{"a user who is neither enrolled nor required passes", func(in authz.Input, got authz.Decision) bool {
			return in.Identity != identity.Authenticated || in.Enrolled || in.Required || got == authz.Allow
		}},
		{"nobody passes unless the policy denies it", func(in authz.Input, got authz.Decision) bool {
			if in.Identity != identity.Anonymous || in.Path == authz.PathExempt {
				return true
			}
			if in.DenyAnonymous && in.Path != authz.PathSignIn {
				return got == authz.SignIn
			}
			return got == authz.Allow
		}},
	}
	for _, invariant := range invariants {
		t.Run(invariant.name, func(t *testing.T) {
			t.Parallel()
			everyInput(func(in authz.Input) {
				if got := authz.Decide(in); !invariant.holds(in, got) {
					t.Errorf("Decide(%+v) = %v", in, got)
				}
			})
		})
	}
}

func TestZeroValuesAreTheSafeOnes(t *testing.T) {
	t.Parallel()
	if got := authz.Decide(authz.Input{}); got != authz.Refuse {
		t.Errorf("the decision on the zero Input is %v, want %v", got, authz.Refuse)
	}
	var zero authz.Decision
	if zero != authz.Refuse {
		t.Errorf("the zero Decision is %v, want %v", zero, authz.Refuse)
	}
}
