package portal

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
)

const (
	maxUploadBytes = 8 << 30
	// maxDocuments is how many entries are kept for a user; the oldest go first.
	maxDocuments = 50
	maxNameBytes = 200
)

// document is what the portal remembers of an upload: not its content.
type document struct {
	Name   string    `json:"name"`
	Size   int64     `json:"size"`
	SHA256 string    `json:"sha256"`
	At     time.Time `json:"at"`
}

// documents holds everybody's entries, newest first.
type documents struct {
	mu     sync.Mutex
	byUser map[string][]document
}

func newDocuments() *documents { return &documents{byUser: map[string][]document{}} }

func (d *documents) list(user string) []document {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.byUser[user])
}

func (d *documents) add(user string, doc document) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := slices.Insert(d.byUser[user], 0, doc)
	d.byUser[user] = all[:min(len(all), maxDocuments)]
}

// upload reads a multipart form as it comes in; nothing of it is kept but its
// measure and its digest. A browser is sent back to the list, a client that
// accepts JSON gets what was received.
func (p *Portal) upload(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxUploadBytes)
	parts, err := r.MultipartReader()
	if err != nil {
		return &httpError{status: http.StatusUnsupportedMediaType, message: "Send a multipart form with a file.", cause: err}
	}
	received := []document{}
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return uploadFailure(err)
		}
		if part.FileName() == "" {
			continue // a browser sends an empty part where no file was chosen
		}
		doc, err := p.receive(part)
		if err != nil {
			return uploadFailure(err)
		}
		received = append(received, doc)
	}
	if len(received) == 0 {
		return &httpError{status: http.StatusUnprocessableEntity, message: "Choose a file to upload."}
	}
	for _, doc := range received {
		p.documents.add(callerOf(r).user.ID, doc)
	}
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		return writeJSON(w, http.StatusCreated, map[string]any{"documents": received})
	}
	http.Redirect(w, r, "/my/documents", http.StatusSeeOther)
	return nil
}

func (p *Portal) receive(part *multipart.Part) (document, error) {
	digest := sha256.New()
	size, err := io.Copy(digest, part)
	if err != nil {
		return document{}, fmt.Errorf("read a file: %w", err)
	}
	return document{
		Name: documentName(part.FileName()), Size: size,
		SHA256: hex.EncodeToString(digest.Sum(nil)), At: p.clock(),
	}, nil
}

func uploadFailure(err error) error {
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return &httpError{status: http.StatusRequestEntityTooLarge, message: "The upload is larger than 8 GiB.", cause: err}
	}
	return &httpError{status: http.StatusBadRequest, message: "The upload broke off. Please try again.", cause: err}
}

// documentName makes a client's file name fit for a list: no folders, nothing
// invisible, not endless.
func documentName(name string) string {
	name = path.Base(strings.ReplaceAll(name, `\`, "/"))
	name = strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return -1
	}, name)
	if len(name) > maxNameBytes {
		name = strings.ToValidUTF8(name[:maxNameBytes], "")
	}
	switch name {
	case "", ".", "..", "/":
		return "unnamed"
	default:
		return name
	}
}
