package v1alpha1_test

import (
	"strings"
)

func exemptCases() []ruleCase {
	const ownPath = "one of the paths belongs to the two-factor pages (app.twoFactorPath), which cannot be exempt; remove this exemption"
	const ownPrefix = "one of the prefixes covers two-factor pages (app.twoFactorPath), which cannot be exempt; write a narrower prefix"
	return []ruleCase{
		{name: "exemptions", patches: set(`exempt: [{path: /healthz}, {prefix: /static/, methods: [GET, HEAD], passCredentials: true}]`)},
		{name: "an exemption of nothing", patches: set(`exempt: [{methods: [GET]}]`), want: refused(
			"spec.exempt[0]|exempts nothing; write path for one path, or prefix for all paths below one")},
		{name: "a path and a prefix", patches: set(`exempt: [{path: /a, prefix: /a/}]`), want: refused(
			"spec.exempt[0]|has path and prefix; write one of them, or two entries")},
		{name: "an exempt path that is not canonical", patches: set(`exempt: [{path: /a/../b}]`), want: refused("spec.exempt[0].path|" + notCanonical)},
		{name: "an exemption of everything", patches: set(`exempt: [{prefix: /}]`), want: refused(
			`spec.exempt[0].prefix|would exempt everything; write the prefixes that need no second factor, such as "/static/"`)},
		{name: "a prefix that ends in the middle", patches: set(`exempt: [{prefix: /static}]`), want: refused(
			`spec.exempt[0].prefix|does not end in "/"; add it, or write path for this one path`)},
		{name: "an exemption of our pages", patches: set(`exempt: [{path: /my/profile/two-factor}]`), want: refused("spec.exempt|" + ownPath)},
		{name: "an exemption below our pages", patches: set(`app: {twoFactorPath: /2fa}`, `exempt: [{path: /2fa/verify}]`), want: refused(
			"spec.exempt|" + ownPath)},
		{name: "a prefix over our pages", patches: set(`exempt: [{prefix: /a/}, {prefix: /my/}]`), want: refused("spec.exempt|" + ownPrefix)},
		{name: "a prefix of our pages", patches: set(`exempt: [{prefix: /my/profile/two-factor/}]`), want: refused("spec.exempt|" + ownPrefix)},
		{name: "a prefix below our pages", patches: set(`exempt: [{prefix: /my/profile/two-factor/assets/}]`), want: refused("spec.exempt|" + ownPrefix)},
		{name: "a neighbour of our pages", patches: set(`exempt: [{prefix: /my/profile/two-factors/}, {path: /my/profile}]`)},
		{name: "a method in lower case", patches: set(`exempt: [{path: /a, methods: [get]}]`), want: refused(
			"spec.exempt[0].methods[0]|is not an HTTP method; write it in upper case, such as GET")},
		{name: "a method twice", patches: set(`exempt: [{path: /a, methods: [GET, GET]}]`), want: refused(
			`spec.exempt[0].methods[1]|Duplicate value: "GET"`)},
		{name: "an exemption of tokens", patches: set(`exempt: [{prefix: /api/, authorization: [token, Bearer]}]`)},
		{name: "an exemption of a scheme that is none", patches: set(`exempt: [{path: /a, authorization: ["Bearer x"]}]`), want: refused(
			`spec.exempt[0].authorization[0]|is not a scheme of the Authorization header; write one such as "Bearer"`)},
		{name: "an exemption of a scheme twice", patches: set(`exempt: [{path: /a, authorization: [a, a]}]`), want: refused(
			`spec.exempt[0].authorization[1]|Duplicate value: "a"`)},
		{name: "an exemption of tokens and cookies", patches: set(`exempt: [{path: /a, authorization: [a], passCredentials: true}]`), want: refused(
			"spec.exempt[0].authorization|would pass cookies beside the token; remove passCredentials")},
		{name: "too many exemptions", patches: set(`exempt: [` + strings.Repeat("{path: /a},", 128) + `{path: /a}]`), want: refused(
			"spec.exempt|must have at most 128 items")},
		{name: "as many exemptions as there may be, of the greatest length", patches: set(`exempt: [` +
			strings.Repeat("{path: /"+strings.Repeat("a", 1023)+"},", 128) + `]`)},
	}
}

