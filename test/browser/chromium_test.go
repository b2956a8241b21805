// Package browser_test walks the user guide in a real Chromium, as people do: by
// reading labels, clicking, typing and pressing keys. Codes come from oathtool and
// QR codes are read by a decoder that shares nothing with the encoder.
//
// It may import test/stack and libraries that drive browsers. It must never reach
// into the sidecar, never wait by sleeping, and never skip for want of a tool:
// what is missing is an error that says what to install.
package browser_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/sallyport/sallyport/test/chromium"
)

// screenshots is where TestEveryPage draws what it sees, "" for nowhere.
var screenshots = flag.String("screenshots", "", "draw every page into this folder")

// theBrowser starts the one browser process of this package on first use. Every
// person in a test has a browser context of their own in it, with cookies of its
// own, as in a private window.
var theBrowser = sync.OnceValues(func() (context.Context, error) { return chromium.Start() })

func TestMain(m *testing.M) {
	code := m.Run()
	if err := quit(); err != nil {
		fmt.Fprintln(os.Stderr, "end Chromium:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// quit ends the browser gracefully, if one was started.
func quit() error {
	ctx, err := theBrowser()
	if err != nil {
		return nil // the tests have said so
	}
	limited, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return chromedp.Cancel(limited)
}

// axeScript is the source of axe-core, read once.
var axeScript = sync.OnceValues(func() (string, error) {
	path := os.Getenv("AXE_CORE")
	if path == "" {
		var err error
		if path, err = cachedAxe(); err != nil {
			return "", err
		}
	}
	source, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("axe-core is missing; run `make setup`, which fetches it, or name its axe.min.js with AXE_CORE=: %w", err)
	}
	return string(source), nil
})

// cachedAxe is where test/setup/install keeps the version that it pins.
func cachedAxe() (string, error) {
	versions, err := os.ReadFile("../setup/versions")
	if err != nil {
		return "", fmt.Errorf("read which axe-core is wanted: %w", err)
	}
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find the cache of axe-core: %w", err)
		}
		cache = filepath.Join(home, ".cache")
	}
	for line := range strings.Lines(string(versions)) {
		if version, ok := strings.CutPrefix(strings.TrimSpace(line), "AXE_CORE_VERSION="); ok {
			return filepath.Join(cache, "sallyport", "axe-core-"+version, "axe.min.js"), nil
		}
	}
	return "", errors.New("test/setup/versions pins no AXE_CORE_VERSION")
}
