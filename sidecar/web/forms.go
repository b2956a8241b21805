package web

import (
	"crypto/subtle"
	"log/slog"
	"net/http"

	"github.com/sallyport/sallyport/sidecar/web/pages"
)

// actions are the forms that change something; each has a token of its own.
var actions = []string{"enable", "confirm", "recovery-codes", "disable", "challenge", "cancel"}

const formTokenField = "csrf_token"

func (h *Handler) formTokens(token string) map[string]string {
	tokens := make(map[string]string, len(actions))
	for _, action := range actions {
		tokens[action] = h.Keeper.FormToken(token, action)
	}
	return tokens
}

func (h *Handler) formTokenFits(r *http.Request, v Visitor, action string) bool {
	if v.Token == "" {
		return false
	}
	want := h.Keeper.FormToken(v.Token, action)
	return subtle.ConstantTimeCompare([]byte(r.PostFormValue(formTokenField)), []byte(want)) == 1
}

// seeOther sends a browser on with a GET (RFC 9110, section 15.4.4), never cached.
func seeOther(w http.ResponseWriter, r *http.Request, to string) {
	pages.SetHeaders(w.Header())
	http.Redirect(w, r, to, http.StatusSeeOther) //nolint:gosec // to is a path of this origin: proxy.ReturnTo, or the policy's
}

func errorAttr(err error) slog.Attr { return slog.Any("error", err) }
