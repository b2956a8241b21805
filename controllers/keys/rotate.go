package keys

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/sallyport/sallyport/sidecar/seal"
)

const (
	// distribution is how long a new key waits at least: the nodes take up to a minute
	// to hand a changed Secret to a running pod.
	distribution = 2 * time.Minute
	// minLinger is the least that an old key stays: a secret that was shown and not
	// yet confirmed is sealed with it, for ten minutes.
	minLinger = 15 * time.Minute
)

// Phase is how far a rotation is.
type Phase string

// The phases of a rotation.
const (
	// Idle: one key, and nothing is asked for.
	Idle Phase = "Idle"
	// Distributing: the sidecars are getting to know a new key.
	Distributing Phase = "Distributing"
	// Promoting: the sidecars are changing over to the new primary key.
	Promoting Phase = "Promoting"
	// Resealing: what an older key sealed is moved or runs out.
	Resealing Phase = "Resealing"
)

// Sidecar is one running sidecar and the keys that it says it has.
type Sidecar struct {
	// Name is <namespace>/<pod>, for people.
	Name string
	// Primary and Known are from its last fresh heartbeat; 0 and none where there is
	// none, for whatever reason.
	Primary uint32
	Known   []uint32
}

// State is all that the next step depends on.
type State struct {
	Ring *Ring
	// Sidecars are all that run, heard of or not, of every namespace.
	Sidecars []Sidecar
	// Realms are all that hold enrolments or may, with the last count of what needs
	// which key; nil where there is none. One whose policy is gone is among them.
	Realms map[string]*seal.Use
	// Linger is the longest that a verified sign-in lasts, over all policies.
	Linger time.Duration
	Now    time.Time
}

// Progress is what people are told of the keys.
type Progress struct {
	Phase    Phase
	Primary  uint32
	Versions []Version
	// Waiting says in a sentence what the rotation waits for; "" for nothing.
	Waiting string
}

// Version is one key and what is known to need it.
type Version struct {
	ID           uint32
	Status       seal.Status
	Created      time.Time
	Seals, Codes int64
}

// Next takes a rotation one step on. It returns the ring to save, nil where nothing
// is to be done, and how far the rotation is after that. All state is in the ring, so
// that whoever goes on later, in another process, goes on here.
//
// A key is added; once every sidecar knows it, it is promoted; once every sidecar
// seals with it, sign-ins of before have run out, and a count that began after that
// finds nothing under the old key, the old key is destroyed. A caller who could not
// list all sidecars or all realms must not call it.
func Next(s State, random io.Reader) (*Ring, Progress, error) {
	r, err := survey(s)
	if err != nil {
		return nil, Progress{}, err
	}
	switch {
	case r.newest > r.primary:
		return r.promote()
	case s.Ring.Requested != "" && s.Ring.Requested != s.Ring.Served:
		return r.add(random)
	case len(r.older) > 0:
		return r.retire()
	case s.Ring.Settled != (Settled{}):
		next := r.next()
		next.Settled = Settled{}
		return next, r.progress(Idle, ""), nil
	}
	return nil, r.progress(Idle, ""), nil
}

// Stalled is how far a rotation is whose next step cannot be judged, and why.
func Stalled(ring *Ring, why string) (Progress, error) {
	r, err := survey(State{Ring: ring})
	if err != nil {
		return Progress{}, err
	}
	switch {
	case r.newest > r.primary, ring.Requested != "" && ring.Requested != ring.Served:
		return r.progress(Distributing, why), nil
	case len(r.older) > 0:
		return r.progress(Resealing, why), nil
	}
	return r.progress(Idle, why), nil
}

// rotation is a State with what its document says.
type rotation struct {
	State

	versions []seal.Version
	primary  uint32
	// newest is the highest usable id; older are the usable ids below the primary.
	newest uint32
	older  []uint32
	// created is when the newest was made.
	created time.Time
}

func survey(s State) (*rotation, error) {
	versions, err := seal.Versions(s.Ring.Document)
	if err != nil {
		return nil, fmt.Errorf("rotate the keys: %w", err)
	}
	r := &rotation{State: s, versions: versions}
	for _, v := range versions {
		if v.Status == seal.Retired {
			continue
		}
		if v.Status == seal.Primary {
			r.primary = v.ID
		}
		r.newest, r.created = v.ID, v.Created
	}
	for _, v := range versions {
		if v.Status == seal.Active && v.ID < r.primary {
			r.older = append(r.older, v.ID)
		}
	}
	return r, nil
}

// next is a copy of the ring to change.
func (r *rotation) next() *Ring {
	next := *r.Ring
	return &next
}

// changed is next with another document, and the progress as it then is.
func (r *rotation) changed(next *Ring, phase Phase, waiting string) (*Ring, Progress, error) {
	s := r.State
	s.Ring = next
	after, err := survey(s)
	if err != nil {
		return nil, Progress{}, err
	}
	return next, after.progress(phase, waiting), nil
}

func (r *rotation) add(random io.Reader) (*Ring, Progress, error) {
	next := r.next()
	var err error
	if next.Document, err = seal.Add(r.Ring.Document, random, r.Now); err != nil {
		return nil, Progress{}, fmt.Errorf("rotate the keys: %w", err)
	}
	next.Served = r.Ring.Requested
	return r.changed(next, Distributing, fmt.Sprintf("key %d is being delivered to the sidecars", r.newest+1))
}

