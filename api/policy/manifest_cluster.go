package policy

import (
	"maps"
	"slices"
	"strings"
)

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
	s.Sidecar.Resources.check(f)
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
	for _, key := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		at := child(path+".matchLabels", key)
		if !labelName(key) {
			f.add(at, "is not the name of a label; write letters, digits, \"-\", \"_\" and \".\", such as app")
		}
		checkLabelValue(f, at, s.MatchLabels[key])
	}
	for i, e := range s.MatchExpressions {
		at := element(path+".matchExpressions", i)
		switch {
		case e.Key == "":
			f.add(at+".key", "is required; write the name of a label")
		case !labelName(e.Key):
			f.add(at+".key", "%s is not the name of a label; write letters, digits, \"-\", \"_\" and \".\", such as app", quote(e.Key))
		}
		for j, value := range e.Values {
			checkLabelValue(f, element(at+".values", j), value)
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

func checkLabelValue(f *Faults, path, value string) {
	if value != "" && !labelText(value) {
		f.add(path, "%s is not the value of a label; write at most 63 letters, digits, \"-\", \"_\" and \".\", "+
			"with a letter or digit at both ends", quote(value))
	}
}

// labelName says whether s can be the name of a label: at most 63 characters,
// behind the name of a domain and a "/" where there is one.
func labelName(s string) bool {
	if domain, name, ok := strings.Cut(s, "/"); ok {
		return dnsSubdomain(domain) && labelText(name)
	}
	return labelText(s)
}

// labelText says whether s can stand in a label.
func labelText(s string) bool {
	alphanumeric := func(c byte) bool { return lowerAlphanumeric(rune(c)) || c >= 'A' && c <= 'Z' }
	if s == "" || len(s) > 63 || !alphanumeric(s[0]) || !alphanumeric(s[len(s)-1]) {
		return false
	}
	return !strings.ContainsFunc(s, func(c rune) bool {
		return !lowerAlphanumeric(c) && (c < 'A' || c > 'Z') && !strings.ContainsRune("-_.", c)
	})
}

// check wants only what the sidecar uses. Whether a request stays below its
// limit is for the cluster to say, which can compare quantities.
func (r *resources) check(f *Faults) {
	const path = "spec.sidecar.resources"
	for _, list := range []struct {
		path  string
		names map[string]any
	}{{path + ".limits", r.Limits}, {path + ".requests", r.Requests}} {
		for _, name := range slices.Sorted(maps.Keys(list.names)) {
			if !slices.Contains([]string{"cpu", "memory", "ephemeral-storage"}, name) {
				f.add(child(list.path, name), "is not a resource that the sidecar uses; write cpu, memory or ephemeral-storage")
			}
		}
	}
	if len(r.Claims) > 0 {
		f.add(path+".claims", "the sidecar uses no devices; remove it")
	}
}
