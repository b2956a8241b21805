package portal_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/sallyport/sallyport/cmd/workspace/portal"
)

// send posts a multipart form whose files come from readers, as they come.
func (b *browser) send(accept string, files map[string]io.Reader) reply {
	b.t.Helper()
	body, pipe := io.Pipe()
	form := multipart.NewWriter(pipe)
	go func() {
		err := form.WriteField("comment", "not a file")
		for name, content := range files {
			var part io.Writer
			if part, err = form.CreateFormFile("file", name); err == nil {
				_, err = io.Copy(part, content)
			}
		}
		if err == nil {
			err = form.Close()
		}
		pipe.CloseWithError(err)
	}()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.site.URL+"/my/documents", body)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	req.Header.Set("Accept", accept)
	res, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return reply{Response: res, body: string(got)}
}

func digestOf(t *testing.T, r io.Reader) string {
	t.Helper()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func TestUploadCountsAndDigests(t *testing.T) {
	s := newSite(t)
	b := s.as(t, "alice")
	const size = 5<<20 + 3
	got := b.send("application/json", map[string]io.Reader{`C:\papers\lease.pdf`: portal.NewPattern(size)})
	got.wantStatus(t, http.StatusCreated)
	var answer struct {
		Documents []struct {
			Name   string    `json:"name"`
			Size   int64     `json:"size"`
			SHA256 string    `json:"sha256"`
			At     time.Time `json:"at"`
		} `json:"documents"`
	}
	got.decode(t, &answer)
	if len(answer.Documents) != 1 {
		t.Fatalf("received %+v", answer.Documents)
	}
	one := answer.Documents[0]
	if one.Name != "lease.pdf" || one.Size != size || one.SHA256 != digestOf(t, portal.NewPattern(size)) || !one.At.Equal(start) {
		t.Errorf("received %+v", one)
	}

	b.send("text/html", map[string]io.Reader{"empty.txt": strings.NewReader("")}).wantRedirect(t, "/my/documents")
	rows := b.get("/my/documents").page(t).Find("[data-testid=documents] tbody tr")
	if n := rows.Length(); n != 2 {
		t.Fatalf("%d rows, want 2", n)
	}
	if first := rows.First().Find("th").Text(); first != "empty.txt" {
		t.Errorf("the newest is %q, want empty.txt", first)
	}
	if size := rows.Last().Find("td").First().Text(); size != "5.0 MiB" {
		t.Errorf("the size reads %q", size)
	}
	if n := s.as(t, "adam").get("/my/documents").page(t).Find("tbody tr").Length(); n != 0 {
		t.Errorf("somebody else sees %d documents", n)
	}
}

func TestUploadRefusesWhatIsNoFile(t *testing.T) {
	b := newSite(t).as(t, "alice")
	b.send("text/html", nil).wantStatus(t, http.StatusUnprocessableEntity)
	b.do(http.MethodPost, "/my/documents", "a=b", "Content-Type", "application/x-www-form-urlencoded").
		wantStatus(t, http.StatusUnsupportedMediaType)
	b.do(http.MethodPost, "/my/documents", "--x\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\nbroken",
		"Content-Type", "multipart/form-data; boundary=x").wantStatus(t, http.StatusBadRequest)
	b.do(http.MethodPost, "/my/documents", "", "Content-Type", "multipart/form-data; boundary=x", "Sec-Fetch-Site", "same-site").
		wantStatus(t, http.StatusForbidden)
	if n := b.get("/my/documents").page(t).Find("tbody tr").Length(); n != 0 {
		t.Errorf("refused uploads left %d documents", n)
	}
}

func TestUploadNamesAreMadeHarmless(t *testing.T) {
	b := newSite(t).as(t, "alice")
	tests := map[string]string{
		"../../etc/passwd":             "passwd",
		"..":                           "unnamed",
		"a\u202egpj.exe":               "agpj.exe",
		"<img src=x>":                  "<img src=x>",
		strings.Repeat("é", 150):       strings.Repeat("é", 100),
		strings.Repeat("a", 199) + "é": strings.Repeat("a", 199),
	}
	for name, want := range tests {
		t.Run(want, func(t *testing.T) {
			b.send("text/html", map[string]io.Reader{name: strings.NewReader("x")}).wantRedirect(t, "/my/documents")
			page := b.get("/my/documents").page(t)
			if got := page.Find("tbody th").First().Text(); got != want {
				t.Errorf("listed as %q", got)
			}
			if page.Find("tbody img").Length() != 0 {
				t.Error("a name became an element")
			}
		})
	}
}

func TestDownload(t *testing.T) {
	b := newSite(t).as(t, "alice")
	tests := map[string]struct {
		query string
		size  int64
	}{
		"64 MiB unless asked otherwise": {"", 64 << 20},
		"the size that is asked for":    {"?size=3", 3 << 20},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.site.URL+"/my/download/large"+tc.query, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := b.http.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			if res.StatusCode != http.StatusOK || res.ContentLength != tc.size {
				t.Fatalf("answered %d with a length of %d, want %d", res.StatusCode, res.ContentLength, tc.size)
			}
			if got := digestOf(t, res.Body); got != digestOf(t, portal.NewPattern(tc.size)) {
				t.Error("the bytes are not the pattern's")
			}
		})
	}
	for _, bad := range []string{"0", "-1", "8193", "x", "1.5", "99999999999999999999"} {
		b.get("/my/download/large?size="+bad).wantStatus(t, http.StatusBadRequest)
	}
}

