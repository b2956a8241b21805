package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

const (
	mediaIndex    = "application/vnd.oci.image.index.v1+json"
	mediaManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaConfig   = "application/vnd.oci.image.config.v1+json"
	mediaLayer    = "application/vnd.oci.image.layer.v1.tar"
)

// object is a JSON object; encoding/json sorts its keys.
type object = map[string]any

// layout is an archive in the making: its blobs by digest, its index, and what each
// platform's image is made of.
type layout struct {
	blobs map[string][]byte
	index []byte
	bills map[string][]byte
}

// build makes every blob and returns the digest that the image's name stands for.
func (l *layout) build(o order) (string, error) {
	l.blobs, l.bills = map[string][]byte{}, map[string][]byte{}
	var manifests []object
	for _, p := range o.platforms {
		manifest, err := l.manifest(o, p)
		if err != nil {
			return "", fmt.Errorf("platform %s: %w", p.arch, err)
		}
		if o.sbom != "" {
			if l.bills[p.arch], err = bill(o, p, manifest); err != nil {
				return "", fmt.Errorf("platform %s: %w", p.arch, err)
			}
		}
		manifests = append(manifests, manifest)
	}
	image := manifests[0]
	if len(manifests) > 1 {
		var err error
		if image, err = l.add(mediaIndex, object{"schemaVersion": 2, "mediaType": mediaIndex, "manifests": manifests}); err != nil {
			return "", err
		}
	}
	digest, _ := image["digest"].(string)
	// Container runtimes read the first name, other tools the second.
	_, tag, _ := strings.Cut(path.Base(o.name), ":")
	image["annotations"] = object{"io.containerd.image.name": o.name, "org.opencontainers.image.ref.name": cmp.Or(tag, "latest")}
	var err error
	l.index, err = json.Marshal(object{"schemaVersion": 2, "mediaType": mediaIndex, "manifests": []object{image}})
	return digest, err
}

// manifest adds one platform's image and returns its descriptor.
func (l *layout) manifest(o order, p platform) (object, error) {
	layer, err := pack(o.dirs, p.files)
	if err != nil {
		return nil, err
	}
	content := l.put(mediaLayer, layer)
	settings := object{"Entrypoint": []string{p.files[0].to}, "WorkingDir": "/"}
	if o.user != "" {
		settings["User"] = o.user
	}
	if len(o.env) > 0 {
		settings["Env"] = o.env
	}
	if len(o.cmd) > 0 {
		settings["Cmd"] = o.cmd
	}
	if len(o.labels) > 0 {
		settings["Labels"] = o.labels
	}
	config, err := l.add(mediaConfig, object{
		"architecture": p.arch, "os": "linux", "config": settings,
		"rootfs": object{"type": "layers", "diff_ids": []any{content["digest"]}},
	})
	if err != nil {
		return nil, err
	}
	manifest, err := l.add(mediaManifest, object{
		"schemaVersion": 2, "mediaType": mediaManifest, "config": config, "layers": []object{content},
	})
	if err != nil {
		return nil, err
	}
	manifest["platform"] = object{"architecture": p.arch, "os": "linux"}
	return manifest, nil
}

func (l *layout) add(media string, v object) (object, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return l.put(media, text), nil
}

func (l *layout) put(media string, blob []byte) object {
	sum := fmt.Sprintf("%x", sha256.Sum256(blob))
	l.blobs[sum] = blob
	return object{"mediaType": media, "digest": "sha256:" + sum, "size": len(blob)}
}

// write writes the archive, with blobs in the order of their digests.
func (l *layout) write(to io.Writer) error {
	w := tar.NewWriter(to)
	if err := add(w, "oci-layout", 0o644, []byte(`{"imageLayoutVersion":"1.0.0"}`)); err != nil {
		return err
	}
	if err := add(w, "index.json", 0o644, l.index); err != nil {
		return err
	}
	for _, sum := range slices.Sorted(maps.Keys(l.blobs)) {
		if err := add(w, "blobs/sha256/"+sum, 0o644, l.blobs[sum]); err != nil {
			return err
		}
	}
	return w.Close()
}

// pack makes the layer: the folders asked for, then the files in the order of their
// paths, each with the folders above it.
func pack(dirs []string, files []file) ([]byte, error) {
	var content bytes.Buffer
	t := tree{w: tar.NewWriter(&content), made: map[string]bool{"/": true}}
	for _, text := range dirs {
		name, mode, uid, err := parseDir(text)
		if err != nil {
			return nil, err
		}
		if err := t.folder(name, mode, uid); err != nil {
			return nil, err
		}
	}
	for _, f := range slices.SortedFunc(slices.Values(files), func(a, b file) int { return cmp.Compare(a.to, b.to) }) {
		if err := t.file(f); err != nil {
			return nil, err
		}
	}
	if err := t.w.Close(); err != nil {
		return nil, err
	}
	return content.Bytes(), nil
}

// tree writes a layer, and remembers which folders are in it.
type tree struct {
	w    *tar.Writer
	made map[string]bool
}

func (t *tree) folder(name string, mode int64, uid int) error {
	if t.made[name] {
		return nil
	}
	if err := t.folder(path.Dir(name), 0o755, 0); err != nil {
		return err
	}
	t.made[name] = true
	return t.w.WriteHeader(&tar.Header{
		Typeflag: tar.TypeDir, Name: strings.TrimPrefix(name, "/") + "/", Mode: mode, Uid: uid, Gid: uid, Format: tar.FormatUSTAR,
	})
}

// file writes a file that anybody may read, and run where it is a program.
func (t *tree) file(f file) error {
	content, err := os.ReadFile(f.from)
	if err != nil {
		return err
	}
	if err := t.folder(path.Dir(f.to), 0o755, 0); err != nil {
		return err
	}
	mode := int64(0o644)
	if bytes.HasPrefix(content, []byte("\x7fELF")) {
		mode = 0o755
	}
	return add(t.w, strings.TrimPrefix(f.to, "/"), mode, content)
}

// parseDir reads PATH[:MODE[:UID]].
func parseDir(text string) (name string, mode int64, uid int, err error) {
	parts := strings.Split(text, ":")
	name, mode = path.Clean(parts[0]), 0o755
	if !path.IsAbs(name) {
		return "", 0, 0, fmt.Errorf("folder %q is not a whole path", text)
	}
	if len(parts) > 1 {
		if mode, err = strconv.ParseInt(parts[1], 8, 64); err != nil {
			return "", 0, 0, fmt.Errorf("folder %q: %w", text, err)
		}
	}
	if len(parts) > 2 {
		if uid, err = strconv.Atoi(parts[2]); err != nil {
			return "", 0, 0, fmt.Errorf("folder %q: %w", text, err)
		}
	}
	return name, mode, uid, nil
}

func add(w *tar.Writer, name string, mode int64, content []byte) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content)), Format: tar.FormatUSTAR}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}
