// Package v1alpha1 is the Kubernetes envelope around the rules of api/policy: the
// MFAPolicy resource, its conditions, and every well-known name that the
// operator writes into a cluster.
//
// The rules themselves are policy.Rules, inlined into the spec: what is read in
// Git is what every sidecar obeys. It may import api/policy and the Kubernetes
// API machinery. It must never hold behaviour beyond reading its own types.
//
// +kubebuilder:object:generate=true
// +kubebuilder:ac:generate=true
// +groupName=mfa.sallyport.dev
package v1alpha1
