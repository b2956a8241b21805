package server

import (
	"context"
	"log/slog"

	"github.com/sallyport/sallyport/sidecar/mfa"
)

// audit writes one line for each security event; docs/audit-events.md is its
// schema. A user is named by a keyed hash. slog's JSON encoding keeps a hostile
// value from forging a line.
type audit struct {
	log     *slog.Logger
	metrics *metrics
}

// Record implements mfa.Recorder.
func (a *audit) Record(ctx context.Context, e mfa.Event) {
	a.metrics.Record(ctx, e)
	attrs := []slog.Attr{slog.String("user", e.User)}
	if e.Factor != "" {
		attrs = append(attrs, slog.String("factor", string(e.Factor)))
	}
	if e.Result != "" {
		attrs = append(attrs, slog.String("result", string(e.Result)))
	}
	a.write(ctx, string(e.Name), attrs...)
}

// event names that the server itself adds to the domain's.
const (
	eventIndeterminate = "identity.indeterminate"
	eventRefused       = "request.refused"
	eventDenied        = "policy.denied"
	eventForged        = "session.forged"
	eventSignOut       = "session.end"
	eventStreamCut     = "stream.cut"
)

func (a *audit) write(ctx context.Context, event string, attrs ...slog.Attr) {
	info := infoOf(ctx)
	attrs = append([]slog.Attr{
		slog.Bool("audit", true),
		slog.String("event", event),
		slog.String("requestId", info.id),
		slog.String("client", info.client),
		slog.String("userAgent", info.userAgent),
	}, attrs...)
	a.log.LogAttrs(ctx, slog.LevelInfo, "Security event", attrs...)
}