func sessionCases() []ruleCase {
	const at = "spec.session."
	const maxAge = at + `maxAge|is out of bounds or no duration; write from 1m to 720h, such as "24h"`
	const idle = at + `idle|is out of bounds or no duration; write "0s" for never, or from 1m to maxAge (24h where maxAge is not written)`
	const fresh = at + `freshness|is out of bounds or no duration; write from 1m to maxAge (24h where maxAge is not written), such as "15m"`
	return []ruleCase{
		{name: "a session", patches: set(`session: {maxAge: 12h, idle: 30m, freshness: 5m}`)},
		{name: "the longest session", patches: set(`session: {maxAge: 720h, idle: 720h, freshness: 720h}`)},
		{name: "the shortest session, which brings the default of freshness down", patches: set(`session: {maxAge: 60s}`)},
		{name: "durations of several parts", patches: set(`session: {maxAge: 1h30m, idle: 1.5h, freshness: 1m500ms}`)},
		{name: "idle for ever", patches: set(`session: {idle: "0"}`)},
		{name: "a session that is too short", patches: set(`session: {maxAge: 59s}`), want: refused(maxAge)},
		{name: "a session that is too long", patches: set(`session: {maxAge: 721h}`), want: refused(maxAge)},
		{name: "a session in days", patches: set(`session: {maxAge: 1d}`), want: refused(maxAge)},
		{name: "a session that would overflow", patches: set(`session: {maxAge: 99999999999999999999h}`), want: refused(maxAge)},
		{name: "a malformed maxAge, told once", patches: set(`session: {maxAge: long, idle: 30m, freshness: 5m}`), want: refused(maxAge)},
		{name: "a negative idle time", patches: set(`session: {idle: -1m}`), want: refused(idle)},
		{name: "an idle time that is too short", patches: set(`session: {idle: 30s}`), want: refused(idle)},
		{name: "an idle time beyond maxAge", patches: set(`session: {maxAge: 1h, idle: 61m}`), want: refused(idle)},
		{name: "an idle time beyond the default of maxAge", patches: set(`session: {idle: 25h}`), want: refused(idle)},
		{name: "a freshness beyond maxAge", patches: set(`session: {maxAge: 1h, freshness: 2h}`), want: refused(fresh)},
		{name: "a freshness beyond the default of maxAge", patches: set(`session: {freshness: 25h}`), want: refused(fresh)},
		{name: "no freshness to speak of", patches: set(`session: {freshness: 0s}`), want: refused(fresh)},
	}
}

func clusterCases() []ruleCase {
	const sel = "spec.selector|"
	const res = "spec.sidecar.resources."
	return []ruleCase{
		{name: "the whole namespace", patches: set(`selector: {matchLabels: null}`)},
		{name: "a selector of expressions", patches: set(`selector: {matchExpressions: [{key: acme.example/tier, operator: In, values: [web]}, {key: canary, operator: DoesNotExist}]}`)},
		{name: "an unknown operator", patches: set(`selector: {matchExpressions: [{key: a, operator: in, values: [b]}]}`), want: refused(
			sel + "has an operator that is not one of the choices; write In, NotIn, Exists or DoesNotExist")},
		{name: "an expression without values", patches: set(`selector: {matchExpressions: [{key: a, operator: NotIn}]}`), want: refused(
			sel + "has an expression without values; list at least one value where the operator is In or NotIn")},
		{name: "an expression with values too many", patches: set(`selector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}`), want: refused(
			sel + "has an expression whose values mean nothing; remove values where the operator is Exists or DoesNotExist")},
		{name: "an expression without a key", patches: set(`selector: {matchExpressions: [{key: "", operator: Exists}]}`), want: refused(
			sel + "has an expression without a key; write the name of a label")},
		{name: "a label that is none", patches: set(`selector: {matchLabels: {"a b": c}}`), want: refused(
			sel + `has a label whose name is none; write letters, digits, "-", "_" and ".", such as app`)},
		{name: "a label that is too long", patches: set(`selector: {matchLabels: {a: ` + strings.Repeat("b", 64) + `}}`), want: refused(
			sel + "has a label whose value is longer than 63 characters; shorten it")},
		{name: "everything that only a cluster can act on", patches: set(`{capture: Port, rollout: Automatic, redis: {secretRef: {name: portal-redis}},
  sidecar: {logLevel: debug, resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {cpu: 1, memory: 1Gi}}}}`)},
		{name: "an unknown capture", patches: set(`capture: Sniff`), want: refused(`spec.capture|supported values: "Auto", "Redirect", "Port"`)},
		{name: "an unknown rollout", patches: set(`rollout: Always`), want: refused(`spec.rollout|supported values: "Manual", "Automatic"`)},
		{name: "an unknown log level", patches: set(`sidecar: {logLevel: trace}`), want: refused(
			`spec.sidecar.logLevel|supported values: "debug", "info", "warn", "error"`)},
		{name: "claims of devices", patches: set(`sidecar: {resources: {claims: [{name: gpu}]}}`), want: refused(
			res + "claims|the sidecar uses no devices; remove it")},
		{name: "a limit of a device", patches: set(`sidecar: {resources: {limits: {nvidia.com/gpu: 1}}}`), want: refused(
			res + "limits|names a resource that the sidecar does not use; write cpu, memory or ephemeral-storage")},
		{name: "a request of a device", patches: set(`sidecar: {resources: {requests: {cup: 1}}}`), want: refused(
			res + "requests|names a resource that the sidecar does not use; write cpu, memory or ephemeral-storage")},
		{name: "a request above its limit", patches: set(`sidecar: {resources: {requests: {cpu: 2}, limits: {cpu: 1500m}}}`), serverOnly: true, want: refused(
			res + "requests|asks for more than the limit; write a request of at most the limit")},
		{name: "a Redis without a Secret", patches: set(`redis: {}`), want: refused("spec.redis.secretRef|Required value")},
		{name: "a Redis with a Secret that is none", patches: set(`redis: {secretRef: {name: ../x}}`), want: refused(
			"spec.redis.secretRef.name|is not the name of a Secret; write one of the policy's own namespace")},
	}
}
