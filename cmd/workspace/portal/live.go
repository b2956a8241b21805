package portal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	// maxMessageBytes bounds one WebSocket message.
	maxMessageBytes = 1 << 20
	// checkEvery is how late a stream may hear of a sign-out at another replica.
	checkEvery = time.Second
)

// Why a stream ends that neither side wanted to end.
var (
	errSignedOut = errors.New("signed out")
	errClosing   = errors.New("the portal is closing")
)

// echoChat returns every message as it came, for as long as the session lasts.
func (p *Portal) echoChat(w http.ResponseWriter, r *http.Request) error {
	p.chats.Add(1)
	defer p.chats.Done()
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
	id := callerOf(r).session
	go func() {
		if reason := p.untilSignedOut(ctx, id); ctx.Err() == nil {
			p.hangUp(ctx, conn, reason)
		}
	}()
	for {
		kind, message, err := conn.Read(ctx)
		if err != nil {
			return nil // closed by either side: the usual end of a chat
		}
		if err := p.stillOpen(ctx, id); err != nil {
			p.hangUp(ctx, conn, err)
			return nil
		}
		if err := conn.Write(ctx, kind, message); err != nil {
			return nil // see above
		}
	}
}

// hangUp tells the other end of a chat why it is over.
func (p *Portal) hangUp(ctx context.Context, conn *websocket.Conn, reason error) {
	switch {
	case errors.Is(reason, errSignedOut):
		_ = conn.Close(websocket.StatusPolicyViolation, errSignedOut.Error())
	case errors.Is(reason, errClosing):
		_ = conn.Close(websocket.StatusGoingAway, errClosing.Error())
	default:
		p.log.ErrorContext(ctx, "Failed to look a stream's session up", slog.Any("error", reason))
		_ = conn.Close(websocket.StatusTryAgainLater, errUnavailable.Error())
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
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	id := callerOf(r).session
	go func() { cancel(p.untilSignedOut(ctx, id)) }()
	stream := http.NewResponseController(w)
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for n := 1; ctx.Err() == nil; n++ {
		if err := p.sendTime(w, n); err != nil {
			return nil // the listener has gone
		}
		if err := stream.Flush(); err != nil {
			return nil // see above
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
	if err := context.Cause(ctx); errors.Is(err, errUnavailable) {
		p.log.ErrorContext(r.Context(), "Failed to look a stream's session up", slog.Any("error", err))
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

// untilSignedOut waits for what a stream that outlives its request must end
// with, and returns which it was. A session that cannot be looked up ends the
// stream too: nobody could say that it is still open.
func (p *Portal) untilSignedOut(ctx context.Context, id string) error {
	ticker := time.NewTicker(checkEvery)
	defer ticker.Stop()
	for {
		signedOut := p.signOuts.next() // taken first, so that none is missed between the look and the wait
		if err := p.stillOpen(ctx, id); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-signedOut:
		case <-p.closing:
			return errClosing
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// stillOpen returns nil as long as the session is known to be open.
func (p *Portal) stillOpen(ctx context.Context, id string) error {
	userID, err := p.sessions.Find(ctx, id)
	if err != nil {
		return err
	}
	if userID == "" {
		return errSignedOut
	}
	return nil
}

// bell wakes the streams of this replica when somebody signs out here, so that
// they end at once and not at their next look.
type bell struct {
	mu   sync.Mutex
	rung chan struct{}
}

// next returns a channel that the next ring closes.
func (b *bell) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rung
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.rung)
	b.rung = make(chan struct{})
}
