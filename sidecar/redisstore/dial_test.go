package redisstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/redisstore"
	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
)

func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// secured starts a server with TLS and the user "door", and returns how to reach
// it and the file of that user's password.
func secured(t *testing.T) (node *redistest.Secured, good redisstore.Options) {
	t.Helper()
	node = redistest.TLS(t, strings.Join([]string{
		"user default off",
		"user admin on >admin-secret ~* &* +@all",
		"user door >first-secret " + strings.Join(redisstore.ACL(prefix, realm), " "),
	}, "\n"))
	return node, redisstore.Options{
		URL:          "rediss://" + node.Addr,
		UsernameFile: file(t, "username", "door"),
		PasswordFile: file(t, "password", "first-secret\n"),
		CAFile:       node.CAFile,
		CertFile:     node.CertFile,
		KeyFile:      node.KeyFile,
	}
}

func TestDialWithTLSAndAUser(t *testing.T) {
	t.Parallel()
	_, good := secured(t)
	client := dial(t, good)
	s := newStore(t, client, redisstore.Config{})
	want := enrol(t, s)
	if snapshot, err := s.Load(t.Context(), user, ""); err != nil || snapshot.Record == nil ||
		snapshot.Record.LastStep != want.LastStep {
		t.Fatalf("Load = %v, %v", snapshot, err)
	}
	if h := s.Check(t.Context()); h.Err != nil {
		t.Errorf("Check = %+v", h)
	}
	// The user reaches its realm alone.
	if err := client.Get(t.Context(), prefix+":{shop/other}:epoch").Err(); !redis.HasErrorPrefix(err, "NOPERM") {
		t.Errorf("a key of another realm: %v", err)
	}
	if err := client.FlushAll(t.Context()).Err(); !redis.HasErrorPrefix(err, "NOPERM") {
		t.Errorf("FLUSHALL: %v", err)
	}
	good.ServerName = "redis.test"
	if err := dial(t, good).Ping(t.Context()).Err(); err != nil {
		t.Errorf("with the server's other name: %v", err)
	}
}

func TestDialIsRefused(t *testing.T) {
	t.Parallel()
	node, good := secured(t)
	for name, change := range map[string]func(*redisstore.Options){
		"no TLS":                 func(o *redisstore.Options) { o.URL, o.CAFile, o.CertFile, o.KeyFile = "redis://"+node.Addr, "", "", "" },
		"the system's authority": func(o *redisstore.Options) { o.CAFile = "" },
		"another authority":      func(o *redisstore.Options) { o.CAFile = node.OtherCAFile },
		"another server name":    func(o *redisstore.Options) { o.ServerName = "elsewhere.test" },
		"no client certificate":  func(o *redisstore.Options) { o.CertFile, o.KeyFile = "", "" },
		"another user":           func(o *redisstore.Options) { o.UsernameFile = file(t, "u", "nobody") },
		"no user":                func(o *redisstore.Options) { o.UsernameFile, o.PasswordFile = "", "" },
		"a wrong password":       func(o *redisstore.Options) { o.PasswordFile = file(t, "p", "wrong-secret") },
	} {
		t.Run(name, func(t *testing.T) {
			o := good
			change(&o)
			err := dial(t, o).Get(t.Context(), epochKey).Err()
			if err == nil || errors.Is(err, redis.Nil) {
				t.Fatal("it worked")
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error holds the password: %v", err)
			}
		})
	}
	if err := dial(t, good).Get(t.Context(), epochKey).Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("the unchanged options: %v", err)
	}
}

