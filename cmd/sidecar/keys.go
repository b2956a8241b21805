package main

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/sidecar/seal"
)

func keysCommand() *cobra.Command {
	return &cobra.Command{
		Use: "keys", Short: "Write a new key ring to standard output", Args: noArgs,
		Long: `keys writes a new key ring. Every sidecar of a workspace needs the same one.
Keep it safe and keep a copy: without it no enrolment can be read.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ring, err := seal.Generate(rand.Reader, time.Now())
			if err != nil {
				return fmt.Errorf("make a key ring: %w", err)
			}
			_, err = cmd.OutOrStdout().Write(ring)
			return err
		},
	}
}
