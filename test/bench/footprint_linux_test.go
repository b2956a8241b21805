package bench_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/sallyport/sallyport/test/bench/figures"
)

const (
	starts      = 5    // of each proxy, to take the time of
	held        = 1000 // connections that are kept open
	downloads   = 5    // of the file from each
	settling    = 2 * time.Second
	copyThrough = 256 << 10
)

// footprint is what a proxy takes, beside requests per second. Each figure is of a
// process of its own, so that none carries another's garbage.
type footprint struct {
	binary, ready         []float64 // MB, milliseconds
	idle, alive, sockets  []float64 // MiB
	speed                 []float64 // MB/s
	before, after, atMost []float64 // MiB, around the downloads
}

// proxy is what the footprint is taken of.
type proxy struct {
	name string
	// start runs a fresh one; ready is how long it took.
	start   func() (p *program, ready time.Duration)
	cookies string
}

func (b *bench) footprint() map[string]*footprint {
	b.Helper()
	both := []proxy{
		{verified, func() (*program, time.Duration) { s := b.startSidecar(); return s.program, s.ready }, b.alice.cookies()},
		{bareGo, func() (*program, time.Duration) {
			p := b.startBare()
			return p, b.awaitPort(p)
		}, b.alice.cookies()},
	}
	all := map[string]*footprint{direct: {}}
	for _, p := range both {
		all[p.name] = &footprint{}
	}
	b.idle(all, both)
	b.hold(all, both)
	b.download(all, both)
	return all
}

// idle takes what is there before the first request.
func (b *bench) idle(all map[string]*footprint, both []proxy) {
	b.Helper()
	for n, name := range map[string]string{verified: "sidecar", bareGo: "bare"} {
		file, err := os.Stat(b.built(name))
		b.must("look at a program", err)
		all[n].binary = []float64{float64(file.Size()) / 1e6}
	}
	for range starts {
		for _, p := range both {
			program, ready := p.start()
			b.rest(settling)
			f := all[p.name]
			f.ready = append(f.ready, float64(ready)/float64(time.Millisecond))
			f.idle = append(f.idle, b.rss(program))
			b.stop(program)
		}
	}
	for _, p := range both {
		b.say("%s: ready after %s ms, %s MiB", p.name, figures.Show("%.0f", figures.Summarise(all[p.name].ready)),
			figures.Show("%.1f", figures.Summarise(all[p.name].idle)))
	}
}

// hold opens a thousand connections, and a thousand WebSockets, and has them do nothing.
func (b *bench) hold(all map[string]*footprint, both []proxy) {
	b.Helper()
	for _, p := range both {
		f := all[p.name]
		program, _ := p.start()
		clients, err := dial(b.Context(), program.addr, held, get("/page", p.cookies))
		b.must("open connections", err)
		for _, c := range clients {
			b.must("use a connection once", c.exchange())
		}
		b.rest(settling)
		f.alive = []float64{b.rss(program)}
		hangUp(clients)
		b.stop(program)

		program, _ = p.start()
		open := make([]net.Conn, held)
		for i := range open {
			open[i] = b.openSocket(program, p.cookies)
		}
		b.rest(settling)
		f.sockets = []float64{b.rss(program)}
		for _, conn := range open {
			b.must("hang up", conn.Close())
		}
		b.stop(program)
		b.say("%s: %.1f MiB with %d idle connections, %.1f MiB with %d idle WebSockets", p.name, f.alive[0], held, f.sockets[0], held)
	}
}

// openSocket makes the handshake of a WebSocket.
func (b *bench) openSocket(p *program, cookies string) net.Conn {
	b.Helper()
	conn, err := new(net.Dialer).DialContext(b.Context(), "tcp", p.addr)
	b.must("connect to "+p.name, err)
	b.must("bound the wait", conn.SetDeadline(time.Now().Add(patience)))
	_, err = conn.Write(get("/socket", cookies, "Connection: Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="))
	b.must("open a WebSocket", err)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	b.must("open a WebSocket", err)
	if response.StatusCode != http.StatusSwitchingProtocols {
		b.Fatalf("%s opens no WebSocket: %s", p.name, response.Status)
	}
	return conn
}

// download takes the file from all in turn.
func (b *bench) download(all map[string]*footprint, both []proxy) {
	b.Helper()
	from := map[string]*program{direct: b.app}
	names := []string{direct}
	for _, p := range both {
		from[p.name], _ = p.start()
		names = append(names, p.name)
		all[p.name].before = []float64{b.rss(from[p.name])}
	}
	request, buffer := get("/file", both[0].cookies), make([]byte, copyThrough)
	for n := range downloads {
		for _, i := range figures.Order(len(names), n) {
			name := names[i]
			conn, err := new(net.Dialer).DialContext(b.Context(), "tcp", from[name].addr)
			b.must("connect", err)
			speed, err := download(conn, request, buffer)
			b.must("download from "+name, err)
			_ = conn.Close()
			all[name].speed = append(all[name].speed, speed/1e6)
		}
	}
	for _, p := range both {
		all[p.name].after = []float64{b.rss(from[p.name])}
		all[p.name].atMost = []float64{b.peak(from[p.name])}
		b.stop(from[p.name])
	}
	for _, name := range names {
		b.say("%s: %s MB/s", name, figures.Show("%.0f", figures.Summarise(all[name].speed)))
	}
}

// each is what one connection takes, in KiB.
func each(loaded, idle []float64) figures.Summary {
	rest := figures.Summarise(idle).Median
	var all []float64
	for _, mib := range loaded {
		all = append(all, (mib-rest)*1024/held)
	}
	return figures.Summarise(all)
}

func heldLabel(what string) string {
	return fmt.Sprintf("RSS with %s idle %s, MiB", strconv.Itoa(held/1000)+",000", what)
}
