package browser_test

import (
	"bytes"
	"image/png"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

// step is how long a code is current.
const step = 30 * time.Second

// clock is the time that sidecars and phones share. It stands still until a test
// moves it, so no test waits for a code, and none meets the end of a step.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now tells the time.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(by time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(by)
	return c.now
}

// phone is an authenticator app that holds one account.
type phone struct {
	t      *testing.T
	clock  *clock
	secret string
}

// code returns the code that the phone shows now.
func (p *phone) code() string { return p.codeAt(p.clock.Now()) }

func (p *phone) codeAt(at time.Time) string {
	p.t.Helper()
	path, err := exec.LookPath("oathtool")
	if err != nil {
		p.t.Fatalf("no oathtool, the independent TOTP implementation: run `make setup`, or install it (apt-get install oathtool): %v", err)
	}
	command := exec.CommandContext(p.t.Context(), path, "--base32", "--totp", "--now=@"+strconv.FormatInt(at.Unix(), 10), "-")
	command.Stdin = strings.NewReader(p.secret + "\n")
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		p.t.Fatalf("oathtool: %v: %s", err, &stderr)
	}
	code := strings.TrimSpace(string(out))
	if len(code) != 6 {
		p.t.Fatalf("oathtool printed %d characters, not a code of 6", len(code))
	}
	return code
}

// wrongCode returns a code that no step near the present one accepts.
func (p *phone) wrongCode() string {
	p.t.Helper()
	near := map[string]bool{}
	for i := -2; i <= 2; i++ {
		near[p.codeAt(p.clock.Now().Add(time.Duration(i)*step))] = true
	}
	for n := range 10 {
		if code := strings.Repeat(strconv.Itoa(n), 6); !near[code] {
			return code
		}
	}
	p.t.Fatal("unreachable: ten codes, of which five are near")
	return ""
}

// scan reads a QR code from a picture of the screen, as a phone's camera does, and
// returns the account it describes.
func scan(t *testing.T, picture []byte) *url.URL {
	t.Helper()
	shot, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatalf("decode the screenshot: %v", err)
	}
	bitmap, err := gozxing.NewBinaryBitmapFromImage(shot)
	if err != nil {
		t.Fatalf("prepare the screenshot: %v", err)
	}
	result, err := qrcode.NewQRCodeReader().Decode(bitmap, nil)
	if err != nil {
		t.Fatalf("no QR code can be read from the screenshot (%v): %v", shot.Bounds(), err)
	}
	uri, err := url.Parse(result.GetText())
	if err != nil || uri.Scheme != "otpauth" || uri.Host != "totp" {
		t.Fatalf("the QR code holds no otpauth://totp URI: %v", err)
	}
	return uri
}
