package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/sidecar/mfa"
)

// DefaultTimeout bounds an operation where Config.Timeout is 0.
const DefaultTimeout = 500 * time.Millisecond

// replication is how long a change may take to reach the replicas.
const replication = 100 * time.Millisecond

// Config is what a Store needs beside its client.
type Config struct {
	// Prefix of every key, such as "sallyport".
	Prefix string
	// Realm whose users the store keeps: <namespace>/<workspace>.
	Realm string
	// Epoch that the store must have. Until it is set, here or by SetEpoch, the
	// store counts as lost.
	Epoch string
	// Timeout bounds each operation, with all its retries. 0 is DefaultTimeout.
	Timeout time.Duration
	// Replicas that must have a spent step, a spent code or an enrolment before
	// it counts. Where fewer answer in time the operation fails, though the
	// change stands.
	Replicas int
	// Clock of this process, to measure the drift of the server's.
	Clock func() time.Time
}

// Store is a mfa.Store of one realm. It is safe for concurrent use.
type Store struct {
	client  redis.UniversalClient
	scripts *scripts
	config  Config
	epoch   atomic.Pointer[string]
	// ordered tells that one pipeline runs on one server, in order.
	ordered bool
}

var _ mfa.Store = (*Store)(nil)

// New returns a Store on a client, which stays the caller's to close.
func New(client redis.UniversalClient, config Config) (*Store, error) {
	if err := checkNames(config.Prefix, config.Realm); err != nil {
		return nil, err
	}
	if config.Clock == nil {
		return nil, errors.New("redisstore: no clock")
	}
	if config.Timeout <= 0 {
		config.Timeout = DefaultTimeout
	}
	scripts, err := loadScripts()
	if err != nil {
		return nil, fmt.Errorf("redisstore: %w", err)
	}
	s := &Store{client: client, scripts: scripts, config: config}
	_, s.ordered = client.(*redis.Client)
	s.SetEpoch(config.Epoch)
	return s, nil
}

// SetEpoch sets the epoch that the store must have; "" makes it count as lost.
func (s *Store) SetEpoch(epoch string) { s.epoch.Store(&epoch) }

// call is one run of a script.
type call struct {
	script *redis.Script
	keys   []string
	args   []any
	// epoch asks for the epoch too, read after the script ran.
	epoch bool
	// replicated makes the call fail unless Config.Replicas have its change.
	replicated bool
}

// answer is what a script returned: a word and what belongs to it.
type answer struct {
	word string
	rest []any
}

// run runs a script whose answer begins with a word.
func (s *Store) run(ctx context.Context, c call) (answer, error) {
	values, err := s.values(ctx, c)
	if err != nil {
		return answer{}, err
	}
	if len(values) == 0 {
		return answer{}, errors.New("redis returned no answer")
	}
	word, ok := values[0].(string)
	if !ok {
		return answer{}, errors.New("redis returned an unreadable answer")
	}
	return answer{word: word, rest: values[1:]}, nil
}

// values runs a script by its digest and, where the server does not know it, by
// its text, in one pipeline with what else the call asks for.
func (s *Store) values(ctx context.Context, c call) ([]any, error) {
	values, err := s.pipeline(ctx, c, c.script.EvalSha)
	if cluster, ok := s.client.(*redis.ClusterClient); ok && redis.HasErrorPrefix(err, "MOVED") {
		// Only a call that node picked the server for sees this.
		cluster.ReloadState(ctx)
		values, err = s.pipeline(ctx, c, c.script.EvalSha)
	}
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		values, err = s.pipeline(ctx, c, c.script.Eval)
	}
	return values, err
}

type evaluate func(ctx context.Context, c redis.Scripter, keys []string, args ...any) *redis.Cmd

