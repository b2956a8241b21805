package portal

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed templates/*.html static/*
var files embed.FS

// pageNames lists the templates that are whole pages; the others are parts.
var pageNames = [...]string{"about", "admin", "dashboard", "documents", "error", "landing", "live", "login", "profile"}

// pages holds the parsed templates and the files that they refer to.
type pages struct {
	templates map[string]*template.Template
	assets    map[string]asset
}

// asset is a static file and the digest that changes its address with its content.
type asset struct {
	content []byte
	digest  string
}

// page is one page to show.
type page struct {
	name, title string
	// section is the sidebar's entry that the page belongs to.
	section string
	data    any
}

// view is what every template sees.
type view struct {
	Product, Title, Section string
	// User is nil for visitors.
	User *User
	Data any
}

func newPages() (*pages, error) {
	p := &pages{templates: map[string]*template.Template{}, assets: map[string]asset{}}
	static, err := files.ReadDir("static")
	if err != nil {
		return nil, fmt.Errorf("list static files: %w", err)
	}
	for _, entry := range static {
		content, err := fs.ReadFile(files, path.Join("static", entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("read static file %s: %w", entry.Name(), err)
		}
		sum := sha256.Sum256(content)
		p.assets[entry.Name()] = asset{content: content, digest: hex.EncodeToString(sum[:8])}
	}
	for _, name := range pageNames {
		t, err := template.New("layout").
			Funcs(template.FuncMap{"asset": p.address, "bytes": formatBytes, "day": formatDay}).
			Option("missingkey=error").
			ParseFS(files, "templates/layout.html", "templates/icons.html", "templates/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("parse page %s: %w", name, err)
		}
		p.templates[name] = t
	}
	return p, nil
}

// address is where the current content of a static file may be cached for ever.
func (p *pages) address(name string) (string, error) {
	a, ok := p.assets[name]
	if !ok {
		return "", fmt.Errorf("no static file %q", name)
	}
	return "/static/" + name + "?v=" + a.digest, nil
}

// render shows a page. It writes nothing unless the whole page could be built.
func (p *Portal) render(w http.ResponseWriter, r *http.Request, status int, pg page) error {
	v := view{Product: p.product, Title: pg.title, Section: pg.section, Data: pg.data}
	who := callerOf(r)
	if who.user == nil {
		var err error
		if who, _, err = p.bySession(r); err != nil {
			return err
		}
	}
	if who.user != nil {
		v.User = &who.user.User
	}
	var body bytes.Buffer
	if err := p.pages.templates[pg.name].ExecuteTemplate(&body, "layout", v); err != nil {
		return fmt.Errorf("render page %s: %w", pg.name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = body.WriteTo(w) // a client that has gone needs no answer
	return nil
}

func (p *Portal) serveStatic(w http.ResponseWriter, r *http.Request) error {
	name := strings.TrimPrefix(r.URL.Path, "/static/")
	a, ok := p.pages.assets[name]
	if !ok {
		return notFound()
	}
	caching := "public, max-age=300"
	if r.URL.Query().Get("v") == a.digest {
		caching = "public, max-age=31536000, immutable"
	}
	w.Header().Set("Cache-Control", caching)
	w.Header().Set("Etag", `"`+a.digest+`"`)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(a.content))
	return nil
}

func (p *Portal) showLanding(w http.ResponseWriter, r *http.Request) error {
	return p.render(w, r, http.StatusOK, page{name: "landing", title: "Welcome"})
}

func (p *Portal) showAbout(w http.ResponseWriter, r *http.Request) error {
	return p.render(w, r, http.StatusOK, page{name: "about", title: "About"})
}

func (p *Portal) showDashboard(w http.ResponseWriter, r *http.Request) error {
	return p.render(w, r, http.StatusOK, page{name: "dashboard", title: "Dashboard", section: "dashboard", data: p.clock()})
}

func (p *Portal) showProfile(w http.ResponseWriter, r *http.Request) error {
	return p.render(w, r, http.StatusOK, page{name: "profile", title: "My profile", section: "profile"})
}

func (p *Portal) showDocuments(w http.ResponseWriter, r *http.Request) error {
	return p.render(w, r, http.StatusOK, page{
		name: "documents", title: "Documents", section: "documents",
		data: p.documents.list(callerOf(r).user.ID),
	})
}

func (p *Portal) showLive(w http.ResponseWriter, r *http.Request) error {
	return p.render(w, r, http.StatusOK, page{name: "live", title: "Live", section: "live"})
}

func (p *Portal) showAdmin(w http.ResponseWriter, r *http.Request) error {
	return p.render(w, r, http.StatusOK, page{name: "admin", title: "Admin", section: "admin", data: p.directory.people()})
}

// me tells a script who is signed in.
func (p *Portal) me(w http.ResponseWriter, r *http.Request) error {
	return writeJSON(w, http.StatusOK, describe(callerOf(r).user))
}

// person is how the API describes a user.
type person struct {
	ID       string   `json:"id"`
	Username string   `json:"username"`
	Email    string   `json:"email"`
	Name     string   `json:"name"`
	Roles    []string `json:"roles"`
}

func describe(a *account) person {
	// An empty list says "no roles"; null would say "unknown".
	roles := append([]string{}, a.Roles...)
	return person{ID: a.ID, Username: a.Username, Email: a.Email, Name: a.Name, Roles: roles}
}

func formatDay(t time.Time) string { return t.Format("Monday, 2 January 2006") }

func formatBytes(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	default:
		return fmt.Sprintf("%d bytes", n)
	}
}
