package main

import (
	"cmp"
	"crypto/sha1"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"runtime/debug"
	"strings"
)

const (
	unknown = "NOASSERTION"
	// epoch is said where the image has no time: the same files give the same document.
	epoch       = "1970-01-01T00:00:00Z"
	labelTime   = "org.opencontainers.image.created"
	labelOrigin = "org.opencontainers.image.source"
)

// bill is an SPDX 2.3 document of what one platform's image holds. The modules are
// those that the linker wrote into the program: what is in it, not what go.mod allows.
func bill(o order, p platform, image object) ([]byte, error) {
	program, err := buildinfo.ReadFile(p.files[0].from)
	if err != nil {
		return nil, fmt.Errorf("read what %s is built of: %w", p.files[0].from, err)
	}
	if len(program.Deps) == 0 {
		return nil, fmt.Errorf("%s names no modules that it is built of", p.files[0].from)
	}
	digest, ok := image["digest"].(string)
	if !ok {
		return nil, errors.New("the image has no digest")
	}
	name, tag, _ := strings.Cut(path.Base(o.name), ":")
	b := &spdx{}
	b.relate("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Image")
	b.packages = append(b.packages, object{
		"SPDXID": "SPDXRef-Image", "name": strings.TrimSuffix(o.name, ":"+tag), "versionInfo": cmp.Or(tag, "latest"),
		"primaryPackagePurpose": "CONTAINER", "downloadLocation": unknown, "filesAnalyzed": false,
		"checksums":        []object{{"algorithm": "SHA256", "checksumValue": strings.TrimPrefix(digest, "sha256:")}},
		"licenseConcluded": unknown, "licenseDeclared": cmp.Or(o.labels["org.opencontainers.image.licenses"], unknown), "copyrightText": unknown,
		"externalRefs": []object{purl("pkg:oci/" + name + "@" + strings.Replace(digest, ":", "%3A", 1) + "?arch=" + p.arch)},
	})
	if err := b.addFiles(p.files); err != nil {
		return nil, err
	}
	b.addModules(program, cmp.Or(tag, "latest"))
	return json.MarshalIndent(object{
		"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
		"name":              o.name + " linux/" + p.arch,
		"documentNamespace": cmp.Or(o.labels[labelOrigin], "https://example.com") + "/spdx/" + name + "-" + p.arch + "-" + strings.TrimPrefix(digest, "sha256:"),
		"creationInfo":      object{"created": cmp.Or(o.labels[labelTime], epoch), "creators": []string{"Tool: sallyport-pack"}},
		"packages":          b.packages, "files": b.files, "relationships": b.relations,
	}, "", " ")
}

// spdx is a document in the making.
type spdx struct{ packages, files, relations []object }

func (b *spdx) relate(from, how, to string) {
	b.relations = append(b.relations, object{"spdxElementId": from, "relationshipType": how, "relatedSpdxElement": to})
}

// addFiles adds every file of the layer, by its place in the image. SPDX demands SHA-1;
// what counts is the other.
func (b *spdx) addFiles(files []file) error {
	for i, f := range files {
		content, err := os.ReadFile(f.from)
		if err != nil {
			return err
		}
		id := fmt.Sprintf("SPDXRef-File-%d", i+1)
		b.files = append(b.files, object{
			"SPDXID": id, "fileName": "." + f.to, "licenseConcluded": unknown, "licenseInfoInFiles": []string{unknown}, "copyrightText": unknown,
			"checksums": []object{
				{"algorithm": "SHA1", "checksumValue": fmt.Sprintf("%x", sha1.Sum(content))},
				{"algorithm": "SHA256", "checksumValue": fmt.Sprintf("%x", sha256.Sum256(content))},
			},
		})
		b.relate("SPDXRef-Image", "CONTAINS", id)
	}
	return nil
}

// addModules adds the program's own module, the standard library, and every module
// that is linked in.
func (b *spdx) addModules(program *buildinfo.BuildInfo, version string) {
	own := b.addModule(debug.Module{Path: program.Main.Path, Version: version})
	b.relate("SPDXRef-Image", "CONTAINS", own)
	goVersion, _, _ := strings.Cut(strings.TrimPrefix(program.GoVersion, "go"), " ")
	b.relate(own, "DEPENDS_ON", b.addModule(debug.Module{Path: "stdlib", Version: goVersion}))
	for _, m := range program.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		b.relate(own, "DEPENDS_ON", b.addModule(*m))
	}
}

func (b *spdx) addModule(m debug.Module) string {
	id := fmt.Sprintf("SPDXRef-Module-%d", len(b.packages))
	module := object{
		"SPDXID": id, "name": m.Path, "versionInfo": m.Version, "downloadLocation": unknown, "filesAnalyzed": false,
		"licenseConcluded": unknown, "licenseDeclared": unknown, "copyrightText": unknown,
		"externalRefs": []object{purl("pkg:golang/" + m.Path + "@" + m.Version)},
	}
	if m.Sum != "" {
		module["comment"] = "go.sum: " + m.Sum
	}
	b.packages = append(b.packages, module)
	return id
}

// purl is how scanners of vulnerabilities know a package.
func purl(locator string) object {
	return object{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": locator}
}
