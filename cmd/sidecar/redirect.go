package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/sidecar/redirect"
)

// redirectTimeout bounds the wait for a kernel that answers in milliseconds.
const redirectTimeout = 10 * time.Second

func redirectCommand() *cobra.Command {
	var rules redirect.Rules
	var ports []uint
	cmd := &cobra.Command{
		Use: "redirect --port PORT [--port PORT ...]", Short: "Redirect the pod's app ports to the sidecar", Args: noArgs,
		Long: `redirect makes TCP connections from outside the pod to the app's ports arrive at
the sidecar, over IPv4 and IPv6. It is run once, by an init container with the
capability NET_ADMIN, and replaces what an earlier run left. Connections within
the pod are not redirected, and neither is UDP.`,
		Example: `  sidecar redirect --port 8080 --port 8443 --to 15080`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, port := range ports {
				if port > 1<<16-1 {
					return &usageError{fmt.Errorf("--port %d: a port is at most %d", port, 1<<16-1)}
				}
				rules.Ports = append(rules.Ports, uint16(port))
			}
			if err := rules.Validate(); err != nil {
				return &usageError{err}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), redirectTimeout)
			defer cancel()
			return redirect.Apply(ctx, rules)
		},
	}
	cmd.Flags().UintSliceVar(&ports, "port", nil, "TCP port of the app (required); once for each port")
	cmd.Flags().Uint16Var(&rules.To, "to", 15080, "port at which the sidecar listens for the app's traffic")
	return cmd
}
