package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/sallyport/sallyport/sidecar/probe"
)

// probesHandler is what --probes asks for; nil if it asks for nothing.
func probesHandler(document string, log *slog.Logger) (http.Handler, error) {
	if document == "" {
		return nil, nil
	}
	probes, err := probe.Decode([]byte(document))
	if err != nil {
		return nil, &usageError{fmt.Errorf("--probes: %w", err)}
	}
	return probe.NewHandler(probe.Options{
		Probes: probes, Dial: new(net.Dialer).DialContext, Clock: time.Now, Log: log,
	})
}
