package pages

import (
	"fmt"
	"net/http"
	"strconv"
)

// wait is how long somebody has to wait before trying again.
type wait struct{ Seconds int }

// newWait returns nil when there is nothing to wait for.
func newWait(seconds int) *wait {
	if seconds <= 0 {
		return nil
	}
	return &wait{Seconds: seconds}
}

// setHeader tells programs what the page tells people.
func (w *wait) setHeader(h http.Header) {
	if w != nil {
		h.Set("Retry-After", strconv.Itoa(w.Seconds))
	}
}

// Words says the wait in plain words. The page's script counts down in the
// same words.
func (w *wait) Words() string {
	switch {
	case w.Seconds == 1:
		return "1 second"
	case w.Seconds < 120:
		return fmt.Sprintf("%d seconds", w.Seconds)
	default:
		minutes := (w.Seconds + 59) / 60
		return fmt.Sprintf("%d minutes (%d seconds)", minutes, w.Seconds)
	}
}
