package mfa

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Errors of the domain. Callers map them to what a person sees; nothing else
// about a failed attempt is told apart.
var (
	// ErrNotEnrolled means that the store is sound and holds no enrolment.
	ErrNotEnrolled = errors.New("two-factor is not enabled for this user")
	// ErrAlreadyEnabled means that an enrolment exists and was left as it was.
	ErrAlreadyEnabled = errors.New("two-factor is already enabled for this user")
	// ErrNoPending means that no pending enrolment of this user and sign-in exists.
	ErrNoPending = errors.New("no pending enrolment")
	// ErrTicket means that the policy asks for an enrolment ticket, and this user has
	// none, another one, or one that has expired or was used.
	ErrTicket = errors.New("the enrolment ticket is not valid")
	// ErrWrongCode means that a code did not match, was used before, or was stale.
	ErrWrongCode = errors.New("the code did not match")
	// ErrReplayed means that the time step was accepted before. Shown as ErrWrongCode.
	ErrReplayed = errors.New("the time step was already used")
	// ErrSpent means that the recovery code was used before. Shown as ErrWrongCode.
	ErrSpent = errors.New("the recovery code was already used")
	// ErrStale means that the record changed between Begin and the commit; the
	// attempt counts and nothing else happened.
	ErrStale = errors.New("the record changed meanwhile")
	// ErrClock means that this machine's clock cannot be relied upon, so that no code
	// was judged and no attempt counted.
	ErrClock = errors.New("the clock cannot be relied upon")
	// ErrFactorDisabled means that too many consecutive failures switched the
	// factor off until a recovery code or an administrator restores it.
	ErrFactorDisabled = errors.New("the factor is switched off after too many failures")
	// ErrStoreLost means that the store is not the one that held the enrolments:
	// its epoch is missing or different. Nobody may be taken for unenrolled.
	ErrStoreLost = errors.New("the store lost its epoch")
)

// LockedError means that the factor accepts no attempt for now.
type LockedError struct{ RetryAfter time.Duration }

func (e *LockedError) Error() string {
	return fmt.Sprintf("too many failures; retry after %s", e.RetryAfter)
}

// Factor names what an attempt is counted against. Each has its own counter.
type Factor string

// The factors with a counter of their own.
const (
	FactorTOTP     Factor = "totp"
	FactorRecovery Factor = "recovery"
	FactorPassword Factor = "password"
)

// Limits bound the attempts at one factor of one user, over all sidecars and
// sign-ins. The zero value of a field switches that bound off.
type Limits struct {
	// Free is how many consecutive failures carry no wait.
	Free int
	// Backoff is the wait after the failure number Free, Free+1, …; the last
	// one repeats. Millisecond precision.
	Backoff []time.Duration
	// HardCap is the number of consecutive failures that disables the factor.
	HardCap int
	// RollingCap is the number of failures within the last 30 days, successes
	// notwithstanding, that disables the factor.
	RollingCap int
}

// Record is a confirmed enrolment as it is stored.
type Record struct {
	// Generation is a random id that changes with every enrolment and every
	// regeneration; verified sign-ins of another generation are void.
	Generation string
	// Seed is the sealed TOTP secret.
	Seed []byte
	// ConfirmedAt is when the enrolment was confirmed, to the second.
	ConfirmedAt time.Time
	// LastStep is the last accepted TOTP time step; no step up to it is accepted.
	LastStep int64
	// Codes are the unspent recovery codes.
	Codes Codes
}

// Codes are the digests of a set of recovery codes.
type Codes struct {
	// KeyID is the key ring version that peppers the set.
	KeyID uint32
	// Salt of the set, 16 bytes.
	Salt []byte
	// Digests by position in the set, 16 bytes each; spent ones are absent.
	Digests map[int][]byte
}

// Snapshot is what one decision needs, read in one step.
type Snapshot struct {
	// Record is nil where the user is not enrolled AND the store is sound.
	Record *Record
	// SignIn is the stored verified sign-in, nil where there is none.
	SignIn []byte
}

