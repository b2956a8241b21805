package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestRunServesUntilItIsToldToStop(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	output, pipe := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"--listen", "127.0.0.1:0"}, pipe)
		_ = pipe.Close()
		done <- err
	}()
	log := bufio.NewScanner(output)
	var line struct{ Msg, Address string }
	for line.Msg != "Listening" && log.Scan() {
		if err := json.Unmarshal(log.Bytes(), &line); err != nil {
			t.Fatalf("the log is no JSON: %v", err)
		}
	}
	logged := make(chan string, 1)
	go func() {
		var rest strings.Builder
		for log.Scan() {
			rest.WriteString(log.Text())
		}
		logged <- rest.String()
	}()

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+line.Address+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("/healthz answered %d", res.StatusCode)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("run returned %v", err)
	}
	if rest := <-logged; !strings.Contains(rest, `"msg":"Stopped"`) {
		t.Errorf("the log ends with %q", rest)
	}
}

func TestRunRefusesWhatItCannotDo(t *testing.T) {
	var output strings.Builder
	if err := run(t.Context(), []string{"--listen", "127.0.0.1:99999"}, &output); err == nil || !strings.Contains(output.String(), "Stopped with an error") {
		t.Errorf("an impossible address gave %v and %q", err, output.String())
	}
	if err := run(t.Context(), []string{"--help"}, &output); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("--help gave %v", err)
	}
	if err := run(t.Context(), []string{"--no-such-flag"}, &output); err == nil || errors.Is(err, flag.ErrHelp) {
		t.Errorf("an unknown flag gave %v", err)
	}
}
