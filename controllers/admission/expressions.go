package admission

// A variable of the backstop, evaluated at most once and only where it is needed.
type variable struct{ name, expression string }

// A validation of the backstop: what must hold at a moment of a pod's life, and what a
// person reads where it does not. message is an expression; short is for where there is
// none, or it cannot be made.
type validation struct {
	at                         moment
	expression, short, message string
}

// moment is the expression that tells what is being done to a pod.
type moment string

const (
	// creation is when a pod must be whole: almost nothing of it can be changed later.
	creation moment = `request.operation == 'CREATE'`
	// change is of a pod itself. Pods that were selected before the policy stood carry
	// no sidecar and are not held to anything: their finalizers must be removable.
	change moment = `request.operation == 'UPDATE' && request.?subResource.orValue('') == ''`
	// debugging adds an ephemeral container.
	debugging moment = `request.?subResource.orValue('') == 'ephemeralcontainers'`
	// reporting is by pods/status, as the kubelet does.
	reporting moment = `request.?subResource.orValue('') == 'status'`
)

// initContainers of the pod. The injected ones are told by their reserved names.
const initContainers = `object.spec.?initContainers.orValue([])`

// followed are the realms of the policies that the sidecar obeys.
var followed = variable{"followed", initContainers + `.filter(c, c.name == 'sallyport').map(c, c.?args.orValue([])).filter(args,
	size(args) > 1 && args[0] == '--follow' && args.filter(a, a.startsWith('--follow') || a.startsWith('-follow')).size() == 1
	).map(args, args[1])`}

// variables of Backstop.
//
//   - secretVolumes: the volumes that hold the namespace's keys, whatever their name.
var variables = []variable{
	{"inits", initContainers},
	{"sidecars", `variables.inits.filter(c, c.name == 'sallyport')`},
	{"redirects", `variables.inits.filter(c, c.name == 'sallyport-redirect')`},
	followed,
	{"realm", `request.namespace + '/'`},
	{"guardImages", `variables.inits.filter(c, c.name in ['sallyport', 'sallyport-redirect']).map(c, c.image)`},
	{"oldInits", `oldObject == null ? [] : oldObject.spec.?initContainers.orValue([])`},
	{"wasInjected", `variables.oldInits.exists(c, c.name == 'sallyport')`},
	{"oldGuardImages", `variables.oldInits.filter(c, c.name in ['sallyport', 'sallyport-redirect']).map(c, c.image)`},
	{"annotationsKept", `!variables.wasInjected ||
		['mfa.sallyport.dev/policy', 'mfa.sallyport.dev/revision', 'mfa.sallyport.dev/version'].all(k,
			object.metadata.?annotations[?k] == oldObject.metadata.?annotations[?k])`},

	{"volumes", `object.spec.?volumes.orValue([])`},
	{"secretVolumes", `variables.volumes.filter(v, v.name == 'sallyport' ||
		v.?projected.?sources.orValue([]).exists(s, s.?secret.?name.orValue('') == 'sallyport-sidecar') || 'sallyport-sidecar' in [
			v.?secret.?secretName.orValue(''), v.?csi.?nodePublishSecretRef.?name.orValue(''), v.?azureFile.?secretName.orValue(''),
			v.?cephfs.?secretRef.?name.orValue(''), v.?cinder.?secretRef.?name.orValue(''), v.?flexVolume.?secretRef.?name.orValue(''),
			v.?iscsi.?secretRef.?name.orValue(''), v.?rbd.?secretRef.?name.orValue(''), v.?scaleIO.?secretRef.?name.orValue(''),
			v.?storageos.?secretRef.?name.orValue('')]).map(v, v.name)`},
	{"others", `object.spec.containers + variables.inits.filter(c, c.name != 'sallyport')`},
	{"name", `object.metadata.?name.orValue(object.metadata.?generateName.orValue(''))`},
}

