// Package docs holds the documents to what they say: links lead somewhere, every reason
// and code that a person can meet is explained, and the Redis user that they have people
// make can do the work.
//
// It imports what the operator and the sidecars use of Redis, to do the same as that
// user. It must never be loosened to let a change pass: the document is what changes.
package docs