// The largest download is far larger than what any buffer would hold: that its
// first bytes arrive proves that it is sent as it is made.
func TestDownloadStreams(t *testing.T) {
	b := newSite(t).as(t, "alice")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.site.URL+"/my/download/large?size=8192", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := b.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.ContentLength != 8<<30 {
		t.Errorf("the length is %d", res.ContentLength)
	}
	got, want := make([]byte, 1<<20), make([]byte, 1<<20)
	if _, err := io.ReadFull(res.Body, got); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(portal.NewPattern(8<<30), want); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the first bytes are not the pattern's")
	}
}

func TestDownloadRange(t *testing.T) {
	b := newSite(t).as(t, "alice")
	got := b.do(http.MethodGet, "/my/download/large?size=8192", "", "Range", "bytes=8589934589-")
	got.wantStatus(t, http.StatusPartialContent)
	f := portal.NewPattern(8 << 30)
	if _, err := f.Seek(-3, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	want, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	if len(want) != 3 || got.body != string(want) {
		t.Errorf("got %x, want %x", got.body, want)
	}
	head := b.do(http.MethodHead, "/my/download/large?size=2", "")
	if head.ContentLength != 2<<20 {
		t.Errorf("HEAD tells a length of %d", head.ContentLength)
	}
}

func TestPatternReadsAlikeInWhateverPieces(t *testing.T) {
	want, err := io.ReadAll(portal.NewPattern(1003))
	if err != nil || len(want) != 1003 {
		t.Fatalf("read %d bytes: %v", len(want), err)
	}
	if err := iotest.TestReader(portal.NewPattern(1003), want); err != nil {
		t.Error(err)
	}
	if _, err := portal.NewPattern(8).Seek(-9, io.SeekEnd); err == nil {
		t.Error("a position before the start was accepted")
	}
}

func TestWebDAV(t *testing.T) {
	s := newSite(t)
	s.as(t, "alice").send("text/html", map[string]io.Reader{"a & b.txt": strings.NewReader("12345")})
	auth := []string{"Authorization", basic("alice", "alice-demo")}
	b := s.browser(t)

	anonymous := b.do("PROPFIND", "/dav/", "")
	anonymous.wantStatus(t, http.StatusUnauthorized)
	if got := anonymous.Header.Get("Www-Authenticate"); !strings.HasPrefix(got, "Basic ") {
		t.Errorf("WWW-Authenticate is %q", got)
	}
	b.do("PROPFIND", "/dav/", "", "Authorization", basic("alice", "x")).wantStatus(t, http.StatusUnauthorized)

	all := b.do("PROPFIND", "/dav/", "", append(auth, "Depth", "1")...)
	all.wantStatus(t, http.StatusMultiStatus)
	for _, want := range []string{"/dav/a%20&amp;%20b.txt", "a &amp; b.txt", "5</getcontentlength>", "<collection"} {
		if !strings.Contains(all.body, want) {
			t.Errorf("no %q in %s", want, all.body)
		}
	}
	if self := b.do("PROPFIND", "/dav", "", append(auth, "Depth", "0")...); strings.Contains(self.body, "b.txt") {
		t.Errorf("depth 0 lists the members: %s", self.body)
	}
	options := b.do(http.MethodOptions, "/dav/", "", auth...)
	if options.StatusCode != http.StatusNoContent || options.Header.Get("Dav") != "1" {
		t.Errorf("OPTIONS answered %d, DAV %q", options.StatusCode, options.Header.Get("Dav"))
	}
	if list := b.do(http.MethodGet, "/dav/", "", auth...); list.body != "a & b.txt\t5\n" {
		t.Errorf("GET answered %q", list.body)
	}
	b.do("MKCOL", "/dav/", "", auth...).wantStatus(t, http.StatusMethodNotAllowed)
	b.do(http.MethodPut, "/dav/new.txt", "x", auth...).wantStatus(t, http.StatusNotFound)
	b.do("PROPFIND", "/davenport", "", auth...).wantStatus(t, http.StatusNotFound)
}
