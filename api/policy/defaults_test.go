package policy_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/api/policy"
)

func TestSetDefaults(t *testing.T) {
	form := policy.PasswordCheck{
		Type: policy.PasswordCheckForm, Path: "/login", UsernameField: "username", PasswordField: "password",
		Success: policy.PasswordSuccess{Status: []int{302, 303}, NotLocation: "/login"},
	}
	want := policy.Rules{
		AdminRoles: []string{"administrator", "it-administrator", "super-administrator"},
		Workspace:  "portal",
		Issuer:     "portal",
		App: policy.App{
			Port: policy.Port{Number: 8080}, TwoFactorPath: "/my/profile/two-factor", SignInPath: "/login",
			SignOut: policy.SignOut{Path: "/logout", Method: "POST"}, PasswordCheck: form,
		},
		Identity: policy.Identity{Type: policy.IdentityEndpoint, Endpoint: &policy.EndpointIdentity{
			Path: "/api/me", AnonymousStatus: []int{401}, Cookies: []string{"session"}, Subject: "/id", Account: "/email", Roles: "/roles",
			CacheFor: span(5 * time.Second),
		}},
		Enrolment: policy.Enrolment{Mode: policy.EnrolmentOpen},
		Anonymous: policy.AnonymousAllow,
		Session:   policy.Session{MaxAge: span(24 * time.Hour), Idle: span(0), Freshness: span(15 * time.Minute)},
		Branding:  policy.Branding{ProductName: "portal"},
	}
	got := baseRules()
	got.SetDefaults("portal")
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestSetDefaultsOfIdentity(t *testing.T) {
	t.Run("jwt", func(t *testing.T) {
		r := &policy.Rules{}
		asJWT(r).JWKS = policy.JWKS{SecretRef: &policy.SecretRef{Name: "keys"}}
		r.SetDefaults("portal")
		want := &policy.JWTIdentity{
			Issuer: "https://id.example.com", Audience: []string{"portal"},
			JWKS:   policy.JWKS{SecretRef: &policy.SecretRef{Name: "keys", Key: "jwks.json"}},
			Claims: policy.JWTClaims{Subject: "sub", Account: "email", Roles: "roles", SignIn: "sid"},
		}
		if diff := cmp.Diff(want, r.Identity.JWT); diff != "" {
			t.Errorf("defaults (-want +got):\n%s", diff)
		}
	})
	t.Run("headers", func(t *testing.T) {
		r := &policy.Rules{}
		asHeaders(r)
		r.SetDefaults("portal")
		want := &policy.HeadersIdentity{
			Subject: "X-Forwarded-User", Account: "X-Forwarded-Email", Roles: "X-Forwarded-Groups",
			TrustedProxies: []string{"10.0.0.0/8"},
		}
		if diff := cmp.Diff(want, r.Identity.Headers); diff != "" {
			t.Errorf("defaults (-want +got):\n%s", diff)
		}
	})
	t.Run("a missing block is not invented", func(t *testing.T) {
		r := &policy.Rules{Identity: policy.Identity{Type: policy.IdentityEndpoint}}
		r.SetDefaults("portal")
		if diff := cmp.Diff(policy.Identity{Type: policy.IdentityEndpoint}, r.Identity); diff != "" {
			t.Errorf("identity (-want +got):\n%s", diff)
		}
	})
}

func TestSetDefaultsOfPasswordCheck(t *testing.T) {
	for _, tc := range []struct {
		name      string
		set, want policy.PasswordCheck
	}{
		{"JSON", policy.PasswordCheck{Type: policy.PasswordCheckJSON}, policy.PasswordCheck{
			Type: policy.PasswordCheckJSON, Path: "/account/in", UsernameField: "username", PasswordField: "password",
			Success: policy.PasswordSuccess{Status: []int{200}},
		}},
		{"Basic", policy.PasswordCheck{Type: policy.PasswordCheckBasic}, policy.PasswordCheck{
			Type: policy.PasswordCheckBasic, Path: "/account/in", Success: policy.PasswordSuccess{Status: []int{200}},
		}},
		{"None", policy.PasswordCheck{Type: policy.PasswordCheckNone}, policy.PasswordCheck{Type: policy.PasswordCheckNone}},
		{"Form follows the sign-in page", policy.PasswordCheck{}, policy.PasswordCheck{
			Type: policy.PasswordCheckForm, Path: "/account/in", UsernameField: "username", PasswordField: "password",
			Success: policy.PasswordSuccess{Status: []int{302, 303}, NotLocation: "/account/in"},
		}},
		{
			"what is written stays",
			policy.PasswordCheck{
				Path: "/check", UsernameField: "u", PasswordField: "p",
				Success: policy.PasswordSuccess{Status: []int{204}, NotLocation: "/no"},
			},
			policy.PasswordCheck{
				Type: policy.PasswordCheckForm, Path: "/check", UsernameField: "u", PasswordField: "p",
				Success: policy.PasswordSuccess{Status: []int{204}, NotLocation: "/no"},
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := baseRules()
			r.App.SignInPath = "/account/in"
			r.App.PasswordCheck = tc.set
			r.SetDefaults("portal")
			if diff := cmp.Diff(tc.want, r.App.PasswordCheck); diff != "" {
				t.Errorf("passwordCheck (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSetDefaultsKeepsFreshnessWithinMaxAge(t *testing.T) {
	r := baseRules()
	r.Session.MaxAge = span(5 * time.Minute)
	r.SetDefaults("portal")
	if got := r.Session.Freshness.Duration; got != 5*time.Minute {
		t.Errorf("freshness is %s, want 5m", got)
	}
}

func TestSetDefaultsTwiceChangesNothing(t *testing.T) {
	rules := map[string]*policy.Rules{"endpoint": baseRules(), "jwt": {}, "headers": {}, "none": {}}
	asJWT(rules["jwt"])
	asHeaders(rules["headers"])
	rules["none"].App.PasswordCheck.Type = policy.PasswordCheckNone
	for name, r := range rules {
		t.Run(name, func(t *testing.T) {
			r.SetDefaults("portal")
			once := mustJSON(t, r)
			r.SetDefaults("another-name")
			if diff := cmp.Diff(once, mustJSON(t, r)); diff != "" {
				t.Errorf("second call (-once +twice):\n%s", diff)
			}
		})
	}
}

// Two policies must not share what one of them may later change.
func TestSetDefaultsSharesNothing(t *testing.T) {
	a, b := baseRules(), baseRules()
	a.SetDefaults("a")
	b.SetDefaults("b")
	a.AdminRoles[0], a.Identity.Endpoint.Cookies[0], a.App.PasswordCheck.Success.Status[0] = "x", "x", 1
	a.Session.MaxAge.Duration = 0
	want := baseRules()
	want.SetDefaults("b")
	if diff := cmp.Diff(want, b); diff != "" {
		t.Errorf("changing one changed the other (-want +got):\n%s", diff)
	}
}
