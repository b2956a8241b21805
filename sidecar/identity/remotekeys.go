package identity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sallyport/sallyport/api/policy"
)

const (
	keysFresh    = 5 * time.Minute  // a key that was withdrawn is gone by then
	keysRefresh  = 4 * time.Minute  // from here on newer ones are fetched beside
	keysUnknown  = 30 * time.Second // between fetches for an unknown key id
	keysRetry    = time.Second      // between fetches that fail
	fetchTimeout = 2 * time.Second
	maxKeySet    = 1 << 20
)

type fixedKeys []jose.JSONWebKey

func (k fixedKeys) lookup(_ context.Context, kid string) ([]jose.JSONWebKey, error) {
	return withID(k, kid), nil
}

// remoteKeys are a key set behind a URL, fetched when a request needs it. There is
// at most one fetch at a time, and its outcome is everyone's: it does not end with
// the request that began it.
type remoteKeys struct {
	url       *url.URL
	transport http.RoundTripper
	clock     func() time.Time
	observer  Observer

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetched time.Time // when keys were asked for; zero before the first time
	tried   time.Time // when the last fetch began
	unknown time.Time // when the last one for an unknown key id began
	failed  bool      // how the last fetch ended
	flight  chan struct{}
}

func newRemoteKeys(text string, o JWTOptions) (*remoteKeys, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	if u.Host == "" || u.User != nil || (u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname()))) {
		return nil, errors.New("must be an https URL without a user name, or http to a loopback address")
	}
	k := &remoteKeys{url: u, transport: o.Transport, clock: o.Clock, observer: o.Observer}
	if k.transport == nil {
		k.transport = &http.Transport{
			// The key server is the only thing outside the pod that is asked, and
			// in some networks a proxy is the only way out.
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: fetchTimeout}).DialContext,
			TLSHandshakeTimeout:    fetchTimeout,
			MaxResponseHeaderBytes: maxAnswer,
			IdleConnTimeout:        keysUnknown,
			ForceAttemptHTTP2:      true,
		}
	}
	return k, nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

var errKeys = errors.New("the keys that tokens are checked with cannot be fetched")

func (k *remoteKeys) lookup(ctx context.Context, kid string) ([]jose.JSONWebKey, error) {
	k.mu.Lock()
	found, wait, err := k.look(ctx, kid)
	k.mu.Unlock()
	if wait == nil {
		return found, err
	}
	select {
	case <-wait:
	case <-ctx.Done():
		return nil, errKeys
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	found = withID(k.keys, kid)
	if !k.fresh() || (len(found) == 0 && k.failed) {
		return nil, errKeys
	}
	return found, nil
}

// look answers from the keys at hand, or returns the flight to wait for.
func (k *remoteKeys) look(ctx context.Context, kid string) (found []jose.JSONWebKey, wait chan struct{}, err error) {
	sinceTried := k.clock().Sub(k.tried)
	if !k.fresh() {
		if k.flight == nil && k.failed && sinceTried < keysRetry {
			return nil, nil, errKeys
		}
		return nil, k.fetch(ctx), nil
	}
	if found = withID(k.keys, kid); len(found) > 0 {
		if k.clock().Sub(k.fetched) >= keysRefresh && sinceTried >= keysUnknown {
			k.fetch(ctx) // nobody waits for it
		}
		return found, nil, nil
	}
	now := k.clock()
	switch {
	case k.flight != nil:
		return nil, k.flight, nil
	case now.Sub(k.unknown) >= keysUnknown:
		k.unknown = now
		return nil, k.fetch(ctx), nil
	case k.failed:
		return nil, nil, errKeys
	default:
		return nil, nil, nil
	}
}

func (k *remoteKeys) fresh() bool {
	return !k.fetched.IsZero() && k.clock().Sub(k.fetched) < keysFresh
}

// fetch joins the fetch that is under way or begins one. The lock is held.
func (k *remoteKeys) fetch(ctx context.Context) chan struct{} {
	if k.flight != nil {
		return k.flight
	}
	flight := make(chan struct{})
	k.flight, k.tried = flight, k.clock()
	go func() {
		defer close(flight)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		keys, err := k.get(ctx)
		k.mu.Lock()
		k.flight, k.failed = nil, err != nil
		if err == nil {
			k.keys, k.fetched = keys, k.tried
		}
		took := k.clock().Sub(k.tried)
		k.mu.Unlock()
		k.observe(ctx, took, err)
	}()
	return flight
}

func (k *remoteKeys) observe(ctx context.Context, took time.Duration, err error) {
	if k.observer == nil {
		return
	}
	e := Event{Source: policy.IdentityJWT, Took: took, Err: err}
	if err != nil {
		e.Reason = ReasonKeys
	}
	k.observer(ctx, e)
}

// get fetches the key set by a bare round trip: whoever may redirect the fetch
// would choose the keys.
func (k *remoteKeys) get(ctx context.Context) ([]jose.JSONWebKey, error) {
	//nolint:gosec // G704: the URL is the policy's; no request has a say in it.
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("ask for the key set: %w", err)
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := k.transport.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("ask for the key set: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask for the key set: the answer was %d", response.StatusCode)
	}
	document, err := io.ReadAll(io.LimitReader(response.Body, maxKeySet+1))
	if err != nil {
		return nil, fmt.Errorf("read the key set: %w", err)
	}
	if len(document) > maxKeySet {
		return nil, errors.New("read the key set: it is too long")
	}
	keys, err := parseKeys(document, false)
	if err != nil {
		return nil, fmt.Errorf("read the key set: %w", err)
	}
	return keys, nil
}
