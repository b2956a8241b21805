package server

import (
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/sallyport/sallyport/sidecar/authz"
)

// maxDoubts is how many re-checks in a row may fail to give an answer before a
// long-lived request is cut: a blip of the store or of the identity source must
// not end every WebSocket at once, and a lasting one must not keep them open.
const maxDoubts = 2

// watch re-checks the decision for as long as the request lasts, and ends it once
// it may no longer pass: a WebSocket or an event stream must not outlive the
// verification it was opened with. Nothing runs for a request that is over before
// the first check. The watcher must be released.
func (d *door) watch(r *http.Request, v *visit) *watcher {
	w := &watcher{
		door: d, request: r, token: v.token, class: v.class,
		subject: v.visitor.Identity.Subject, user: v.visitor.User.Key,
	}
	w.mu.Lock()
	w.timer = time.AfterFunc(d.recheck, w.check)
	w.mu.Unlock()
	return w
}

type watcher struct {
	door    *door
	request *http.Request
	token   string
	class   authz.Path
	subject string
	user    string

	mu     sync.Mutex
	timer  *time.Timer
	done   bool
	doubts int
}

func (w *watcher) release() {
	w.mu.Lock()
	w.done = true
	w.timer.Stop()
	w.mu.Unlock()
}

func (w *watcher) check() {
	again := &visit{class: w.class, token: w.token}
	// Identifying removes headers, and the proxy may be reading these. All else is shared:
	// net/http may be writing trailers.
	request := w.request.WithContext(w.request.Context())
	request.Header = w.request.Header.Clone()
	err := w.door.latest().decide(request, again)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done {
		return
	}
	switch {
	case err == nil && again.decision == authz.Allow && again.visitor.Identity.Subject == w.subject:
		w.doubts = 0
	case (err != nil || again.decision == authz.Refuse) && w.doubts < maxDoubts:
		w.doubts++
	default:
		w.door.metrics.streamsCut.Inc()
		if again.decision == authz.Allow { // but for somebody else, or for nobody
			again.decision = authz.SignIn
		}
		w.door.audit.write(w.request.Context(), eventStreamCut,
			slog.String("user", w.user), slog.String("decision", again.decision.String()))
		cut(w.request)
		return
	}
	w.timer.Reset(w.door.recheck)
}
