package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/control"
	"github.com/sallyport/sallyport/sidecar/policyfile"
	"github.com/sallyport/sallyport/sidecar/seal"
)

// Follow says which policy a controller publishes for this sidecar, and who the
// sidecar says it is.
type Follow struct {
	Namespace, Policy string
	Pod, PodUID       string
}

// decree is a policy to put in force.
type decree struct {
	namespace, name string
	generation      int64
	rules           policy.Rules
	// managed policies tell the epoch of their store; "" is none that is known. For
	// others the sidecar remembers it itself.
	managed bool
	epoch   string
}

func (p *decree) realm() string { return p.namespace + "/" + p.rules.Workspace }

// source tells which policy is to be obeyed.
type source interface {
	// first returns the policy to begin with, nil where there is none yet.
	first() (*decree, error)
	// run calls adopt with each further policy until the context ends. It calls
	// report with why the last one that was read is not in force, if it is not.
	run(ctx context.Context, adopt func(context.Context, *decree) error, report func(context.Context, error))
	// refusal is what to say of a policy that was read and is not obeyed.
	refusal() string
}

func (s *Server) newSource() (source, error) {
	switch {
	case (s.Follow == nil) == (s.PolicyFile == ""):
		return nil, errors.New("take the policy from a file or from a controller, one of the two")
	case s.Follow == nil:
		return &fileSource{policyfile.NewWatcher(s.PolicyFile, s.Log)}, nil
	case s.EpochFile != "":
		return nil, errors.New("an epoch file has no use where a controller tells the epoch")
	}
	ring, err := seal.Parse(s.keys, s.Follow.Namespace)
	if err != nil {
		return nil, fmt.Errorf("read the key ring: %w", err)
	}
	return newChannelSource(s, ring)
}

// fileSource follows a policy file.
type fileSource struct{ watcher *policyfile.Watcher }

func (f *fileSource) first() (*decree, error) {
	m, err := f.watcher.Load()
	if err != nil {
		return nil, err
	}
	return ofManifest(m), nil
}

func (f *fileSource) run(
	ctx context.Context, adopt func(context.Context, *decree) error, report func(context.Context, error),
) {
	f.watcher.Run(ctx, func(m *policy.Manifest, err error) {
		if err == nil {
			err = adopt(ctx, ofManifest(m))
		}
		if err != nil {
			report(ctx, err)
		}
	})
}

func (*fileSource) refusal() string { return "the last edit was refused" }

func ofManifest(m *policy.Manifest) *decree {
	return &decree{namespace: m.Namespace, name: m.Name, generation: m.Generation, rules: m.Rules}
}

// channelSource follows what a controller publishes.
type channelSource struct {
	channel  *control.Channel
	follower *control.Follower
	// handlers of the run that goes on.
	adopt  func(context.Context, *decree) error
	report func(context.Context, error)
}

func newChannelSource(s *Server, ring *seal.Ring) (*channelSource, error) {
	c := &channelSource{channel: control.New(control.Config{
		Client: s.Redis, Prefix: s.KeyPrefix, Namespace: s.Follow.Namespace, Ring: ring, Clock: s.Clock,
	})}
	var err error
	c.follower, err = control.NewFollower(control.FollowerConfig{
		Channel: c.channel, Policy: s.Follow.Policy, Pod: s.Follow.Pod, PodUID: s.Follow.PodUID, Version: s.Version,
		Adopt: func(ctx context.Context, r *policy.Record) error {
			return c.adopt(ctx, &decree{
				namespace: s.Follow.Namespace, name: r.Policy, generation: r.Generation, rules: r.Rules,
				managed: true, epoch: r.Epoch,
			})
		},
		Report: func(ctx context.Context, err error) { c.report(ctx, err) },
		Fault:  s.keysAtFault,
	})
	return c, err
}

// first returns none: a sidecar whose policy is not to be had yet starts, is not
// ready, and lets nothing through.
func (*channelSource) first() (*decree, error) { return nil, nil }

func (c *channelSource) run(
	ctx context.Context, adopt func(context.Context, *decree) error, report func(context.Context, error),
) {
	c.adopt, c.report = adopt, report
	c.follower.Run(ctx)
}

func (*channelSource) refusal() string { return "it is not what is published" }
