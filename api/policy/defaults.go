package policy

import "time"

// The defaults that more than one place needs.
const (
	defaultTwoFactorPath = "/my/profile/two-factor"
	defaultSignInPath    = "/login"
	defaultSignOutPath   = "/logout"
	defaultFreshness     = 15 * time.Minute
	maxCacheFor          = 5 * time.Second
)

// SetDefaults fills every field that the manifest left out. What is there
// stays, so that calling it twice changes nothing. policyName is the name of
// the policy, from which workspace and issuer follow.
func (r *Rules) SetDefaults(policyName string) {
	if len(r.AdminRoles) == 0 {
		r.AdminRoles = []string{"administrator", "it-administrator", "super-administrator"}
	}
	fill(&r.Workspace, policyName)
	fill(&r.Issuer, policyName)
	fill(&r.Anonymous, AnonymousAllow)
	fill(&r.Enrolment.Mode, EnrolmentOpen)
	fill(&r.Branding.ProductName, r.Issuer)
	r.App.setDefaults()
	r.Identity.setDefaults()
	r.Session.setDefaults()
}

func (a *App) setDefaults() {
	fill(&a.TwoFactorPath, defaultTwoFactorPath)
	fill(&a.SignInPath, defaultSignInPath)
	fill(&a.SignOut.Path, defaultSignOutPath)
	fill(&a.SignOut.Method, "POST")
	a.PasswordCheck.setDefaults(a.SignInPath)
}

// setDefaults fills only what the type of check uses: a field that means
// nothing would read as if it did.
func (p *PasswordCheck) setDefaults(signInPath string) {
	fill(&p.Type, PasswordCheckForm)
	if p.Type == PasswordCheckNone {
		return
	}
	fill(&p.Path, signInPath)
	if p.Type == PasswordCheckForm || p.Type == PasswordCheckJSON {
		fill(&p.UsernameField, "username")
		fill(&p.PasswordField, "password")
	}
	if p.Type == PasswordCheckForm {
		fill(&p.Success.NotLocation, signInPath)
	}
	if len(p.Success.Status) > 0 {
		return
	}
	p.Success.Status = []int{200}
	if p.Type == PasswordCheckForm {
		p.Success.Status = []int{302, 303}
	}
}

// setDefaults fills the blocks that are there. A missing block is never
// invented: which source is meant is the writer's to say.
func (i *Identity) setDefaults() {
	if e := i.Endpoint; e != nil {
		fill(&e.Path, "/api/me")
		// Where a redirect means nobody, a status that nobody asked for must not.
		if len(e.AnonymousStatus) == 0 && e.AnonymousLocation == "" {
			e.AnonymousStatus = []int{401}
		}
		if len(e.Cookies) == 0 {
			e.Cookies = []string{"session"}
		}
		fill(&e.Subject, "/id")
		fill(&e.Account, "/email")
		fill(&e.Roles, "/roles")
		fillDuration(&e.CacheFor, maxCacheFor)
	}
	if j := i.JWT; j != nil {
		if j.JWKS.SecretRef != nil {
			fill(&j.JWKS.SecretRef.Key, "jwks.json")
		}
		fill(&j.Claims.Subject, "sub")
		fill(&j.Claims.Account, "email")
		fill(&j.Claims.Roles, "roles")
		fill(&j.Claims.SignIn, "sid")
	}
	if h := i.Headers; h != nil {
		fill(&h.Subject, "X-Forwarded-User")
		fill(&h.Account, "X-Forwarded-Email")
		fill(&h.Roles, "X-Forwarded-Groups")
	}
}

// setDefaults keeps the default of freshness within maxAge: whoever shortens
// maxAge alone must not be told off for a field they never wrote.
func (s *Session) setDefaults() {
	fillDuration(&s.MaxAge, 24*time.Hour)
	fillDuration(&s.Idle, 0)
	fillDuration(&s.Freshness, max(minSpan, min(defaultFreshness, s.MaxAge.Duration)))
}

func fill[T ~string](field *T, value T) {
	if *field == "" {
		*field = value
	}
}

func fillDuration(field **Duration, value time.Duration) {
	if *field == nil {
		*field = &Duration{value}
	}
}
