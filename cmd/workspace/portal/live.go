package portal

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// maxMessageBytes bounds one WebSocket message.
const maxMessageBytes = 1 << 20

// echoChat returns every message as it came, for as long as the session lasts.
func (p *Portal) echoChat(w http.ResponseWriter, r *http.Request) error {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		// Accept has answered the request already.
		p.log.InfoContext(r.Context(), "Refused a WebSocket", slog.Any("error", err))
		return nil
	}
	conn.SetReadLimit(maxMessageBytes)
	// The request's own context says nothing about a connection that was taken
	// over, so this one ends with the loop.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	defer func() { _ = conn.CloseNow() }()
	session := callerOf(r).session
	go p.closeWith(ctx, conn, session)
	for {
		kind, message, err := conn.Read(ctx)
		if err != nil {
			return nil // closed by either side: the usual end of a chat
		}
		if !p.sessions.alive(session) {
			_ = conn.Close(websocket.StatusPolicyViolation, "signed out")
			return nil
		}
		if err := conn.Write(ctx, kind, message); err != nil {
			return nil // see above
		}
	}
}

// closeWith closes a WebSocket together with what it depends on.
func (p *Portal) closeWith(ctx context.Context, conn *websocket.Conn, session *session) {
	select {
	case <-ctx.Done():
	case <-session.ended:
		_ = conn.Close(websocket.StatusPolicyViolation, "signed out")
	case <-p.closing:
		_ = conn.Close(websocket.StatusGoingAway, "the portal is closing")
	}
}

// clockEvents sends the time at once and then every second, for as long as the
// session lasts.
func (p *Portal) clockEvents(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	// Proxies that buffer would hold the events back.
	h.Set("X-Accel-Buffering", "no")
	if r.Method == http.MethodHead {
		return nil
	}
	session := callerOf(r).session
	stream := http.NewResponseController(w)
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for n := 1; p.sessions.alive(session); n++ {
		if err := p.sendTime(w, n); err != nil {
			return nil // the listener has gone
		}
		if err := stream.Flush(); err != nil {
			return nil // see above
		}
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return nil
		case <-session.ended:
			return nil
		case <-p.closing:
			return nil
		}
	}
	return nil
}

func (p *Portal) sendTime(w http.ResponseWriter, n int) error {
	data, err := json.Marshal(map[string]string{"time": p.clock().Format(time.RFC3339)})
	if err != nil {
		return fmt.Errorf("encode the time: %w", err)
	}
	if _, err := fmt.Fprintf(w, "id: %d\nevent: tick\ndata: %s\n\n", n, data); err != nil {
		return fmt.Errorf("send the time: %w", err)
	}
	return nil
}
