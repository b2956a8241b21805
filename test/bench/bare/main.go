// Command bare is the baseline of the benchmark: the least that a reverse proxy in Go
// can be, with the standard library's ReverseProxy and a transport that keeps its
// connections.
//
// It imports the standard library only, and must never do anything for a request that
// ReverseProxy does not do by itself: the sidecar is compared with it.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"
)

const (
	dialTimeout = 2 * time.Second
	idleTimeout = 2 * time.Minute
	bufferSize  = 32 << 10
	idle        = 2048 // connections to the app: more than any load has
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	app := flag.String("app", "", "origin of the app")
	flag.Parse()
	if err := serve(context.Background(), *listen, *app); err != nil {
		log.Fatal(err)
	}
}

func serve(ctx context.Context, address, app string) error {
	origin, err := url.Parse(app)
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(origin) },
		Transport: &http.Transport{
			DialContext:  (&net.Dialer{Timeout: dialTimeout}).DialContext,
			MaxIdleConns: idle, MaxIdleConnsPerHost: idle, IdleConnTimeout: idleTimeout, DisableCompression: true,
		},
		BufferPool: &buffers{sync.Pool{New: func() any { return new([bufferSize]byte) }}},
	}
	server := &http.Server{Handler: proxy, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: idleTimeout}
	return server.Serve(listener)
}

// buffers lends what bodies are copied through.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	buffer, _ := b.pool.Get().(*[bufferSize]byte)
	return buffer[:]
}

func (b *buffers) Put(buffer []byte) { b.pool.Put((*[bufferSize]byte)(buffer)) }
