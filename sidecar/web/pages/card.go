package pages

import (
	"fmt"
	"net/http"
	"time"

	"github.com/a-h/templ"
)

// State is the state of a person's enrolment.
type State int

// The states of an enrolment.
const (
	// NotConfigured: there is none.
	NotConfigured State = iota
	// Pending: a secret has been minted and waits for its first code.
	Pending
	// Enabled: every sign-in asks for a code.
	Enabled
)

// String returns the value of the card's data-state attribute.
func (s State) String() string {
	switch s {
	case NotConfigured:
		return "not-configured"
	case Pending:
		return "pending"
	case Enabled:
		return "enabled"
	default:
		return fmt.Sprintf("State(%d)", int(s))
	}
}

const (
	// codesInSet is how many recovery codes one set has.
	codesInSet = 8
	// fewCodes is when the card begins to warn.
	fewCodes = 2
)

// Card is the two-factor card of one person, and what just happened to it.
type Card struct {
	// State decides which of the fields below are shown at all.
	State State
	// Account is shown so that a person sees whose account it is.
	Account string
	// ConfirmedAt is shown as a date when Enabled. Zero: not shown.
	ConfirmedAt time.Time
	// CodesLeft is how many recovery codes are unused, when Enabled.
	CodesLeft int
	// Secret is the base32 secret, when Pending, with or without spaces.
	Secret string
	// KeyURI is the otpauth URI behind the QR code, when Pending.
	KeyURI string
	// Codes are fresh recovery codes, when Enabled. This page is the only one
	// that ever shows them.
	Codes []string
	// CodesAt is when Codes were made; it is printed with them. Zero: the date
	// of confirmation is printed instead.
	CodesAt time.Time
	// Notice is good news, in green.
	Notice string
	// RequiredNotice says that the organisation requires two-factor, and offers
	// to sign in as somebody else in place of the way back to the app.
	RequiredNotice bool
	// Error is what went wrong, for the person.
	Error string
	// ErrorField names the field that Error is about: "code", "password", "ticket"
	// or none.
	ErrorField string
	// RetryAfter is how many seconds to wait. Above zero it becomes a countdown
	// and the Retry-After header.
	RetryAfter int
	// AsksCode makes the disable section ask for a code, not for the password.
	AsksCode bool
	// AsksTicket makes the first step ask for an enrolment ticket.
	AsksTicket bool
	// ReturnTo is a same-origin path to go on to afterwards, or empty.
	ReturnTo string
	// Tokens holds a CSRF token for each of the actions "enable", "confirm",
	// "recovery-codes", "disable" and "cancel" whose form the state shows.
	Tokens map[string]string
}

// badge is a state in words and the class of its colour.
type badge struct{ Text, Class string }

// cardView is a Card made ready for its page.
type cardView struct {
	frame
	Card
	Badge      badge
	QR         templ.SafeURL
	KeyLink    templ.SafeURL
	TotalCodes int
	FewLeft    bool
	Wait       *wait
}

// Card writes the card page.
func (r *Renderer) Card(w http.ResponseWriter, status int, c Card) error {
	view, err := r.cardView(c)
	if err != nil {
		return fmt.Errorf("preparing the two-factor card: %w", err)
	}
	view.Wait.setHeader(w.Header())
	return write(w, status, cardPage(view))
}

// cardView keeps of a card what its state may show, and drops the rest: a
// secret or codes handed over in another state do not reach the page.
func (r *Renderer) cardView(c Card) (cardView, error) {
	c.ReturnTo = localOr(c.ReturnTo, "")
	view := cardView{TotalCodes: codesInSet, Wait: newWait(c.RetryAfter)}
	switch c.State {
	case NotConfigured:
		view.Badge = badge{"Not configured", "slate"}
	case Pending:
		view.Badge = badge{"Pending confirmation", "amber"}
		var err error
		if view.QR, err = qrImage(c.KeyURI); err != nil {
			return cardView{}, err
		}
		if view.KeyLink, err = keyLink(c.KeyURI); err != nil {
			return cardView{}, err
		}
		c.Secret = grouped(c.Secret)
	case Enabled:
		view.Badge = badge{"Enabled", "emerald"}
		view.FewLeft = c.CodesLeft <= fewCodes
	default:
		return cardView{}, fmt.Errorf("unknown state %v", c.State)
	}
	if c.State != Pending {
		c.Secret, c.KeyURI = "", ""
	}
	if c.State != Enabled {
		c.Codes = nil
	}
	view.Card = c
	view.frame = frame{
		Site: r.site, Assets: r.assets, Title: "Two-factor authentication", Layout: "wide",
		Back: !c.RequiredNotice && len(c.Codes) == 0, HasCodes: len(c.Codes) > 0, tokens: c.Tokens,
	}
	return view, nil
}

// ErrorElsewhere reports whether the error belongs to no field that the page
// shows, so that it has to stand at the top of the card.
func (v cardView) ErrorElsewhere() bool {
	return v.Error != "" && !v.FieldError("enable") && !v.FieldError("confirm") && !v.FieldError("disable")
}

// FieldError reports whether the error is about the field of a form.
func (v cardView) FieldError(form string) bool {
	if v.Error == "" {
		return false
	}
	switch form {
	case "enable":
		return v.State == NotConfigured && v.AsksTicket && v.ErrorField == "ticket"
	case "confirm":
		return v.State == Pending && v.ErrorField == "code"
	case "disable":
		field := "password"
		if v.AsksCode {
			field = "code"
		}
		return v.State == Enabled && v.ErrorField == field
	default:
		return false
	}
}

// codesLeft counts the recovery codes in words.
func (v cardView) codesLeft() string {
	left := fmt.Sprintf("%d of %d recovery codes left", v.CodesLeft, v.TotalCodes)
	if v.FewLeft {
		left += ". Generate new ones before you need them."
	}
	return left
}

// cancelLink leads to this page anew, which ends a set-up, and keeps where to
// go on to afterwards.
func (v cardView) cancelLink() string {
	if v.ReturnTo == "" {
		return link(v.Site.Prefix)
	}
	return link(v.Site.Prefix) + "?return_to=" + queryValue(v.ReturnTo)
}