func (r *rotation) promote() (*Ring, Progress, error) {
	if at := r.created.Add(distribution); r.Now.Before(at) {
		return nil, r.progress(Distributing, fmt.Sprintf(
			"key %d is being delivered to the sidecars until %s at least", r.newest, clock(at))), nil
	}
	lacking := r.sidecars(func(s Sidecar) bool { return !slices.Contains(s.Known, r.newest) })
	if len(lacking) > 0 {
		return nil, r.progress(Distributing, fmt.Sprintf(
			"%d of %d sidecars have not said that they know key %d: %s",
			len(lacking), len(r.Sidecars), r.newest, first(lacking))), nil
	}
	next := r.next()
	var err error
	if next.Document, err = seal.Promote(r.Ring.Document, r.newest); err != nil {
		return nil, Progress{}, fmt.Errorf("rotate the keys: %w", err)
	}
	next.Settled = Settled{}
	return r.changed(next, Promoting, fmt.Sprintf("the sidecars are changing over to key %d", r.newest))
}

// retire retires the oldest key, or says why not yet.
func (r *rotation) retire() (*Ring, Progress, error) {
	lacking := r.sidecars(func(s Sidecar) bool { return s.Primary != r.primary })
	contrary := r.sidecars(func(s Sidecar) bool { return s.Primary != r.primary && s.Primary != 0 })
	settled := r.Ring.Settled.Primary == r.primary
	switch {
	case len(contrary) > 0 && settled:
		// Something new may have been sealed with the old key: start again.
		next := r.next()
		next.Settled = Settled{}
		return next, r.progress(Promoting, r.changingOver(lacking)), nil
	case len(lacking) > 0:
		// One that is not heard of reaches no store, so that it seals nothing either.
		return nil, r.progress(Promoting, r.changingOver(lacking)), nil
	case !settled:
		next := r.next()
		next.Settled = Settled{Primary: r.primary, At: r.Now.UTC().Truncate(time.Second).Add(time.Second)}
		return r.changed(next, Resealing, r.unused(r.older[0], next.Settled.At))
	}
	id := r.older[0]
	if why := r.unused(id, r.Ring.Settled.At); why != "" {
		return nil, r.progress(Resealing, why), nil
	}
	next := r.next()
	var err error
	if next.Document, err = seal.Retire(r.Ring.Document, id); err != nil {
		return nil, Progress{}, fmt.Errorf("rotate the keys: %w", err)
	}
	phase := Idle
	if len(r.older) > 1 {
		phase = Resealing
	}
	return r.changed(next, phase, "")
}

func (r *rotation) changingOver(lacking []string) string {
	return fmt.Sprintf("%d of %d sidecars have not said that they seal with key %d: %s",
		len(lacking), len(r.Sidecars), r.primary, first(lacking))
}

// unused returns "" if nothing needs the key any more, else why that is not so. It
// names the realms that hold a rotation up for good before what only takes time.
func (r *rotation) unused(id uint32, settled time.Time) string {
	var seals, codes, unreadable int64
	var uncounted, outdated, damaged []string
	gone := settled.Add(max(r.Linger, minLinger))
	for _, realm := range slices.Sorted(maps.Keys(r.Realms)) {
		use := r.Realms[realm]
		if use == nil {
			uncounted = append(uncounted, realm)
			continue
		}
		if use.Primary != r.primary || use.AsOf.Before(gone) {
			outdated = append(outdated, realm)
		}
		if use.Unreadable > 0 {
			damaged = append(damaged, realm)
		}
		seals += use.Seals[id]
		codes += use.Codes[id]
		unreadable += use.Unreadable
	}
	switch {
	case len(uncounted) > 0:
		return fmt.Sprintf("nobody has counted what needs key %d in %s; that takes a running sidecar, "+
			"or the realm's enrolments to be purged", id, first(uncounted))
	case unreadable > 0:
		return fmt.Sprintf("%d unreadable enrolments may need key %d, in %s; reset their users", unreadable, id, first(damaged))
	case seals > 0:
		return fmt.Sprintf("%d sealed secrets still need key %d; the sidecars are moving them", seals, id)
	case codes > 0:
		return fmt.Sprintf("%d recovery code sets still need key %d; they go when their users make new codes", codes, id)
	case r.Now.Before(gone):
		return fmt.Sprintf("sign-ins that key %d verified run out by %s", id, clock(gone))
	case len(outdated) > 0:
		return fmt.Sprintf("what needs key %d is to be counted after %s, in %s; that takes a running sidecar",
			id, clock(gone), first(outdated))
	}
	return ""
}

// sidecars returns the names of those that match, sorted.
func (r *rotation) sidecars(match func(Sidecar) bool) []string {
	var names []string
	for _, s := range r.Sidecars {
		if match(s) {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return names
}

func (r *rotation) progress(phase Phase, waiting string) Progress {
	p := Progress{Phase: phase, Primary: r.primary, Waiting: waiting}
	for _, v := range r.versions {
		version := Version{ID: v.ID, Status: v.Status, Created: v.Created}
		for _, use := range r.Realms {
			if use != nil {
				version.Seals += use.Seals[v.ID]
				version.Codes += use.Codes[v.ID]
			}
		}
		p.Versions = append(p.Versions, version)
	}
	return p
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }
