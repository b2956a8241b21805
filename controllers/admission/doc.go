// Package admission builds what the API server is told: which pods to send to the
// injector, and which to refuse if they arrive without their sidecar.
//
// Each policy has a webhook configuration and a backstop of its own, generated from
// its selector: an outage of the operator can hold up no other pod, and no object
// grows with the number of policies. What the backstops have in common is one static
// policy, bound once for each. The API server evaluates them by itself, so they hold
// when no operator runs and when the webhook configuration is gone.
//
// It is pure: it may import api/v1alpha1 and the Kubernetes API types, and must
// never read a cluster. Nothing that a tenant writes on a pod may ever become a
// reason to skip it: a webhook built here has no match conditions at all, for the
// same reason.
package admission
