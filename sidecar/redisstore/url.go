package redisstore

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// kind is how servers are found.
type kind uint8

const (
	single kind = iota
	sentinel
	cluster
)

// target is what a URL says.
type target struct {
	kind               kind
	tls                bool
	hosts              []string
	username, password string
	master             string
	db                 int
}

// parseURL reads a URL as Options.URL describes it. Package net/url takes no list
// of hosts, and its errors quote the URL with the password in it.
func parseURL(raw string) (*target, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return nil, errors.New("it has no scheme")
	}
	var t target
	if err := t.setScheme(scheme); err != nil {
		return nil, err
	}
	if strings.ContainsAny(rest, "?#") {
		return nil, errors.New("it has a query or a fragment; escape ? and # in a password as %3F and %23")
	}
	authority, path, _ := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		if err := t.setUser(authority[:at]); err != nil {
			return nil, err
		}
		authority = authority[at+1:]
	}
	if err := t.setHosts(authority); err != nil {
		return nil, err
	}
	return &t, t.setPath(path)
}

func (t *target) setScheme(scheme string) error {
	protocol, how, _ := strings.Cut(scheme, "+")
	switch protocol {
	case "redis":
	case "rediss":
		t.tls = true
	default:
		return errors.New("its scheme is neither redis nor rediss")
	}
	switch how {
	case "":
		if strings.HasSuffix(scheme, "+") {
			return errors.New("its scheme ends in +")
		}
	case "sentinel":
		t.kind = sentinel
	case "cluster":
		t.kind = cluster
	default:
		return errors.New("its scheme ends neither in +sentinel nor in +cluster")
	}
	return nil
}

func (t *target) setUser(info string) error {
	username, password, _ := strings.Cut(info, ":")
	var err error
	if t.username, err = url.PathUnescape(username); err != nil {
		return errors.New("its user name is wrongly escaped")
	}
	if t.password, err = url.PathUnescape(password); err != nil {
		return errors.New("its password is wrongly escaped")
	}
	return nil
}

func (t *target) setHosts(list string) error {
	port := "6379"
	if t.kind == sentinel {
		port = "26379"
	}
	for i, host := range strings.Split(list, ",") {
		addr, err := withPort(host, port)
		if err != nil {
			return fmt.Errorf("its host number %d %w", i+1, err)
		}
		t.hosts = append(t.hosts, addr)
	}
	if t.kind == single && len(t.hosts) > 1 {
		return errors.New("it names several hosts: say +sentinel or +cluster in its scheme")
	}
	return nil
}

func withPort(host, port string) (string, error) {
	switch {
	case host == "":
		return "", errors.New("is empty")
	case strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]"):
		host = host[1 : len(host)-1]
	case strings.Contains(host, ":"):
		var err error
		if host, port, err = net.SplitHostPort(host); err != nil {
			return "", errors.New("is no host:port")
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" {
		return "", errors.New("is no host:port")
	}
	if strings.ContainsFunc(host, func(r rune) bool { return !alphanumeric(r) && !strings.ContainsRune("-._:%", r) }) {
		return "", errors.New("has characters that hosts do not have")
	}
	return net.JoinHostPort(host, port), nil
}

func (t *target) setPath(path string) error {
	db := path
	if t.kind == sentinel {
		t.master, db, _ = strings.Cut(path, "/")
		if t.master == "" {
			return errors.New("it does not name the primary: /<name> after the hosts")
		}
	}
	if db == "" {
		return nil
	}
	n, err := strconv.ParseUint(db, 10, 16)
	if err != nil {
		return errors.New("its path ends in no database number")
	}
	if t.kind == cluster && n != 0 {
		return errors.New("a cluster has database 0 alone")
	}
	t.db = int(n)
	return nil
}
