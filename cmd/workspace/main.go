// Command workspace serves the demo portal: a small company portal that knows
// nothing of a second factor. It composes and listens; what the portal does is
// in package portal. It must never be given real people's passwords.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/sallyport/sallyport/cmd/workspace/portal"
)

// drainTime is how long a shutdown waits for requests that are under way.
const drainTime = 20 * time.Second

func main() {
	redis.SetLogger(&logging.VoidLogger{}) // what matters is in the portal's log
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		os.Exit(1)
	}
}

// run serves until ctx ends. Everything it has to say goes to output.
func run(ctx context.Context, args []string, output io.Writer) error {
	log := slog.New(slog.NewJSONHandler(output, nil))
	flags := flag.NewFlagSet("workspace", flag.ContinueOnError)
	flags.SetOutput(output)
	listen := flags.String("listen", "127.0.0.1:8081", "address to listen on")
	secure := flags.Bool("secure-cookies", false, "mark cookies Secure; set it where browsers use https")
	sessions := flags.String("sessions", "", "where sign-ins are kept: redis://[user:password@]host:port/database, for replicas to share; empty is in memory")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("parse the flags: %w", err)
	}
	if err := serve(ctx, *listen, *secure, *sessions, log); err != nil {
		log.ErrorContext(ctx, "Stopped with an error", slog.Any("error", err))
		return err
	}
	return nil
}

func serve(ctx context.Context, listen string, secure bool, sessions string, log *slog.Logger) error {
	config := portal.Config{Users: portal.DemoUsers(), Clock: time.Now, Log: log, SecureCookies: secure}
	if sessions != "" {
		shared, err := portal.NewRedisSessions(sessions)
		if err != nil {
			return fmt.Errorf("read --sessions: %w", err)
		}
		defer func() { _ = shared.Close() }()
		config.Sessions = shared
	}
	app, err := portal.New(config)
	if err != nil {
		return fmt.Errorf("build the portal: %w", err)
	}
	var listening net.ListenConfig
	listener, err := listening.Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", listen, err)
	}
	// No timeout for whole requests and answers: uploads, downloads and streams
	// take as long as they take.
	server := &http.Server{
		Handler: app.Handler(), Protocols: new(http.Protocols),
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	server.RegisterOnShutdown(app.Close)
	log.InfoContext(ctx, "Listening", slog.String("address", listener.Addr().String()))

	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	app.Wait(drain)
	log.InfoContext(drain, "Stopped")
	return nil
}
