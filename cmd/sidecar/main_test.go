package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain lets the test binary stand in for the program.
func TestMain(m *testing.M) {
	if os.Getenv("RUN_SIDECAR") == "1" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// sidecar runs the program and returns its output and exit code.
func sidecar(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), "RUN_SIDECAR=1")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), code
}

func TestPagesComeFromNoFiles(t *testing.T) {
	t.Setenv("TEMPL_DEV_MODE", "true")
	_, stderr, code := sidecar(t, "--follow", "acme/portal", "--keys", "x", "--redis", "redis://127.0.0.1:1")
	if code != exitUsage || !strings.Contains(stderr, "TEMPL_DEV_MODE") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

func TestHelpExplainsTheProgram(t *testing.T) {
	t.Parallel()
	stdout, _, code := sidecar(t, "--help")
	if code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	for _, want := range []string{"MFAPolicy", "--policy", "--keys", "--redis", "--ops-listen", "sidecar keys", "--follow", "--redis-file"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the help does not mention %q", want)
		}
	}
}

func TestMistakesEndInOneLineAndAnExitCode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	keys, _, _ := sidecar(t, "keys")
	goodKeys, badKeys := file("keys.json", keys), file("bad-keys.json", "{}")
	goodPolicy := file("policy.yaml", `{apiVersion: mfa.sallyport.dev/v1alpha1, kind: MFAPolicy, metadata: {name: portal},
spec: {selector: {}, app: {port: 8080}, identity: {type: Endpoint, endpoint: {}}}}`)
	typo := file("typo.yaml", `{apiVersion: mfa.sallyport.dev/v1alpha1, kind: MFAPolicy, metadata: {name: portal},
spec: {selector: {}, requireForEveryon: true, app: {port: 8080}, identity: {type: Endpoint, endpoint: {}}}}`)
	broken := file("broken.yaml", "spec: [unclosed")
	redis := "redis://127.0.0.1:1"
	cases := []struct {
		name  string
		args  []string
		code  int
		wants []string
	}{
		{"unknown flag", []string{"--polcy", "x"}, exitUsage, []string{"--polcy", "--help"}},
		{"argument", []string{"serve"}, exitUsage, []string{"serve"}},
		{"no policy", nil, exitUsage, []string{"--policy is required", "--follow"}},
		{"no keys", []string{"--policy", goodPolicy, "--redis", redis}, exitUsage, []string{"--keys is required"}},
		{"no Redis", []string{"--policy", goodPolicy, "--keys", goodKeys}, exitUsage, []string{"--redis is required", "--redis-file"}},
		{
			"policy and follow",
			[]string{"--policy", goodPolicy, "--follow", "acme/portal", "--keys", goodKeys, "--redis", redis},
			exitUsage,
			[]string{"--policy", "--follow"},
		},
		{
			"follow without a namespace",
			[]string{"--follow", "portal", "--keys", goodKeys, "--redis", redis},
			exitUsage,
			[]string{"--follow", "acme/portal"},
		},
		{
			"follow of more than a name",
			[]string{"--follow", "acme/portal/x", "--keys", goodKeys, "--redis", redis},
			exitUsage,
			[]string{"--follow"},
		},
		{
			"follow of a name that breaks a key",
			[]string{"--follow", "acme}/portal", "--keys", goodKeys, "--redis", redis},
			exitUsage,
			[]string{"--follow"},
		},
		{
			"follow with an epoch file",
			[]string{"--follow", "acme/portal", "--keys", goodKeys, "--redis", redis, "--epoch-file", "x"},
			exitUsage,
			[]string{"--epoch-file"},
		},
		{
			"Redis in a file and beside it",
			[]string{"--policy", goodPolicy, "--keys", goodKeys, "--redis-file", "x", "--redis-username-file", "y"},
			exitUsage,
			[]string{"--redis-file"},
		},
		{
			"Redis in no file",
			[]string{"--policy", goodPolicy, "--keys", goodKeys, "--redis-file", dir + "/none"},
			exitFailed,
			[]string{"--redis-file", "none"},
		},
		{
			"Redis in a file that is none",
			[]string{"--policy", goodPolicy, "--keys", goodKeys, "--redis-file", file("bad-redis.json", `{"url":"redis://:hunter2@x"`)},
			exitFailed,
			[]string{"bad-redis.json", "cut short"},
		},

		{"bad duration", []string{"--drain", "soon"}, exitUsage, []string{"--drain", "soon"}},
		{
			"bad log level",
			[]string{"--policy", goodPolicy, "--keys", goodKeys, "--redis", redis, "--log-level", "loud"},
			exitUsage,
			[]string{"--log-level", "loud"},
		},
		{
			"bad app",
			[]string{"--policy", goodPolicy, "--keys", goodKeys, "--redis", redis, "--app", "localhost:80/x"},
			exitUsage,
			[]string{"--app"},
		},
		{
			"unreadable keys",
			[]string{"--policy", goodPolicy, "--keys", dir + "/none", "--redis", redis},
			exitFailed,
			[]string{"none", "sidecar keys"},
		},
		{"bad keys", []string{"--policy", goodPolicy, "--keys", badKeys, "--redis", redis}, exitFailed, []string{"key ring"}},
		{
			"bad Redis URL",
			[]string{"--policy", goodPolicy, "--keys", goodKeys, "--redis", "http://x"},
			exitFailed,
			[]string{"--redis"},
		},
		{
			"unreadable policy",
			[]string{"--policy", dir + "/none.yaml", "--keys", goodKeys, "--redis", redis},
			exitFailed,
			[]string{"none.yaml"},
		},
		{
			"policy with a typo",
			[]string{"--policy", typo, "--keys", goodKeys, "--redis", redis},
			exitFailed,
			[]string{"typo.yaml", "spec.requireForEveryon", "requireForEveryone"},
		},
		{
			"policy that is no YAML",
			[]string{"--policy", broken, "--keys", goodKeys, "--redis", redis},
			exitFailed,
			[]string{"broken.yaml"},
		},
		{
			"address in use",
			[]string{"--policy", goodPolicy, "--keys", goodKeys, "--redis", redis, "--listen", "256.0.0.1:1"},
			exitFailed,
			[]string{"256.0.0.1:1"},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, stderr, code := sidecar(t, c.args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if lines := strings.Count(strings.TrimSpace(stderr), "\n") + 1; lines != 1 {
				t.Errorf("%d lines of error, want one:\n%s", lines, stderr)
			}
			for _, want := range c.wants {
				if !strings.Contains(stderr, want) {
					t.Errorf("the error does not mention %q: %s", want, stderr)
				}
			}
		})
	}
}
