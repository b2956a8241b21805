// Package certs holds the certificate that the webhook serves and the authorities
// that the API server is to trust.
//
// Keeper makes them itself, in one Secret of the operator's namespace: every replica
// watches that one Secret and serves from memory, so none waits for a volume and all
// present the same certificate. Files takes them from files that cert-manager, or
// anyone else, renews.
//
// Neither lets a change of the authority refuse a pod. A new authority is first only
// trusted: it joins the bundle, every webhook configuration is seen to hold it, API
// servers get time to notice, and only then is its certificate served. The old one
// stays in the bundle for a while after.
//
// The common library for this (open-policy-agent/cert-controller) cannot do that:
// it replaces authority and certificate in one write and the bundles after it, serves
// from a mounted volume, watches all Secrets of its namespace, and must be told the
// names of the webhook configurations beforehand, where ours come and go with the
// policies. What is left to do is small and on the standard library.
//
// It may import api/v1alpha1 and controller-runtime. It must never log a key, and
// never serve a certificate that its own bundle does not verify.
package certs
