package pages

import "net/http"

// Message is a page with one thing to say, such as an error page.
type Message struct {
	// Heading says what happened, Text what to do about it.
	Heading, Text string
	// ActionText and ActionHref are the one way on, a same-origin path. Without
	// a text there is none.
	ActionText, ActionHref string
	// Reference is a request id that support can look up.
	Reference string
	// RetryAfter is how many seconds to wait. Above zero it becomes a countdown
	// and the Retry-After header.
	RetryAfter int
}

// messageView is a Message made ready for its page.
type messageView struct {
	frame
	Message
	IsError bool
	Wait    *wait
}

// Message writes a message page.
func (r *Renderer) Message(w http.ResponseWriter, status int, m Message) error {
	m.ActionHref = localOr(m.ActionHref, "/")
	view := messageView{
		frame:   frame{Site: r.site, Assets: r.assets, Title: m.Heading, Layout: "narrow"},
		Message: m,
		IsError: status >= http.StatusBadRequest,
		Wait:    newWait(m.RetryAfter),
	}
	view.Wait.setHeader(w.Header())
	return write(w, status, messagePage(view))
}