// Grant is a verified sign-in to be stored in the same atomic step as the
// change that earned it. The zero Grant stores nothing.
type Grant struct {
	// Key names the sign-in; it is a keyed hash of the token.
	Key string
	// Value is the authenticated record.
	Value []byte
	// TTL after which the store forgets it.
	TTL time.Duration
	// Replaces names the sign-in that this one succeeds, deleted in the same step.
	Replaces string
}

// Store keeps the state that all sidecars share. Every method is one atomic
// step. Users and sign-ins are named by keyed hashes, never in clear. A method
// that cannot reach the store, or finds it lost, returns an error and never a
// "not enrolled".
type Store interface {
	// Load reads the user's record and the sign-in named signIn ("" for none).
	// A missing record is only reported on a store whose epoch is intact.
	Load(ctx context.Context, user, signIn string) (Snapshot, error)

	// SavePending stores a sealed pending secret for one browser session of the
	// user, replacing one that is there. ErrAlreadyEnabled if enrolled.
	SavePending(ctx context.Context, user, browser string, sealed []byte, ttl time.Duration) error
	// LoadPending reads it. ErrNoPending if there is none.
	LoadPending(ctx context.Context, user, browser string) ([]byte, error)
	// DropPending forgets it; forgetting nothing is no error.
	DropPending(ctx context.Context, user, browser string) error
	// SaveTicket keeps an enrolment ticket of the user, in place of one that is there.
	SaveTicket(ctx context.Context, user string, ticket []byte, ttl time.Duration) error
	// Ticket reads it. ErrTicket if there is none.
	Ticket(ctx context.Context, user string) ([]byte, error)
	// Enrol stores the record if the user is not enrolled and the pending secret
	// is still the given one, and drops it. A ticket that is not nil must still be
	// the user's, and is spent in the same step. ErrAlreadyEnabled, ErrNoPending,
	// ErrTicket.
	Enrol(ctx context.Context, user, browser string, pending, ticket []byte, record Record, grant Grant) error

	// Begin reserves one attempt at a factor before anything is judged, and
	// returns the record to judge it by. *LockedError, ErrFactorDisabled,
	// ErrNotEnrolled. A rejected attempt is not counted.
	Begin(ctx context.Context, user string, factor Factor, limits Limits) (Record, error)
	// Refund takes back a reserved attempt that could not be judged.
	Refund(ctx context.Context, user string, factor Factor) error

	// CommitTOTP accepts a time step later than every accepted one, clears the
	// factor's consecutive failures, refunds the attempt, and stores the grant.
	// ErrStale if the generation is not the given one, ErrReplayed.
	CommitTOTP(ctx context.Context, user, generation string, step int64, grant Grant) error
	// SpendCode spends the recovery code at index, clears the consecutive
	// failures of recovery AND of TOTP (a disabled TOTP factor works again),
	// refunds the attempt, stores the grant, and returns how many codes are
	// left. ErrStale, ErrSpent.
	SpendCode(ctx context.Context, user, generation string, index int, grant Grant) (left int, err error)
	// ReplaceCodes puts a new set and a new generation in place of the old ones
	// and stores the grant. ErrStale.
	ReplaceCodes(ctx context.Context, user, generation, next string, codes Codes, grant Grant) error
	// Reseal replaces the sealed seed by one of a newer key. ErrStale.
	Reseal(ctx context.Context, user, generation string, old, sealed []byte) error
	// Delete ends the enrolment of that generation and clears the password
	// gate's failures. Failure counters of the other factors stay. ErrStale.
	Delete(ctx context.Context, user, generation string) error
	// Reset ends any enrolment of the user and clears every counter.
	Reset(ctx context.Context, user string) error

	// UpdateSignIn replaces a verified sign-in that exists; one that does not
	// stays absent, without an error.
	UpdateSignIn(ctx context.Context, user, key string, value []byte, ttl time.Duration) error
	// EndSignIn deletes a verified sign-in; deleting nothing is no error.
	EndSignIn(ctx context.Context, user, key string) error
}