// validations of Backstop, in the order in which a person should hear of them.
// Together they hold the injected containers to all that package injection writes and
// that gives them their force; resources, and how an image is pulled, are not of it.
var validations = []validation{
	{
		debugging, `false`,
		"Ephemeral containers are refused in pods that an MFAPolicy selects.",
		`'Pod ' + variables.name + ' is selected by an MFAPolicy, so no ephemeral container may join it: it would reach the app behind
		the second factor. Debug a copy, which carries none of its labels: kubectl debug ' + variables.name + ' -n '
		+ request.namespace + ' --copy-to=' + variables.name + '-debug --image=...'`,
	},
	{
		creation, `!object.spec.?hostNetwork.orValue(false) && !object.spec.?hostPID.orValue(false) &&
			!object.spec.?shareProcessNamespace.orValue(false)`,
		"hostNetwork, hostPID and shareProcessNamespace are refused in pods that an MFAPolicy selects.",
		`'A pod that an MFAPolicy selects must not set hostNetwork, hostPID or shareProcessNamespace: each opens the sidecar, or a way around it.
		Remove the field from the pod'`,
	},
	{
		creation, `variables.sidecars.all(c, c.?restartPolicy.orValue('') == 'Always')`,
		"The init container sallyport must have restartPolicy Always.",
		`'The init container sallyport must have restartPolicy Always: its name is reserved for the sidecar'`,
	},
	{
		creation, `variables.sidecars.all(c, !has(c.command)) &&
			(size(variables.sidecars) == 0 || variables.followed.exists(f, f.startsWith(variables.realm)))`,
		"The sidecar must follow an MFAPolicy of this namespace.",
		`'The init container sallyport must follow an MFAPolicy of namespace ' + request.namespace + '. Leave the container out: the
		injector adds it'`,
	},
	{
		creation, `variables.sidecars.map(c, c.?args.orValue([])).all(args, size(args) >= 14 &&
			args[2] == '--app' && args[3].matches('^http://127[.]0[.]0[.]1:[0-9]{1,5}$') &&
			args[4] == '--keys' && args[5] == '/var/run/sallyport/keys.json' &&
			args[6] == '--redis-file' && args[7] == '/var/run/sallyport/redis.json' &&
			args[8] == '--listen' && args[9] == ':15080' &&
			args[10] == '--ops-listen' && args[11] == ':15090' &&
			args[12] == '--log-level' && args[13] in ['debug', 'info', 'warn', 'error'] && (
				size(args) == 14 ||
				size(args) == 16 && args[14] == '--redis-key-prefix' ||
				size(args) == 16 && args[14] == '--probes' && size(variables.redirects) > 0 ||
				size(args) == 18 && args[14] == '--redis-key-prefix' && args[16] == '--probes' && size(variables.redirects) > 0))`,
		"The sidecar's arguments are not what the operator injects.",
		`'The arguments of the init container sallyport are not what the operator injects. Leave the container out: the
		injector adds it'`,
	},
	{
		creation, `variables.sidecars.all(c,
			size(c.?envFrom.orValue([])) == 0 && size(c.?env.orValue([])) == 2 &&
			c.env[0].name == 'POD_NAME' && c.env[0].?valueFrom.?fieldRef.?fieldPath.orValue('') == 'metadata.name' &&
			c.env[1].name == 'POD_UID' && c.env[1].?valueFrom.?fieldRef.?fieldPath.orValue('') == 'metadata.uid')`,
		"The sidecar's environment is not what the operator injects.",
		`'The environment of the init container sallyport is not what the operator injects. Leave the container out:
		the injector adds it'`,
	},
	{
		creation, `variables.sidecars.all(c, !has(c.lifecycle) && !has(c.workingDir) &&
			c.?ports.orValue([]).all(p, p.containerPort in [15080, 15090] && p.?hostPort.orValue(0) == 0) &&
			[c.?startupProbe, c.?readinessProbe, c.?livenessProbe].all(p,
				p.?httpGet.?port.orValue(0) == 15090 && p.?httpGet.?host.orValue('') == ''))`,
		"The sidecar's ports, probes or hooks are not what the operator injects.",
		`'The ports, probes or hooks of the init container sallyport are not what the operator injects. Leave the container out:
		the injector adds it'`,
	},
	{
		creation, `size(variables.sidecars) == 0 || (
			variables.sidecars.all(c, size(c.?volumeDevices.orValue([])) == 0 && size(c.?volumeMounts.orValue([])) == 2 &&
				c.volumeMounts.all(m, m.?readOnly.orValue(false) && !has(m.subPath) && !has(m.subPathExpr) && (
					m.name == 'sallyport' && m.mountPath == '/var/run/sallyport' ||
					m.name == 'sallyport-no-token' && m.mountPath == '/var/run/secrets/kubernetes.io/serviceaccount'))) &&
			variables.volumes.exists(v, v.name == 'sallyport-no-token' && has(v.downwardAPI) &&
				size(v.downwardAPI.?items.orValue([])) == 0) &&
			variables.volumes.exists(v, v.name == 'sallyport' && size(v.?projected.?sources.orValue([])) == 1 &&
				v.projected.sources.all(s, s.?secret.?name.orValue('') == 'sallyport-sidecar' &&
					!s.?secret.?optional.orValue(false) && size(s.?secret.?items.orValue([])) == 2 &&
					s.secret.items[0].key == 'keys.json' && s.secret.items[0].path == 'keys.json' &&
					s.secret.items[1].path == 'redis.json' && (s.secret.items[1].key == 'redis.json' ||
						variables.followed.exists(f, s.secret.items[1].key == 'redis-' + f.substring(size(variables.realm)) + '.json')))))`,
		"The sidecar's volumes are not what the operator injects.",
		`'The volumes of the init container sallyport are not what the operator injects. Leave the container and its volumes
		out: the injector adds them'`,
	},
	{
		creation, `variables.redirects.all(c, !has(c.command) && !has(c.restartPolicy) &&
			size(c.?env.orValue([])) == 0 && size(c.?envFrom.orValue([])) == 0 &&
			!c.?securityContext.?privileged.orValue(false) &&
			c.?securityContext.?capabilities.?add.orValue([]) == ['NET_ADMIN'] &&
			variables.sidecars.all(s, c.?args.orValue([]) ==
				['redirect', '--port', s.args[3].substring(size('http://127.0.0.1:')), '--to', '15080']))`,
		"The init container sallyport-redirect is not what the operator injects.",
		`'The init container sallyport-redirect is not what the operator injects. Leave the container out: the injector adds it'`,
	},
	{
		creation, `variables.sidecars.all(c,
			c.?securityContext.?runAsNonRoot.orValue(false) &&
			c.?securityContext.?runAsUser.orValue(0) == 65532 &&
			c.?securityContext.?readOnlyRootFilesystem.orValue(false) &&
			!c.?securityContext.?allowPrivilegeEscalation.orValue(true) &&
			!c.?securityContext.?privileged.orValue(false) &&
			'ALL' in c.?securityContext.?capabilities.?drop.orValue([]) &&
			size(c.?securityContext.?capabilities.?add.orValue([])) == 0)`,
		"The sidecar's securityContext is not what the operator injects.",
		`'The securityContext of the init container sallyport is not what the operator injects. Leave the container out:
		the injector adds it'`,
	},
	{
		creation, `variables.secretVolumes.all(v, v == 'sallyport') &&
			variables.others.all(c,
				c.?volumeMounts.orValue([]).all(m, !(m.name in variables.secretVolumes)) &&
				c.?env.orValue([]).all(e, e.?valueFrom.?secretKeyRef.?name.orValue('') != 'sallyport-sidecar') &&
				c.?envFrom.orValue([]).all(e, e.?secretRef.?name.orValue('') != 'sallyport-sidecar')) &&
			size(object.spec.?ephemeralContainers.orValue([])) == 0`,
		"No container but the sidecar may read the Secret sallyport-sidecar.",
		`'No container but the sidecar may mount or read the Secret sallyport-sidecar in a pod that an MFAPolicy selects, and an
		ephemeral container may not come with it. Take it out of the pod'`,
	},
	{
		change, `!variables.wasInjected || variables.guardImages == variables.oldGuardImages`,
		"The sidecar's image may not be changed in a running pod.",
		`'The images of the injected containers of pod ' + variables.name + ' may not be changed. Restart its workload instead: new pods get the
		present image'`,
	},
	{
		change, `variables.annotationsKept`,
		"The annotations that the injector sets may not be changed.",
		`'The annotations mfa.sallyport.dev/policy, /revision and /version of pod ' + variables.name + ' say what was injected and may not be
		changed'`,
	},
	{
		reporting, `object.metadata.?labels.orValue({}) == oldObject.metadata.?labels.orValue({})`,
		"The labels of a pod that an MFAPolicy selects may not be changed through pods/status.",
		`'The labels of pod ' + variables.name + ', which an MFAPolicy selects, or would select, may not be changed through pods/status; change
		the pod itself'`,
	},
	{
		reporting, `variables.annotationsKept`,
		"The annotations that the injector set may not be changed through pods/status.",
		`'The annotations mfa.sallyport.dev/policy, /revision and /version of pod ' + variables.name + ' say what was injected and may not be
		changed through pods/status'`,
	},
}
