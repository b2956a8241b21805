package mfa

import (
	"context"
	"errors"
)

// EventName names a security event; docs/audit-events.md documents each.
type EventName string

// The security events of the domain.
const (
	EventEnrolStarted EventName = "enrol.start"
	EventEnrolFailed  EventName = "enrol.fail"
	EventEnrolled     EventName = "enrol.confirm"
	EventVerified     EventName = "verify.ok"
	EventVerifyFailed EventName = "verify.fail"
	EventRecoveryUsed EventName = "recovery.used"
	EventRegenerated  EventName = "recovery.regenerate"
	EventDisabled     EventName = "disable"
	EventResealed     EventName = "key.reseal"
)

// Result says why an attempt failed, from a closed set.
type Result string

// The results of a failed attempt.
const (
	ResultWrong    Result = "wrong"
	ResultReplayed Result = "replayed"
	ResultSpent    Result = "spent"
	ResultLocked   Result = "locked"
	ResultOff      Result = "factor_off"
	ResultStale    Result = "stale"
	ResultError    Result = "error"
)

// Event is one security event. It holds no secret and no name of a person.
type Event struct {
	Name EventName
	// User is the user's key.
	User string
	// Factor that the event is about, "" where there is none.
	Factor Factor
	// Result of a failed attempt.
	Result Result
}

// Recorder takes security events. It must not block and must not fail.
type Recorder interface {
	Record(ctx context.Context, e Event)
}

func resultOf(err error) Result {
	var locked *LockedError
	switch {
	case errors.Is(err, ErrReplayed):
		return ResultReplayed
	case errors.Is(err, ErrSpent):
		return ResultSpent
	case errors.Is(err, ErrWrongCode), errors.Is(err, ErrWrongPassword):
		return ResultWrong
	case errors.As(err, &locked):
		return ResultLocked
	case errors.Is(err, ErrFactorDisabled):
		return ResultOff
	case errors.Is(err, ErrStale):
		return ResultStale
	default:
		return ResultError
	}
}
