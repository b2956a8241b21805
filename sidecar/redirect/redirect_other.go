//go:build !linux

package redirect

import "context"

// Apply fails: there is no nf_tables but on Linux.
func Apply(_ context.Context, r Rules) error {
	if err := r.Validate(); err != nil {
		return err
	}
	return ErrUnsupported
}
