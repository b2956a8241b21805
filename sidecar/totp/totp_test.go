package totp_test

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pquerna/otp"

	"github.com/sallyport/sallyport/sidecar/totp"
)

// vectorSecret is the SHA-1 secret of RFC 6238 appendix B.
var vectorSecret = []byte("12345678901234567890")

// TestMatchAgreesWithRFC6238 uses the vectors of appendix B, whose eight digits
// end in the six of a code.
func TestMatchAgreesWithRFC6238(t *testing.T) {
	t.Parallel()
	for unix, code := range map[int64]string{
		59:          "94287082",
		1111111109:  "07081804",
		1111111111:  "14050471",
		1234567890:  "89005924",
		2000000000:  "69279037",
		20000000000: "65353130",
	} {
		step, ok := totp.Match(vectorSecret, code[2:], time.Unix(unix, 0))
		if !ok || step != unix/30 {
			t.Errorf("at %d: step %d, %t; want %d", unix, step, ok, unix/30)
		}
	}
}

// The code of the step that the second 1234567890 begins.
const (
	knownCode = "005924"
	knownStep = int64(1234567890 / 30)
)

func TestMatchAcceptsOneStepAround(t *testing.T) {
	t.Parallel()
	begin := time.Unix(knownStep*30, 0)
	for name, c := range map[string]struct {
		now  time.Time
		want bool
	}{
		"the first moment of its step":        {begin, true},
		"the last moment of its step":         {begin.Add(30*time.Second - 1), true},
		"one step early, at the first moment": {begin.Add(-30 * time.Second), true},
		"the last moment before that":         {begin.Add(-30*time.Second - 1), false},
		"one step late, at the last moment":   {begin.Add(60*time.Second - 1), true},
		"the first moment after that":         {begin.Add(60 * time.Second), false},
		"a day late":                          {begin.Add(24 * time.Hour), false},
		"its step, told in another zone":      {begin.In(time.FixedZone("far", 14*3600)), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			step, ok := totp.Match(vectorSecret, knownCode, c.now)
			if ok != c.want {
				t.Fatalf("ok = %t, want %t", ok, c.want)
			}
			if ok && step != knownStep {
				t.Errorf("step = %d, want %d", step, knownStep)
			}
		})
	}
}

// TestMatchTellsTheLatestStep uses a secret that has one code in two steps in a
// row; spending the earlier one would leave the code usable in the later.
func TestMatchTellsTheLatestStep(t *testing.T) {
	t.Parallel()
	secret := []byte("00000000000000949497")
	first := time.Unix(knownStep*30, 0)
	code := codeAt(t, secret, first)
	if again := codeAt(t, secret, first.Add(totp.Period)); again != code {
		t.Fatalf("the secret has the codes %s and %s", code, again)
	}
	for _, now := range []time.Time{first, first.Add(totp.Period)} {
		if step, ok := totp.Match(secret, code, now); !ok || step != knownStep+1 {
			t.Errorf("at step %d: step %d, %t; want %d", totp.Step(now), step, ok, knownStep+1)
		}
	}
}

func TestMatchRefusesAllButSixDigits(t *testing.T) {
	t.Parallel()
	now := time.Unix(1234567890, 0)
	for code, want := range map[string]bool{
		knownCode:                           true,
		"005 924":                           true,
		" 005924":                           true,
		"005924 ":                           true,
		"0 0 5 9 2 4":                       true,
		"":                                  false,
		"00592":                             false,
		"0059240":                           false,
		"5924":                              false,
		"+05924":                            false,
		"-05924":                            false,
		"0x5924":                            false,
		"005924\n":                          false,
		"\t005924":                          false,
		"005-924":                           false,
		"005\u00a0924":                      false,
		"005\u2009924":                      false,
		"００５９２４":                            false,
		"٠٠٥٩٢٤":                            false,
		"005924\x00":                        false,
		"89005924":                          false,
		"005923":                            false,
		strings.Repeat(" ", 6):              false,
		strings.Repeat(" ", 100) + "005924": false,
	} {
		if _, ok := totp.Match(vectorSecret, code, now); ok != want {
			t.Errorf("%q: %t, want %t", code, ok, want)
		}
	}
}

func TestMatchRefusesShortSecrets(t *testing.T) {
	t.Parallel()
	now := time.Unix(1234567890, 0)
	for n := range 20 {
		secret := make([]byte, n)
		// HMAC pads its key with zeros, so this long secret has the same codes.
		code := codeAt(t, make([]byte, 20), now)
		if _, ok := totp.Match(secret, code, now); ok != (n >= 16) {
			t.Errorf("a secret of %d bytes: %t", n, ok)
		}
	}
}

func TestMatchBeforeTheFirstStep(t *testing.T) {
	t.Parallel()
	if _, ok := totp.Match(vectorSecret, codeAt(t, vectorSecret, time.Unix(0, 0)), time.Unix(0, 0)); !ok {
		t.Error("the first step of all does not match")
	}
	if step, ok := totp.Match(vectorSecret, "755224", time.Unix(-3600, 0)); ok {
		t.Errorf("a time before the epoch matched step %d", step)
	}
}

