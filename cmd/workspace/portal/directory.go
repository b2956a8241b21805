package portal

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/argon2"
)

// Parameters of argon2id: the smallest set that OWASP's guidance accepts, so
// that a demo starts at once.
const (
	argonMemoryKiB = 19 * 1024
	argonPasses    = 2
	argonLanes     = 1
	hashSize       = 32
	saltSize       = 16
)

// hashesAtOnce bounds the memory that a burst of sign-ins can claim.
const hashesAtOnce = 4

// errBadCredentials says that user name and password do not belong together,
// and not which of the two is wrong.
var errBadCredentials = errors.New("user name and password do not match")

// account is a user with a hash where the password was.
type account struct {
	User
	salt, hash []byte
}

// directory knows everybody's password hash.
type directory struct {
	accounts []*account
	// byName has every account twice: by user name and by e-mail address.
	byName map[string]*account
	// decoy is hashed against where there is no such user, so that the time an
	// answer takes does not tell who exists.
	decoy *account
	gate  chan struct{}
}

func newDirectory(users []User, random io.Reader) (*directory, error) {
	if len(users) == 0 {
		return nil, errors.New("there is nobody who could sign in")
	}
	d := &directory{
		byName: make(map[string]*account, 2*len(users)),
		decoy:  &account{hash: make([]byte, hashSize)},
		gate:   make(chan struct{}, hashesAtOnce),
	}
	var err error
	if d.decoy.salt, err = newSalt(random); err != nil {
		return nil, err
	}
	for _, u := range users {
		if err := d.add(u, random); err != nil {
			return nil, fmt.Errorf("add user %q: %w", u.Username, err)
		}
	}
	var hashing sync.WaitGroup
	for _, a := range d.accounts {
		hashing.Go(func() {
			d.gate <- struct{}{}
			defer func() { <-d.gate }()
			a.hash = hashPassword(a.Password, a.salt)
			a.Password = ""
		})
	}
	hashing.Wait()
	return d, nil
}

func (d *directory) add(u User, random io.Reader) error {
	if u.ID == "" || u.Username == "" || u.Email == "" || u.Name == "" || u.Password == "" {
		return errors.New("id, user name, e-mail, name and password must be set")
	}
	if slices.ContainsFunc(d.accounts, func(a *account) bool { return a.ID == u.ID }) {
		return fmt.Errorf("id %q is taken", u.ID)
	}
	salt, err := newSalt(random)
	if err != nil {
		return err
	}
	u.Roles = slices.Clone(u.Roles)
	a := &account{User: u, salt: salt}
	for _, name := range []string{normalName(u.Username), normalName(u.Email)} {
		if other, taken := d.byName[name]; taken && other != a {
			return fmt.Errorf("name %q is taken", name)
		}
		d.byName[name] = a
	}
	d.accounts = append(d.accounts, a)
	return nil
}

// check returns the account that name and password belong to, or
// errBadCredentials. Any other error says that it could not be found out.
func (d *directory) check(ctx context.Context, name, password string) (*account, error) {
	select {
	case d.gate <- struct{}{}:
		defer func() { <-d.gate }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a free password check: %w", context.Cause(ctx))
	}
	a, known := d.byName[normalName(name)]
	if !known {
		a = d.decoy
	}
	right := subtle.ConstantTimeCompare(hashPassword(password, a.salt), a.hash) == 1
	if !known || !right {
		return nil, errBadCredentials
	}
	return a, nil
}

// byID returns the account with that id, if there is one.
func (d *directory) byID(id string) (*account, bool) {
	i := slices.IndexFunc(d.accounts, func(a *account) bool { return a.ID == id })
	if i < 0 {
		return nil, false
	}
	return d.accounts[i], true
}

// people lists the users in the order they were configured.
func (d *directory) people() []User {
	people := make([]User, 0, len(d.accounts))
	for _, a := range d.accounts {
		people = append(people, a.User)
	}
	return people
}

func normalName(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

func newSalt(random io.Reader) ([]byte, error) {
	salt := make([]byte, saltSize)
	if _, err := io.ReadFull(random, salt); err != nil {
		return nil, fmt.Errorf("read a salt: %w", err)
	}
	return salt, nil
}

func hashPassword(password string, salt []byte) []byte {
	return argon2.IDKey([]byte(password), salt, argonPasses, argonMemoryKiB, argonLanes, hashSize)
}
