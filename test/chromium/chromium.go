// Package chromium starts the one real browser of a test package.
//
// It serves tests only, and may import libraries that drive browsers. It must never
// skip for want of a browser: what is missing is an error that says what to install.
package chromium

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/chromedp/chromedp"
)

// NamedHost is a name that the browser resolves to this machine, so that pages can be
// visited by plain HTTP to a name: there a browser sends no Sec-Fetch headers
// and offers scripts no clipboard.
const NamedHost = "portal.test"

// Start starts a browser and returns its context: private windows are opened with
// [chromedp.NewContext] and [chromedp.WithNewBrowserContext], and [chromedp.Cancel]
// ends it. More flags, by name, are for what a test's server cannot have, such as
// "ignore-certificate-errors".
func Start(flags ...string) (context.Context, error) {
	path, err := find()
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
		chromedp.Flag("host-resolver-rules", "MAP "+NamedHost+" 127.0.0.1"),
		chromedp.Flag("disable-features", "Translate,HttpsUpgrades,HttpsFirstBalancedModeAutoEnable,PasswordLeakDetection,SpareRendererForSitePerProcess"),
	}
	for _, name := range append([]string{
		"no-sandbox", "disable-gpu", "disable-quic", "disable-background-networking", "disable-component-update",
		"disable-sync", "disable-dev-shm-usage", "disable-default-apps", "disable-extensions", "disable-breakpad",
		"disable-hang-monitor", "disable-background-timer-throttling", "disable-backgrounding-occluded-windows",
		"disable-renderer-backgrounding", "disable-ipc-flooding-protection", "enable-automation", "mute-audio",
	}, flags...) {
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

// find returns the browser that CHROME names, or one on the PATH.
func find() (string, error) {
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
