package server

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/identity"
)

// roleCounter counts requests of users whose roles cannot be read. Whoever lacks them
// is taken for an administrator, so that an app which stops telling roles has all its
// users asked for a second factor: somebody should hear of it.
type roleCounter struct {
	identity.Source

	unknown prometheus.Counter
}

// countUnknownRoles counts only where a role decides.
func countUnknownRoles(source identity.Source, rules *policy.Rules, unknown prometheus.Counter) identity.Source {
	if !rules.RequireForAdmins || rules.RequireForEveryone {
		return source
	}
	return &roleCounter{source, unknown}
}

// Identify implements identity.Source.
func (c *roleCounter) Identify(ctx context.Context, r *http.Request) identity.Identity {
	id := c.Source.Identify(ctx, r)
	if id.Kind == identity.Authenticated && !id.RolesKnown {
		c.unknown.Inc()
	}
	return id
}
