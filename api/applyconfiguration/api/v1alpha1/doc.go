// Package v1alpha1 holds what make generate writes from api/v1alpha1: configurations for
// server-side apply, which say only what was set, for those who write policies from a
// program of their own.
//
// It may import the API packages and client-go. It must never be edited: all but this
// file is written anew.
package v1alpha1
