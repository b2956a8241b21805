// Package portal is a small company portal: passwords, sessions, roles, pages,
// an API, uploads, downloads, a WebSocket, server-sent events and a read-only
// WebDAV folder. It is what the demo and the end-to-end tests put a second
// factor in front of, and it stands for any workspace app.
//
// It may import third-party libraries and nothing else of ours. It must never
// know how a second factor works: all it reads of one is a status document at a
// fixed path, drawn by a script on the profile page. It keeps everything in
// memory, but for the sessions where replicas share them, and must never be used
// to hold real people's passwords.
package portal

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// Config is what a Portal is built from.
type Config struct {
	// Users who may sign in. At least one.
	Users []User
	// Clock tells the time. Required.
	Clock func() time.Time
	// Sessions holds who is signed in. Replicas of one portal share theirs.
	// Default: in memory.
	Sessions Sessions
	// Random is the source of session ids and salts. Default: the system's. It is
	// read from by one goroutine at a time.
	Random io.Reader
	// Log receives what operators need to know. Default: nothing is logged.
	Log *slog.Logger
	// ProductName stands in every page's header. Default: Acme portal.
	ProductName string
	// SecureCookies marks the session cookie Secure. Set it wherever browsers
	// reach the portal over https.
	SecureCookies bool
	// OnRequest is told of every request before anything else happens to it, so
	// that a test can prove which requests reached the app. It must be safe for
	// concurrent use.
	OnRequest func(*http.Request)
}

// Portal is the app. Make one with New.
type Portal struct {
	clock     func() time.Time
	random    *lockedReader
	log       *slog.Logger
	product   string
	secure    bool
	onRequest func(*http.Request)

	directory *directory
	sessions  Sessions
	signOuts  *bell
	tasks     *tasks
	documents *documents
	pages     *pages
	handler   http.Handler

	closing   chan struct{}
	closeOnce sync.Once
	chats     sync.WaitGroup
}

// New builds a Portal; it hashes every user's password before it returns.
func New(cfg Config) (*Portal, error) {
	if cfg.Clock == nil {
		return nil, errors.New("portal needs a clock")
	}
	if cfg.Sessions == nil {
		cfg.Sessions = NewMemorySessions(cfg.Clock)
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.ProductName == "" {
		cfg.ProductName = "Acme portal"
	}
	if cfg.OnRequest == nil {
		cfg.OnRequest = func(*http.Request) {}
	}
	p := &Portal{
		clock:     cfg.Clock,
		random:    &lockedReader{source: cfg.Random},
		log:       cfg.Log,
		product:   cfg.ProductName,
		secure:    cfg.SecureCookies,
		onRequest: cfg.OnRequest,
		sessions:  cfg.Sessions,
		signOuts:  &bell{rung: make(chan struct{})},
		tasks:     newTasks(cfg.Clock),
		documents: newDocuments(),
		closing:   make(chan struct{}),
	}
	var err error
	if p.directory, err = newDirectory(cfg.Users, p.random); err != nil {
		return nil, fmt.Errorf("set up the users: %w", err)
	}
	if p.pages, err = newPages(); err != nil {
		return nil, fmt.Errorf("parse the pages: %w", err)
	}
	p.handler = p.routes()
	return p, nil
}

// Handler serves the whole portal.
func (p *Portal) Handler() http.Handler { return p.handler }

// Close ends the open WebSockets and event streams, which a server's shutdown
// would otherwise wait for. Everything else keeps being served.
func (p *Portal) Close() { p.closeOnce.Do(func() { close(p.closing) }) }

// Wait waits, after Close and the server's shutdown, until the last WebSocket has
// been told that it is over: a server does not wait for connections that were
// taken over.
func (p *Portal) Wait(ctx context.Context) {
	over := make(chan struct{})
	go func() {
		p.chats.Wait()
		close(over)
	}()
	select {
	case <-over:
	case <-ctx.Done():
	}
}

// token returns 256 random bits in a form that suits cookies and URLs.
func (p *Portal) token() (string, error) {
	b := make([]byte, 32)
	if _, err := io.ReadFull(p.random, b); err != nil {
		return "", fmt.Errorf("read random bytes: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// lockedReader lets request handlers share a reader that is not safe for
// concurrent use, as a test's deterministic source seldom is.
type lockedReader struct {
	mu     sync.Mutex
	source io.Reader
}

// Read reads from the source under the lock.
func (l *lockedReader) Read(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.source.Read(b)
}
