// Package bench measures what the sidecar costs a request, in one run beside an app
// without a door, a plain reverse proxy in Go, and nginx: `make bench`, of which
// docs/performance.md is the result.
//
// It drives the sidecar as people and browsers do, by HTTP, and looks at processes from
// outside, in Linux's /proc. It serves tests only, and must never link a product's
// figure to a build that nobody gets: programs are built as `make build` builds them.
package bench