func TestDialReadsARotatedPassword(t *testing.T) {
	t.Parallel()
	node, good := secured(t)
	client := dial(t, good)
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	o := good
	o.URL, o.UsernameFile, o.PasswordFile = "rediss://admin:admin-secret@"+node.Addr, "", ""
	admin := dial(t, o)
	if err := admin.Do(t.Context(), "ACL", "SETUSER", "door", "resetpass", ">second-secret").Err(); err != nil {
		t.Fatal(err)
	}
	if err := admin.Do(t.Context(), "CLIENT", "KILL", "USER", "door").Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.Ping(t.Context()).Err(); err == nil {
		t.Error("the old password still works")
	}
	if err := os.WriteFile(good.PasswordFile, []byte("second-secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("the new password: %v", err)
	}
}

func TestDialThroughSentinel(t *testing.T) {
	t.Parallel()
	sentinel, primary, replica := redistest.Sentinel(t, "pass:word@1/2")
	client := dial(t, redisstore.Options{
		// The first Sentinel does not answer.
		URL:                  "redis+sentinel://:pass%3Aword%401%2F2@127.0.0.1:1," + sentinel.Addr + "/" + redistest.Master + "/0",
		SentinelPasswordFile: file(t, "sentinel", "pass:word@1/2"),
	})
	s := newStore(t, client, redisstore.Config{Timeout: patient})
	want := enrol(t, s)
	await(t, "the replica has the enrolment", func() bool {
		c := redis.NewClient(&redis.Options{Addr: replica.Addr, Password: "pass:word@1/2"})
		defer func() { _ = c.Close() }()
		return c.Exists(t.Context(), recordKey).Val() == 1
	})
	primary.Kill()
	sentinel.Await("+switch-master")
	await(t, "the replica takes changes", func() bool {
		return s.CommitTOTP(t.Context(), user, "g1", want.LastStep+1, mfa.Grant{}) == nil
	})
	if snapshot, err := s.Load(t.Context(), user, ""); err != nil || snapshot.Record.LastStep != want.LastStep+1 {
		t.Errorf("Load = %v, %v", snapshot, err)
	}
}

func TestDialRefuses(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	empty := file(t, "empty", "\n")
	some := file(t, "some", "secret")
	const server, login = "redis://127.0.0.1:6379", "user:secret@"
	for name, o := range map[string]redisstore.Options{
		"nothing":                  {},
		"no scheme":                {URL: "127.0.0.1:6379"},
		"another scheme":           {URL: "http://" + login + "127.0.0.1"},
		"an unknown topology":      {URL: "redis+ring://" + login + "127.0.0.1"},
		"an empty topology":        {URL: "redis+://127.0.0.1"},
		"no host":                  {URL: "redis://"},
		"no host after a user":     {URL: "redis://" + login},
		"a bad port":               {URL: "redis://" + login + "h:65536"},
		"port zero":                {URL: "redis://h:0"},
		"a bad host":               {URL: "redis://" + login + "h!st"},
		"an empty host in a list":  {URL: "redis+cluster://a,,b"},
		"hosts of a single server": {URL: "redis://a,b"},
		"a bad database":           {URL: "redis://" + login + "h/first"},
		"a query":                  {URL: "redis://" + login + "h/0?skip_verify=true"},
		"a slash in a password":    {URL: "redis://user:sec/secret@h"},
		"a wrong escape":           {URL: "redis://user:secret" + "%zz@h"},
		"a Sentinel's no primary":  {URL: "redis+sentinel://" + login + "h"},
		"a cluster's database":     {URL: "redis+cluster://h/1"},
		"two passwords":            {URL: "redis://" + login + "h", PasswordFile: some},
		"two users":                {URL: "redis://user@h", UsernameFile: some},
		"a missing password":       {URL: server, PasswordFile: missing},
		"an empty password":        {URL: server, PasswordFile: empty},
		"a missing user":           {URL: server, UsernameFile: missing},
		"a missing Sentinel user":  {URL: "redis+sentinel://h/m", SentinelUsernameFile: missing},
		"an empty Sentinel secret": {URL: "redis+sentinel://h/m", SentinelPasswordFile: empty},
		"an authority without TLS": {URL: server, CAFile: some},
		"a certificate alone":      {URL: "rediss://h", CertFile: some},
		"a missing authority":      {URL: "rediss://h", CAFile: missing},
		"an authority that is not": {URL: "rediss://h", CAFile: some},
		"a key that is not":        {URL: "rediss://h", CertFile: some, KeyFile: some},
	} {
		client, err := redisstore.Dial(o)
		if err == nil {
			_ = client.Close()
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error holds the password: %v", name, err)
		}
	}
}

func TestDialReadsURLs(t *testing.T) {
	t.Parallel()
	type reading struct {
		Addrs  []string
		DB     int
		Secure bool
	}
	for url, want := range map[string]reading{
		"redis://h":                         {Addrs: []string{"h:6379"}},
		"redis://h/":                        {Addrs: []string{"h:6379"}},
		"rediss://u:p@h:1/7":                {Addrs: []string{"h:1"}, DB: 7, Secure: true},
		"redis://[::1]":                     {Addrs: []string{"[::1]:6379"}},
		"redis://[::1]:9":                   {Addrs: []string{"[::1]:9"}},
		"redis+cluster://a,b:2,[::1]:3/0":   {Addrs: []string{"a:6379", "b:2", "[::1]:3"}},
		"rediss+cluster://u:p%2F%40%3A@a":   {Addrs: []string{"a:6379"}, Secure: true},
		"redis://u:p@x@redis-0.svc.cluster": {Addrs: []string{"redis-0.svc.cluster:6379"}},
	} {
		var got reading
		switch c := dial(t, redisstore.Options{URL: url}).(type) {
		case *redis.Client:
			got = reading{Addrs: []string{c.Options().Addr}, DB: c.Options().DB, Secure: c.Options().TLSConfig != nil}
		case *redis.ClusterClient:
			got = reading{Addrs: c.Options().Addrs, Secure: c.Options().TLSConfig != nil}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", url, diff)
		}
	}
	user, password, err := dial(t, redisstore.Options{URL: "redis://u%40x:p%2F%40%3A@h"}).(*redis.Client).
		Options().CredentialsProviderContext(t.Context())
	if err != nil || user != "u@x" || password != "p/@:" {
		t.Errorf("credentials = %q, %q, %v", user, password, err)
	}
}

func TestNobodyListening(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"redis://u:hunter2@127.0.0.1:1", "redis+sentinel://u:hunter2@127.0.0.1:1/m", "redis+cluster://u:hunter2@127.0.0.1:1",
	} {
		s, err := redisstore.New(dial(t, redisstore.Options{URL: url}),
			redisstore.Config{Prefix: prefix, Realm: realm, Epoch: "epoch", Clock: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		results := everything(t.Context(), s, 1)
		if took := time.Since(begin) / time.Duration(len(results)); took > 1500*time.Millisecond {
			t.Errorf("%s: a call took %s", url, took)
		}
		unavailable(t, results)
		for name, err := range results {
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: the error holds the password: %v", name, err)
			}
		}
	}
}

func FuzzDial(f *testing.F) {
	for _, url := range []string{
		"redis://u:p@h:1/7", "rediss+sentinel://h1:26379,h2/m/0", "redis+cluster://[::1]:3,b", "redis://@", "redis://%", "redis+sentinel:///",
	} {
		f.Add(url)
	}
	f.Fuzz(func(t *testing.T, url string) {
		client, err := redisstore.Dial(redisstore.Options{URL: url})
		if err == nil {
			_ = client.Close()
			return
		}
		if rest := strings.SplitN(url, "://", 2); len(rest) == 2 && len(rest[1]) > 12 && strings.Contains(err.Error(), rest[1]) {
			t.Errorf("the error quotes the URL: %v", err)
		}
	})
}
