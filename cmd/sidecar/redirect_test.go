package main

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestRedirectRefusesMistakesBeforeItTouchesTheNetwork(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, args, want string
	}{
		{"no port", "", "no port to redirect"},
		{"a port that is none", "--port 65536", "--port 65536: a port is at most 65535"},
		{"a port with a name", "--port web", "invalid argument"},
		{"port 0", "--port 0", "port 0 cannot be redirected"},
		{"the sidecar's port", "--port 8080 --port 15080", "port 15080 is the sidecar's own"},
		{"the sidecar's other port", "--port 8080 --to 8080", "port 8080 is the sidecar's own"},
		{"a port twice", "--port 8080,8080", "port 8080 is given twice"},
		{"an argument", "--port 8080 8443", `unexpected argument "8443"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cmd := redirectCommand()
			cmd.SilenceErrors, cmd.SilenceUsage = true, true
			cmd.SetFlagErrorFunc(command().FlagErrorFunc())
			cmd.SetArgs(strings.Fields(tc.args))
			cmd.SetOut(io.Discard)
			err := cmd.ExecuteContext(t.Context())
			if _, usage := errors.AsType[*usageError](err); !usage || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("redirect %s: %v, want a mistake on the command line with %q", tc.args, err, tc.want)
			}
		})
	}
}

func TestProbesHandler(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	if handler, err := probesHandler("", log); handler != nil || err != nil {
		t.Errorf("without --probes: %v, %v", handler, err)
	}
	if _, err := probesHandler(`[{"container":"web"}]`, log); err == nil || !strings.Contains(err.Error(), "--probes: probe 0: kind") {
		t.Errorf("a probe of no kind: %v", err)
	}
	app := httptest.NewServer(http.NotFoundHandler())
	port := app.Listener.Addr().String()
	port = port[strings.LastIndexByte(port, ':')+1:]
	handler, err := probesHandler(`[{"container":"web","kind":"liveness","tcpSocket":{"port":`+port+`}}]`, log)
	if err != nil {
		t.Fatal(err)
	}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/probe/web/liveness", nil))
	app.Close()
	if recorder.Code != http.StatusOK {
		t.Errorf("a probe of an app that listens: %d", recorder.Code)
	}
}
