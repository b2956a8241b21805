package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const elf = "\x7fELF program"

func TestArchiveIsTheSameForTheSameFiles(t *testing.T) {
	first, printed := archive(t, "example.test/app:1")
	again, printedAgain := archive(t, "example.test/app:1")
	if !bytes.Equal(first, again) {
		t.Error("two archives of the same files differ")
	}
	if printed != printedAgain || !strings.HasPrefix(printed, "example.test/app:1@sha256:") {
		t.Errorf("printed %q, then %q", printed, printedAgain)
	}
	renamed, printedRenamed := archive(t, "example.test/app:2")
	if bytes.Equal(first, renamed) {
		t.Error("an archive does not depend on the image's name")
	}
	_, digest, _ := strings.Cut(printed, "@")
	if _, other, _ := strings.Cut(printedRenamed, "@"); other != digest {
		t.Errorf("the digest is %s under one name and %s under another", digest, other)
	}
}

func TestArchiveHoldsAnImageForEachPlatform(t *testing.T) {
	content, printed := archive(t, "example.test/app:1")
	entries := untar(t, content)
	_, digest, _ := strings.Cut(strings.TrimSpace(printed), "@")

	top := decode(t, entries["index.json"])
	if got := top.Manifests[0].Digest; got != digest {
		t.Fatalf("index.json names %s, printed was %s", got, digest)
	}
	var got []string
	for _, m := range decode(t, blob(t, entries, digest)).Manifests {
		config := struct {
			Architecture string
			Config       struct {
				Entrypoint, Cmd []string
				User            string
			}
		}{}
		manifest := decode(t, blob(t, entries, m.Digest))
		if err := json.Unmarshal(blob(t, entries, manifest.Config.Digest), &config); err != nil {
			t.Fatal(err)
		}
		if config.Architecture != m.Platform.Architecture || config.Config.User != "65532" {
			t.Errorf("config %+v under platform %s", config, m.Platform.Architecture)
		}
		got = append(got, config.Architecture, strings.Join(config.Config.Entrypoint, " "))
		layer := untar(t, blob(t, entries, manifest.Layers[0].Digest))
		if string(layer["app"]) != elf || string(layer["etc/app/conf"]) != "x" {
			t.Errorf("layer of %s holds %q", config.Architecture, layer)
		}
	}
	if want := []string{"amd64", "/app", "arm64", "/app"}; !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
}

func TestLayerHasFoldersAndModes(t *testing.T) {
	program, conf := sources(t)
	layer, err := pack([]string{"/data:700:999", "/tmp:1777"}, []file{{"/usr/bin/app", program}, {"/etc/conf", conf}})
	if err != nil {
		t.Fatal(err)
	}
	var got []tar.Header
	for r := tar.NewReader(bytes.NewReader(layer)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.IsZero() && h.ModTime.Unix() != 0 {
			t.Errorf("%s has time %s", h.Name, h.ModTime)
		}
		got = append(got, tar.Header{Name: h.Name, Mode: h.Mode, Uid: h.Uid})
	}
	want := []tar.Header{
		{Name: "data/", Mode: 0o700, Uid: 999},
		{Name: "tmp/", Mode: 0o1777},
		{Name: "etc/", Mode: 0o755},
		{Name: "etc/conf", Mode: 0o644},
		{Name: "usr/", Mode: 0o755},
		{Name: "usr/bin/", Mode: 0o755},
		{Name: "usr/bin/app", Mode: 0o755},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestArgumentsAreRefused(t *testing.T) {
	program, _ := sources(t)
	out := filepath.Join(t.TempDir(), "a.tar")
	for name, args := range map[string][]string{
		"none":                    nil,
		"no files":                {"-o", out, "-name", "a:1"},
		"a platform without any":  {"-o", out, "-name", "a:1", "/app=" + program, "-platform", "arm64"},
		"an unknown option":       {"-o", out, "-name", "a:1", "-colour", "red", "/app=" + program},
		"an option without value": {"-o", out, "-name"},
		"a path that is relative": {"-o", out, "-name", "a:1", "app=" + program},
		"a file that is not":      {"-o", out, "-name", "a:1", "/app=" + program + "x"},
		"a mode that is none":     {"-o", out, "-name", "a:1", "-dir", "/tmp:rwx", "/app=" + program},
		"a relative folder":       {"-o", out, "-name", "a:1", "-dir", "tmp", "/app=" + program},
	} {
		t.Run(name, func(t *testing.T) {
			if err := run(args, io.Discard); err == nil {
				t.Errorf("%q was accepted", args)
			}
			if _, err := os.Stat(out); err == nil {
				t.Error("an archive was written")
			}
		})
	}
}

type document struct {
	Manifests []struct {
		Digest   string
		Platform struct{ Architecture string }
	}
	Config struct{ Digest string }
	Layers []struct{ Digest string }
}

func decode(t *testing.T, text []byte) (d document) {
	t.Helper()
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return d
}

func blob(t *testing.T, entries map[string][]byte, digest string) []byte {
	t.Helper()
	content, ok := entries["blobs/"+strings.Replace(digest, ":", "/", 1)]
	if !ok {
		t.Fatalf("no blob %s", digest)
	}
	return content
}

// archive packs one image for two platforms.
func archive(t *testing.T, name string) (content []byte, printed string) {
	t.Helper()
	program, conf := sources(t)
	out := filepath.Join(t.TempDir(), "app.tar")
	var said bytes.Buffer
	if err := run([]string{
		"-o", out, "-name", name, "-user", "65532",
		"-platform", "amd64", "/app=" + program, "/etc/app/conf=" + conf,
		"-platform", "arm64", "/app=" + program, "/etc/app/conf=" + conf,
	}, &said); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return content, said.String()
}

// sources writes a program and a file that is none.
func sources(t *testing.T) (program, conf string) {
	t.Helper()
	dir := t.TempDir()
	program, conf = filepath.Join(dir, "app"), filepath.Join(dir, "conf")
	for name, text := range map[string]string{program: elf, conf: "x"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return program, conf
}

func untar(t *testing.T, content []byte) map[string][]byte {
	t.Helper()
	entries := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(content)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return entries
		} else if err != nil {
			t.Fatal(err)
		}
		if entries[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}