func (s *Store) pipeline(ctx context.Context, c call, eval evaluate) ([]any, error) {
	client, err := s.node(ctx, c)
	if err != nil {
		return nil, err
	}
	pipe := client.Pipeline()
	script := eval(ctx, pipe, c.keys, c.args...)
	var epoch *redis.StringCmd
	if c.epoch {
		epoch = pipe.Get(ctx, s.epochKey())
	}
	var wait *redis.Cmd
	if c.replicated && s.config.Replicas > 0 {
		wait = pipe.Do(ctx, "WAIT", s.config.Replicas, replication.Milliseconds())
	}
	// The commands carry their own errors; an absent epoch would hide the rest.
	_, _ = pipe.Exec(ctx)
	values, err := script.Slice()
	if err == nil {
		values, err = addressee(c.keys[0], values)
	}
	if err != nil {
		return nil, err
	}
	if epoch != nil {
		if err := s.judgeEpoch(epoch); err != nil {
			return nil, err
		}
	}
	if wait != nil {
		if n, err := wait.Int(); err != nil {
			return nil, fmt.Errorf("wait for replicas: %w", err)
		} else if n < s.config.Replicas {
			return nil, fmt.Errorf("%d of %d replicas have the change", n, s.config.Replicas)
		}
	}
	return values, nil
}

// node returns the client to run a call on. WAIT speaks of the connection it is
// sent on, and names no key that would route it in a cluster.
func (s *Store) node(ctx context.Context, c call) (redis.Cmdable, error) {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok || !c.replicated || s.config.Replicas <= 0 {
		return s.client, nil
	}
	node, err := cluster.MasterForKey(ctx, c.keys[0])
	if err != nil {
		return nil, fmt.Errorf("find the node of a user: %w", err)
	}
	return node, nil
}

// reading bounds a read by the request and by the store's timeout.
func (s *Store) reading(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.config.Timeout)
}

// writing bounds a change by the store's timeout alone: whoever hangs up in the
// middle of an attempt must not save the attempt.
func (s *Store) writing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), s.config.Timeout)
}

// keys of one user.
type keys struct{ tag string }

func (s *Store) user(user string, more ...string) (keys, error) {
	for _, name := range append(more, user) {
		if !wellNamed(name) {
			return keys{}, errors.New("redisstore: a name is empty or has characters that names do not have")
		}
	}
	return keys{tag: s.config.Prefix + ":{" + s.config.Realm + ":" + user + "}"}, nil
}

func (k keys) record() string                { return k.tag + ":u" }
func (k keys) counters() string              { return k.tag + ":f" }
func (k keys) pending(browser string) string { return k.tag + ":p:" + browser }
func (k keys) ticket() string                { return k.tag + ":t" }
func (k keys) signIn(name string) string     { return k.tag + ":s:" + name }

// grant returns the keys and arguments that a grant adds to a script. No sign-in
// is stored where the lifetime is 0, and none dropped where both keys are one.
func (k keys) grant(g mfa.Grant) (names []string, args []any, err error) {
	stored, replaced, ttl := k.record(), k.record(), int64(0)
	if g.Key != "" {
		if !wellNamed(g.Key) {
			return nil, nil, errors.New("redisstore: a sign-in has no proper name")
		}
		stored = k.signIn(g.Key)
		replaced = stored
		if ttl = g.TTL.Milliseconds(); ttl <= 0 {
			return nil, nil, errors.New("redisstore: a sign-in has no lifetime")
		}
	}
	if g.Replaces != "" {
		if !wellNamed(g.Replaces) {
			return nil, nil, errors.New("redisstore: a replaced sign-in has no proper name")
		}
		replaced = k.signIn(g.Replaces)
	}
	return []string{stored, replaced}, []any{ttl, g.Value}, nil
}

// wellNamed reports whether a name can stand in a key and leave its hash tag as
// it is. Names are keyed hashes in the URL-safe base64 alphabet.
func wellNamed(name string) bool {
	return name != "" && len(name) <= 128 && strings.IndexFunc(name, func(r rune) bool {
		return !alphanumeric(r) && r != '-' && r != '_'
	}) < 0
}

func checkNames(prefix, realm string) error {
	odd := func(also string) func(rune) bool {
		return func(r rune) bool { return !alphanumeric(r) && !strings.ContainsRune(also, r) }
	}
	if prefix == "" || strings.IndexFunc(prefix, odd("-_.:")) >= 0 {
		return fmt.Errorf("redisstore: prefix %q has more than letters, digits and -_.: in it", prefix)
	}
	if realm == "" || strings.IndexFunc(realm, odd("-_./")) >= 0 {
		return fmt.Errorf("redisstore: realm %q has more than letters, digits and -_./ in it", realm)
	}
	return nil
}

func alphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}
