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
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// screenshots is where TestEveryPage draws what it sees, "" for nowhere.
var screenshots = flag.String("screenshots", "", "draw every page into this folder")

// namedHost is a name that the browser resolves to this machine, so that pages can be
// visited by plain HTTP to a name: there a browser sends no Sec-Fetch headers
// and offers scripts no clipboard.
const namedHost = "portal.test"

// chromium starts the one browser process of this package on first use. Every
// person in a test has a browser context of their own in it, with cookies of its
// own, as in a private window.
var chromium = sync.OnceValues(launch)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := quit(); err != nil {
		fmt.Fprintln(os.Stderr, "end Chromium:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func launch() (context.Context, error) {
	path, err := chromiumPath()
	if err != nil {
		return nil, err
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path),
		chromedp.NoFirstRun,
		chromedp.NoDefaultBrowserCheck,
		chromedp.Flag("headless", "new"),
		chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("force-color-profile", "srgb"),
		chromedp.Flag("password-store", "basic"),
		chromedp.Flag("host-resolver-rules", "MAP "+namedHost+" 127.0.0.1"),
		chromedp.Flag("disable-features", "Translate,HttpsUpgrades,HttpsFirstBalancedModeAutoEnable,PasswordLeakDetection,SpareRendererForSitePerProcess"),
	}
	for _, name := range []string{
		"no-sandbox", "disable-gpu", "disable-quic", "disable-background-networking", "disable-component-update",
		"disable-sync", "disable-dev-shm-usage", "disable-default-apps", "disable-extensions", "disable-breakpad",
		"disable-hang-monitor", "disable-background-timer-throttling", "disable-backgrounding-occluded-windows",
		"disable-renderer-backgrounding", "disable-ipc-flooding-protection", "enable-automation", "mute-audio",
	} {
		options = append(options, chromedp.Flag(name, true))
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, _ := chromedp.NewContext(allocator)
	if err := chromedp.Do(ctx); err != nil {
		stop()
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return ctx, nil
}

// quit ends the browser gracefully, if one was started.
func quit() error {
	ctx, err := chromium()
	if err != nil {
		return nil // the tests have said so
	}
	limited, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return chromedp.Cancel(limited)
}

// chromiumPath finds the browser: the one that CHROME names, or one on the PATH.
func chromiumPath() (string, error) {
	names := []string{
		"chromium", "chromium-browser", "google-chrome", "google-chrome-stable",
		"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
	}
	if named := os.Getenv("CHROME"); named != "" {
		names = []string{named}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no browser: tried %s. Run `make setup`, or install it (apt-get install chromium), "+
		"or name one with CHROME=/path/to/chrome", strings.Join(names, ", "))
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