func TestNewSecretIsRandom(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 100_000 {
		s, err := totp.NewSecret(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if len(s) != 20 || seen[string(s)] {
			t.Fatalf("secret of %d bytes, repeated: %t", len(s), seen[string(s)])
		}
		seen[string(s)] = true
	}
	if _, err := totp.NewSecret(strings.NewReader("short")); err == nil {
		t.Error("a short random source made a secret")
	}
}

func TestGroupedIsEncodeInFours(t *testing.T) {
	t.Parallel()
	if got, want := totp.Encode(vectorSecret), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"; got != want {
		t.Errorf("Encode = %q, want %q", got, want)
	}
	if got, want := totp.Grouped(vectorSecret), "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ"; got != want {
		t.Errorf("Grouped = %q, want %q", got, want)
	}
	if got, want := totp.Grouped([]byte("abc")), "MFRG G"; got != want {
		t.Errorf("Grouped = %q, want %q", got, want)
	}
}

func TestURIReadsBack(t *testing.T) {
	t.Parallel()
	type label struct{ Issuer, Account string }
	for name, c := range map[string]struct{ in, want label }{
		"plain":                      {label{"Acme", "alice@example.com"}, label{"Acme", "alice@example.com"}},
		"spaces":                     {label{"Acme Works", "Alice B"}, label{"Acme Works", "Alice B"}},
		"plus and percent":           {label{"A+B", "a+tag%20@x.org"}, label{"A+B", "a+tag%20@x.org"}},
		"query characters":           {label{"A&B=C?", "a#b/c?d&e"}, label{"A&B=C?", "a#b/c?d&e"}},
		"other scripts":              {label{"Школа", "名前"}, label{"Школа", "名前"}},
		"colons go":                  {label{"Acme:Bank", "a:b"}, label{"AcmeBank", "ab"}},
		"controls go":                {label{"Ac\nme\x00", "a\tb\u0085"}, label{"Acme", "ab"}},
		"bidirectional overrides go": {label{"Acme\u202e", "\u2066a\u2069"}, label{"Acme", "a"}},
		"invalid UTF-8 goes":         {label{"Acme\xff", "a\xc3"}, label{"Acme", "a"}},
		"outer spaces go":            {label{" Acme ", " a "}, label{"Acme", "a"}},
		"no issuer":                  {label{"", "alice"}, label{"", "alice"}},
		"no account":                 {label{"Acme", "::"}, label{"Acme", "Acme"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			uri := totp.URI(c.in.Issuer, c.in.Account, vectorSecret)
			if strings.ContainsAny(uri, "+ ") {
				t.Errorf("%s holds a plus or a space", uri)
			}
			k, err := otp.NewKeyFromURL(uri)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, label{k.Issuer(), k.AccountName()}); diff != "" {
				t.Errorf("%s (-want +got):\n%s", uri, diff)
			}
			got := []any{k.Type(), k.Secret(), k.Algorithm(), k.Digits(), k.Period()}
			want := []any{"totp", totp.Encode(vectorSecret), otp.AlgorithmSHA1, otp.DigitsSix, uint64(30)}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", uri, diff)
			}
		})
	}
	want := "otpauth://totp/Acme%20Works:a%2Bb%40x.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" +
		"&issuer=Acme%20Works&algorithm=SHA1&digits=6&period=30"
	if got := totp.URI("Acme Works", "a+b@x.org", vectorSecret); got != want {
		t.Errorf("URI = %s\nwant  %s", got, want)
	}
}

func FuzzMatch(f *testing.F) {
	for _, code := range []string{knownCode, "005 924", "", "00592４", "\x00", " 005924 "} {
		f.Add(code)
	}
	now := time.Unix(1234567890, 0)
	accepted := map[string]int64{}
	for d := time.Duration(-1); d <= 1; d++ {
		at := now.Add(d * totp.Period)
		accepted[codeAt(f, vectorSecret, at)] = totp.Step(at)
	}
	f.Fuzz(func(t *testing.T, code string) {
		step, ok := totp.Match(vectorSecret, code, now)
		want, right := accepted[strings.ReplaceAll(code, " ", "")]
		if len(code) > 24 {
			right = false
		}
		if ok != right || ok && step != want {
			t.Errorf("%q: step %d, %t; want %d, %t", code, step, ok, want, right)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	now := time.Unix(1234567890, 0)
	for b.Loop() {
		totp.Match(vectorSecret, knownCode, now)
	}
}

// TestEncodeHasNoPadding guards what apps choke on.
func TestEncodeHasNoPadding(t *testing.T) {
	t.Parallel()
	for n := range 41 {
		encoded := totp.Encode(make([]byte, n))
		if strings.Contains(encoded, "=") {
			t.Errorf("%d bytes: %q", n, encoded)
		}
		if _, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(encoded); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}
