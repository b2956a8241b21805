package policy

import "slices"

// manifestSpec is the spec of a manifest: the rules, and what only a cluster
// can act on.
type manifestSpec struct {
	Rules

	Selector *labelSelector `json:"selector"`
	Capture  string         `json:"capture"`
	Rollout  string         `json:"rollout"`
	Sidecar  sidecarSpec    `json:"sidecar"`
	Redis    *redisSpec     `json:"redis"`
}

type labelSelector struct {
	MatchLabels      map[string]string  `json:"matchLabels"`
	MatchExpressions []labelRequirement `json:"matchExpressions"`
}

type labelRequirement struct {
	Key      string   `json:"key"`
	Operator string   `json:"operator"`
	Values   []string `json:"values"`
}

type sidecarSpec struct {
	Resources resources `json:"resources"`
	LogLevel  string    `json:"logLevel"`
}

type redisSpec struct {
	SecretRef localSecret `json:"secretRef"`
}

type localSecret struct {
	Name string `json:"name"`
}

type resources struct {
	Limits   map[string]any `json:"limits"`
	Requests map[string]any `json:"requests"`
	Claims   []any          `json:"claims"`
}

// checkCluster holds the cluster's fields to their shape: a manifest that the
// sidecar takes without a cluster should be one that a cluster takes too.
func (s *manifestSpec) checkCluster(f *Faults) {
	fill(&s.Capture, "Auto")
	fill(&s.Rollout, "Manual")
	fill(&s.Sidecar.LogLevel, "info")
	checkEnum(f, "spec.capture", s.Capture, "Auto", "Redirect", "Port")
	checkEnum(f, "spec.rollout", s.Rollout, "Manual", "Automatic")
	checkEnum(f, "spec.sidecar.logLevel", s.Sidecar.LogLevel, "debug", "info", "warn", "error")
	s.Selector.check(f)
	if s.Redis != nil && !dnsSubdomain(s.Redis.SecretRef.Name) {
		f.add("spec.redis.secretRef.name", "%s is not the name of a Secret; write one of the policy's own namespace",
			quote(s.Redis.SecretRef.Name))
	}
}

func (s *labelSelector) check(f *Faults) {
	const path = "spec.selector"
	if s == nil {
		f.add(path, "is required; write the labels of the app's pods, such as matchLabels: {app: portal}, "+
			"or {} for every pod of the namespace")
		return
	}
	for i, e := range s.MatchExpressions {
		at := element(path+".matchExpressions", i)
		if e.Key == "" {
			f.add(at+".key", "is required; write the name of a label")
		}
		checkEnum(f, at+".operator", e.Operator, "In", "NotIn", "Exists", "DoesNotExist")
		needsValues := slices.Contains([]string{"In", "NotIn"}, e.Operator)
		switch {
		case needsValues && len(e.Values) == 0:
			f.add(at+".values", "is required where the operator is %s; list at least one value", e.Operator)
		case !needsValues && len(e.Values) > 0:
			f.add(at+".values", "means nothing where the operator is %s; remove it", quote(e.Operator))
		}
	}
}
