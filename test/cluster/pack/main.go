// Command pack writes a container image as an archive in the OCI layout, from files
// and from nothing else: what `FROM scratch` with COPY lines would give, without a
// container tool and without a registry.
//
//	pack -o sidecar.tar -name sallyport.test/sidecar:dev -user 65532 \
//	  -platform amd64 /sidecar=bin/amd64/sidecar -platform arm64 /sidecar=bin/arm64/sidecar
//
// The first file of a platform is what the image runs. The same files give the same
// bytes: no time, no owner and no order of a directory gets in. It prints the name and
// the digest. With -sbom PREFIX it writes what each platform's image is made of beside
// that, as PREFIX.ARCH.spdx.json. It imports the standard library only.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"strings"
)

// usage is printed where the arguments are none.
const usage = `usage: pack -o ARCHIVE -name NAME:TAG [-user UID] [-env NAME=VALUE]… [-cmd ARG]… [-dir PATH[:MODE[:UID]]]…
            [-label NAME=VALUE]… [-sbom PREFIX] [-platform ARCH] PATH=FILE… [-platform ARCH PATH=FILE…]…`

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "pack: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	var l layout
	digest, err := l.build(o)
	if err != nil {
		return err
	}
	for arch, text := range l.bills {
		file := o.sbom + "." + arch + ".spdx.json"
		if err := write(file, func(w io.Writer) error { _, err := w.Write(append(text, '\n')); return err }); err != nil {
			return err
		}
	}
	if err := write(o.archive, l.write); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s@%s\n", o.name, digest)
	return err
}

// write writes a file beside its place and moves it there, so that nobody reads half of it.
func write(name string, content func(io.Writer) error) error {
	beside := name + ".part"
	f, err := os.Create(beside)
	if err != nil {
		return err
	}
	if err := errors.Join(content(f), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", beside, err)
	}
	return os.Rename(beside, name)
}

// order is what is asked for.
type order struct {
	archive, name string
	sbom          string // prefix of the documents' files; empty for none
	user          string
	env, cmd      []string
	labels        map[string]string
	dirs          []string
	platforms     []platform
}

// platform is what one architecture's image holds.
type platform struct {
	arch  string
	files []file
}

// file is one file of the image, and where it comes from.
type file struct{ to, from string }

func parse(args []string) (order, error) {
	o := order{labels: map[string]string{}}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if !strings.HasPrefix(arg, "-") {
			to, from, ok := strings.Cut(arg, "=")
			if !ok || !path.IsAbs(to) {
				return o, fmt.Errorf("%q is not PATH=FILE\n%s", arg, usage)
			}
			if len(o.platforms) == 0 {
				o.platforms = append(o.platforms, platform{arch: runtime.GOARCH})
			}
			last := &o.platforms[len(o.platforms)-1]
			last.files = append(last.files, file{path.Clean(to), from})
			continue
		}
		if len(args) == 0 {
			return o, fmt.Errorf("%s needs a value\n%s", arg, usage)
		}
		if err := o.set(arg, args[0]); err != nil {
			return o, err
		}
		args = args[1:]
	}
	return o, o.check()
}

func (o *order) set(option, value string) error {
	switch option {
	case "-o":
		o.archive = value
	case "-name":
		o.name = value
	case "-sbom":
		o.sbom = value
	case "-user":
		o.user = value
	case "-env":
		o.env = append(o.env, value)
	case "-cmd":
		o.cmd = append(o.cmd, value)
	case "-dir":
		o.dirs = append(o.dirs, value)
	case "-label":
		name, text, _ := strings.Cut(value, "=")
		o.labels[name] = text
	case "-platform":
		o.platforms = append(o.platforms, platform{arch: value})
	default:
		return fmt.Errorf("unknown option %s\n%s", option, usage)
	}
	return nil
}

func (o *order) check() error {
	if o.archive == "" || o.name == "" || len(o.platforms) == 0 {
		return errors.New(usage)
	}
	for _, p := range o.platforms {
		if len(p.files) == 0 {
			return fmt.Errorf("platform %s has no files", p.arch)
		}
	}
	return nil
}
