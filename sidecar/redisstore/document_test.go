package redisstore_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/sidecar/redisstore"
	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
)

// documented says in a document what the options of secured say in files.
func documented(t *testing.T) (node *redistest.Secured, doc redisstore.Document) {
	t.Helper()
	node, good := secured(t)
	content := func(path string) string {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	return node, redisstore.Document{
		URL: good.URL, Username: "door", Password: "first-secret",
		CA: content(good.CAFile), Cert: content(good.CertFile), Key: content(good.KeyFile),
	}
}

func encoded(t *testing.T, doc redisstore.Document) string {
	t.Helper()
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestDialWithADocument(t *testing.T) {
	t.Parallel()
	node, doc := documented(t)
	path := file(t, "redis.json", encoded(t, doc))
	client := dial(t, redisstore.Options{Document: redisstore.DocumentFile(path)})
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}

	// The password changes at the server and in the file: the next connection knows.
	good := redisstore.Options{
		URL: doc.URL, UsernameFile: file(t, "username", "admin"), PasswordFile: file(t, "password", "admin-secret"),
		CAFile: node.CAFile, CertFile: node.CertFile, KeyFile: node.KeyFile,
	}
	admin := dial(t, good)
	if err := admin.Do(t.Context(), "ACL", "SETUSER", "door", "resetpass", ">second-secret").Err(); err != nil {
		t.Fatal(err)
	}
	doc.Password = "second-secret"
	if err := os.WriteFile(path, []byte(encoded(t, doc)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := admin.Do(t.Context(), "CLIENT", "KILL", "USER", "door").Err(); err != nil {
		t.Fatal(err)
	}
	await(t, "a connection with the new password", func() bool { return client.Ping(t.Context()).Err() == nil })
	if _, err := dial(t, redisstore.Options{Document: redisstore.DocumentFile(path)}).Ping(t.Context()).Result(); err != nil {
		t.Errorf("a client made now: %v", err)
	}
}

func TestDocumentIsRefused(t *testing.T) {
	t.Parallel()
	_, good := documented(t)
	with := func(change func(*redisstore.Document)) string {
		doc := good
		change(&doc)
		return encoded(t, doc)
	}
	for name, doc := range map[string]string{
		"nothing":                     "",
		"half a document":             encoded(t, good)[:60],
		"something behind":            encoded(t, good) + "{}",
		"an unknown field":            `{"url":"redis://x","pasword":"first-secret"}`,
		"a number":                    `{"url":"redis://x","password":17}`,
		"no URL":                      with(func(d *redisstore.Document) { d.URL = "" }),
		"a URL that is none":          with(func(d *redisstore.Document) { d.URL = "http://first-secret@x" }),
		"credentials in the URL, too": with(func(d *redisstore.Document) { d.URL = "rediss://door:first-secret@x" }),
		"authorities that are none":   with(func(d *redisstore.Document) { d.CA = "none" }),
		"a certificate without a key": with(func(d *redisstore.Document) { d.Key = "" }),
		"TLS settings without TLS":    with(func(d *redisstore.Document) { d.URL = "redis://x" }),
		"too much":                    with(func(d *redisstore.Document) { d.CA = strings.Repeat("x", 1<<20) }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := file(t, "redis.json", doc)
			client, err := redisstore.Dial(redisstore.Options{Document: redisstore.DocumentFile(path)})
			if err == nil {
				_ = client.Close()
				t.Fatal("it was taken")
			}
			for _, secret := range []string{"first-secret", "PRIVATE KEY"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error quotes a secret: %v", err)
				}
			}
		})
	}
}

func TestDocumentAndFlagsExcludeEachOther(t *testing.T) {
	t.Parallel()
	doc := func() (*redisstore.Document, error) { return &redisstore.Document{URL: "redis://x"}, nil }
	for name, o := range map[string]redisstore.Options{
		"a URL":            {Document: doc, URL: "redis://y"},
		"a user name":      {Document: doc, UsernameFile: "x"},
		"a password":       {Document: doc, PasswordFile: "x"},
		"an authority":     {Document: doc, CAFile: "x"},
		"a server name":    {Document: doc, ServerName: "x"},
		"Sentinel secrets": {Document: doc, SentinelPasswordFile: "x"},
	} {
		if _, err := redisstore.Dial(o); err == nil {
			t.Errorf("%s beside the document was taken", name)
		}
	}
}

func TestDocumentNeverPrintsItsSecrets(t *testing.T) {
	t.Parallel()
	doc := redisstore.Document{URL: "redis://:secret@x", Password: "secret", Key: "secret"}
	if text := fmt.Sprintf("%v %+v %#v %s %v", doc, doc, doc, doc, &doc); strings.Contains(text, "secret") {
		t.Errorf("printed %s", text)
	}
}

func FuzzParseDocument(f *testing.F) {
	f.Add([]byte(`{"url":"rediss://redis:6379","username":"u","password":"p","ca":"c"}`))
	f.Add([]byte(`{"url":17}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := redisstore.ParseDocument(data)
		if (err == nil) != (doc != nil) || doc != nil && doc.URL == "" {
			t.Errorf("ParseDocument = %v, %v", doc, err)
		}
	})
}
