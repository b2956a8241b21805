package server

import (
	"context"
	"encoding/hex"
	"io"
	"log/slog"
	"net"
	"net/http"

	"github.com/sallyport/sallyport/sidecar/mfa"
)

// requestInfo is what an audit line says about the request behind an event.
type requestInfo struct{ id, client, userAgent string }

type requestInfoKey struct{}

// withRequestInfo gives the request an id and remembers where it came from.
func withRequestInfo(r *http.Request, random io.Reader) *http.Request {
	info := requestInfo{client: r.RemoteAddr, userAgent: clip(r.UserAgent())}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		info.client = host
	}
	var id [8]byte
	if _, err := io.ReadFull(random, id[:]); err == nil {
		info.id = hex.EncodeToString(id[:])
	}
	return r.WithContext(context.WithValue(r.Context(), requestInfoKey{}, info))
}

func clip(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most]
	}
	return s
}

func infoOf(ctx context.Context) requestInfo {
	info, _ := ctx.Value(requestInfoKey{}).(requestInfo)
	return info
}

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
