package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

const (
	// userAgent begins as the kubelet's does: apps know it by that.
	userAgent = "kube-probe/1 sallyport"

	maxRedirects      = 10
	maxHTTPBody       = 10 << 10 // what the kubelet reads of a body
	maxResponseHeader = 256 << 10
)

// prober connects to the app.
type prober struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// action is what the Probe does. pod is the address by which the pod was called.
func (p *prober) action(probe Probe) func(ctx context.Context, pod netip.Addr) error {
	switch {
	case probe.HTTPGet != nil:
		return func(ctx context.Context, pod netip.Addr) error {
			return p.httpGet(ctx, probe.HTTPGet, pod, probe.Kind.hook())
		}
	case probe.TCPSocket != nil:
		return func(ctx context.Context, _ netip.Addr) error {
			conn, err := p.connect(ctx, probe.TCPSocket.Port)
			if err != nil {
				return err
			}
			return conn.Close()
		}
	default:
		return func(ctx context.Context, _ netip.Addr) error { return p.grpc(ctx, probe.GRPC) }
	}
}

// connect dials a port of loopback: over IPv4, or where nobody listens there, IPv6.
func (p *prober) connect(ctx context.Context, port int32) (net.Conn, error) {
	number := strconv.Itoa(int(port))
	conn, err := p.dial(ctx, "tcp", net.JoinHostPort("127.0.0.1", number))
	if err == nil || ctx.Err() != nil {
		return conn, err
	}
	conn, err6 := p.dial(ctx, "tcp", net.JoinHostPort("::1", number))
	if err6 != nil {
		return nil, errors.Join(err, err6)
	}
	return conn, nil
}

// dialPort dials the port of an address, at loopback, whatever its host is.
func (p *prober) dialPort(ctx context.Context, _, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	return p.connect(ctx, int32(number))
}

// httpGet asks as the kubelet does. Any answer to a hook is a success, as to the
// kubelet; anybody else's must be of 2xx or 3xx.
func (p *prober) httpGet(ctx context.Context, get *HTTPGet, pod netip.Addr, hook bool) error {
	request, err := get.request(ctx, pod)
	if err != nil {
		return err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	transport := &http.Transport{
		DialContext: p.dialPort, DisableKeepAlives: true, DisableCompression: true, Protocols: protocols,
		MaxResponseHeaderBytes: maxResponseHeader,
		TLSClientConfig:        &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // loopback; the kubelet does not verify either
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: checkRedirect}
	response, err := client.Do(request)
	if err != nil {
		return withoutURL(err)
	}
	defer response.Body.Close()
	if hook {
		return nil
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(response.Body, maxHTTPBody)); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if response.StatusCode < http.StatusOK || response.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%w: status %d", errNoSuccess, response.StatusCode)
	}
	return nil
}

// checkRedirect follows what stays on the host; another host's is not ours to ask,
// and the app answered.
func checkRedirect(next *http.Request, via []*http.Request) error {
	if next.URL.Hostname() != via[0].URL.Hostname() {
		return http.ErrUseLastResponse
	}
	if len(via) >= maxRedirects {
		return fmt.Errorf("%w: more than %d redirects", errNoSuccess, maxRedirects)
	}
	return nil
}

// withoutURL takes the URL out of a client's error: it is logged.
func withoutURL(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

func (h *HTTPGet) request(ctx context.Context, pod netip.Addr) (*http.Request, error) {
	host := h.Host
	if host == "" {
		host = pod.String()
	}
	target := &url.URL{Path: h.Path}
	if parsed, err := url.Parse(h.Path); err == nil {
		target = &url.URL{Path: parsed.Path, RawPath: parsed.RawPath, RawQuery: parsed.RawQuery}
	}
	if !strings.HasPrefix(target.Path, "/") {
		target.Path, target.RawPath = "/"+target.Path, ""
	}
	target.Scheme = "http"
	if h.Scheme == "HTTPS" {
		target.Scheme = "https"
	}
	target.Host = net.JoinHostPort(host, strconv.Itoa(int(h.Port)))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, errors.New("the path makes no URL")
	}
	for _, header := range h.Headers {
		request.Header.Add(header.Name, header.Value)
	}
	request.Host = request.Header.Get("Host") // empty: the URL's
	if _, set := request.Header["User-Agent"]; !set {
		request.Header.Set("User-Agent", userAgent)
	}
	if values, set := request.Header["Accept"]; !set {
		request.Header.Set("Accept", "*/*")
	} else if values[0] == "" {
		request.Header.Del("Accept")
	}
	return request, nil
}
