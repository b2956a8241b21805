package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	checkout = "../../.."
	own      = "github.com/sallyport/sallyport"
)

// copied copies what the sidecar's image is built from into a folder of another path, as
// another person's checkout would have it: with other times, and at another commit.
func copied(t *testing.T) string {
	t.Helper()
	to := t.TempDir()
	for _, part := range []string{"go.mod", "go.sum", "api", "cmd/sidecar", "sidecar", "test/cluster"} {
		if err := filepath.WalkDir(filepath.Join(checkout, part), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			name, err := filepath.Rel(checkout, path)
			if err != nil {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o700); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(to, name), content, 0o700)
		}); err != nil {
			t.Fatal(err)
		}
	}
	commit := exec.CommandContext(t.Context(), "sh", "-ec", "git init -q . && git add . && git -c user.name=Other -c user.email=other@example.com commit -q -m Other")
	commit.Dir = to
	if out, err := commit.CombinedOutput(); err != nil {
		t.Fatalf("commit the copy: %v\n%s", err, out)
	}
	return to
}

// images runs the script that builds images, and returns what it wrote.
func images(t *testing.T, folder string, settings ...string) map[string][]byte {
	t.Helper()
	out := t.TempDir()
	command := exec.CommandContext(t.Context(), filepath.Join(folder, "test", "cluster", "images"), "sidecar")
	command.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return regexp.MustCompile(`^(VERSION|REPOSITORY|PREFIX|REVISION|CREATED|PLATFORMS|AUTHORITIES|IMAGES|TZ)=`).MatchString(v)
	}), append(settings, "GOFLAGS=-buildvcs=auto", "VERSION=v1.2.3", "REPOSITORY=registry.example.com", "PREFIX=sallyport-", "PLATFORMS=amd64 arm64",
		"CREATED=2026-01-02T03:04:05Z", "IMAGES="+out)...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	printed, err := command.Output()
	if err != nil {
		t.Fatalf("build the image: %v\n%s", err, &stderr)
	}
	files := map[string][]byte{"": printed}
	for _, name := range []string{"sidecar.tar", "sidecar.amd64.spdx.json", "sidecar.arm64.spdx.json"} {
		if files[name], err = os.ReadFile(filepath.Join(out, name)); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// TestSameSourcesGiveSameImages builds the sidecar's image for both platforms twice, in
// another folder, time zone and umask, and reads what is in it.
func TestSameSourcesGiveSameImages(t *testing.T) {
	first := images(t, checkout)
	again := images(t, copied(t), "TZ=Asia/Tokyo", "LC_ALL=C")
	for name := range first {
		if !bytes.Equal(first[name], again[name]) {
			t.Errorf("%q is not the same when it is built again", name)
		}
	}
	digest, found := strings.CutPrefix(strings.TrimSpace(string(first[""])), "registry.example.com/sallyport-sidecar:v1.2.3@")
	if !found {
		t.Fatalf("printed %q", first[""])
	}
	entries := untar(t, first["sidecar.tar"])
	for _, m := range decode(t, blob(t, entries, digest)).Manifests {
		arch := m.Platform.Architecture
		layer := untar(t, blob(t, entries, decode(t, blob(t, entries, m.Digest)).Layers[0].Digest))
		for name := range layer {
			if !slices.Contains([]string{"sidecar", "etc/", "etc/ssl/", "etc/ssl/certs/", "etc/ssl/certs/ca-certificates.crt"}, name) {
				t.Errorf("%s: %s is in the image", arch, name)
			}
		}
		program := filepath.Join(t.TempDir(), "sidecar")
		if err := os.WriteFile(program, layer["sidecar"], 0o600); err != nil {
			t.Fatal(err)
		}
		checkBill(t, first["sidecar."+arch+".spdx.json"], m.Digest, program)
	}
}

// checkBill holds a document to what `go version -m` says of the program, and to what
// SPDX 2.3 demands.
func checkBill(t *testing.T, text []byte, digest, program string) {
	t.Helper()
	var document struct {
		SPDXVersion, DataLicense, SPDXID, Name, DocumentNamespace string
		CreationInfo                                              struct {
			Created  string
			Creators []string
		}
		Packages []struct {
			SPDXID, Name, VersionInfo, DownloadLocation string
			Checksums                                   []struct{ Algorithm, ChecksumValue string }
			ExternalRefs                                []struct{ ReferenceType, ReferenceLocator string }
		}
		Files []struct {
			SPDXID, FileName string
			Checksums        []struct{ Algorithm, ChecksumValue string }
		}
		Relationships []struct{ SPDXElementID, RelationshipType, RelatedSPDXElement string }
	}
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	if document.SPDXVersion != "SPDX-2.3" || document.DataLicense != "CC0-1.0" || document.SPDXID != "SPDXRef-DOCUMENT" ||
		document.CreationInfo.Created != "2026-01-02T03:04:05Z" || len(document.CreationInfo.Creators) != 1 ||
		!strings.HasPrefix(document.DocumentNamespace, "https://"+own+"/spdx/sallyport-sidecar-") {
		t.Errorf("the head of the document:\n%.600s", text)
	}
	ids := map[string]bool{"SPDXRef-DOCUMENT": true}
	identify := func(id string) {
		if ids[id] || !regexp.MustCompile(`^SPDXRef-[a-zA-Z0-9.-]+$`).MatchString(id) {
			t.Errorf("%s is there twice, or no id", id)
		}
		ids[id] = true
	}
	var got []string
	for _, p := range document.Packages {
		identify(p.SPDXID)
		if p.DownloadLocation == "" || len(p.ExternalRefs) != 1 || p.ExternalRefs[0].ReferenceType != "purl" {
			t.Errorf("package %+v", p)
		}
		if purl, ok := strings.CutPrefix(p.ExternalRefs[0].ReferenceLocator, "pkg:golang/"); ok {
			got = append(got, purl)
		} else if want := "sha256:" + p.Checksums[0].ChecksumValue; want != digest {
			t.Errorf("the image is %s by the document, and %s", want, digest)
		}
	}
	for _, f := range document.Files {
		identify(f.SPDXID)
		if len(f.Checksums) != 2 || f.Checksums[0].Algorithm != "SHA1" {
			t.Errorf("file %+v", f)
		}
	}
	related := make(map[string]bool)
	for _, r := range document.Relationships {
		if !ids[r.SPDXElementID] || !ids[r.RelatedSPDXElement] {
			t.Errorf("%+v relates what is not there", r)
		}
		related[r.RelatedSPDXElement] = true
	}
	if len(related) != len(ids)-1 {
		t.Errorf("%d of %d elements are related to something", len(related), len(ids)-1)
	}
	if diff := cmp.Diff(linked(t, program), got); diff != "" {
		t.Errorf("modules (-linked +document):\n%s", diff)
	}
	if len(document.Files) == 0 || document.Files[0].FileName != "./sidecar" || len(got) < 15 {
		t.Errorf("%d modules, and files %+v", len(got), document.Files)
	}
}

// linked are the modules that the Go command finds in a program, as the document names
// them: our own, the standard library, and the rest in order.
func linked(t *testing.T, program string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "version", "-m", program).Output()
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(out), "\n")
	_, version, _ := strings.Cut(head, ": go")
	all := []string{own + "@v1.2.3", "stdlib@" + strings.TrimSpace(version)}
	for _, found := range regexp.MustCompile(`(?m)^\tdep\t(\S+)\t(\S+)`).FindAllStringSubmatch(string(out), -1) {
		all = append(all, found[1]+"@"+found[2])
	}
	return all
}

func TestNoBillIsWrittenOfWhatCannotBeRead(t *testing.T) {
	program, _ := sources(t)
	out := filepath.Join(t.TempDir(), "a.tar")
	if err := run([]string{"-o", out, "-name", "a:1", "-sbom", strings.TrimSuffix(out, ".tar"), "/app=" + program}, new(bytes.Buffer)); err == nil ||
		!strings.Contains(err.Error(), "read what "+program+" is built of") {
		t.Errorf("%v, want it to say that the program cannot be read", err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("an archive was written without its document")
	}
}
