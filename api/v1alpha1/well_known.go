package v1alpha1

// What the operator writes into a cluster, by name.
const (
	// FieldManager owns every field that the controller applies.
	FieldManager = "sallyport-controller"
	// Finalizer keeps a deleted policy until its sidecars are told, its webhook rule
	// is withdrawn and no pod carries its sidecar any more.
	Finalizer = GroupName + "/finalizer"

	// PolicyAnnotation, on a pod, names the policy whose sidecar it carries.
	PolicyAnnotation = GroupName + "/policy"
	// RevisionAnnotation, on a pod, is a hash of what was injected.
	RevisionAnnotation = GroupName + "/revision"
	// VersionAnnotation, on a pod, is the version of the operator that injected it.
	VersionAnnotation = GroupName + "/version"
	// RestartedAnnotation, on a workload's pod template, is the revision that a
	// rollout restarted it for.
	RestartedAnnotation = GroupName + "/restarted-for"
	// PurgeAnnotation, on a policy, asks for its workspace's enrolments to be deleted
	// with it. The value must be the workspace's name.
	PurgeAnnotation = GroupName + "/purge-enrolments"
	// AcceptStoreLossAnnotation, on a policy, accepts that a lost store's enrolments
	// are gone. The value must be the fingerprint that the condition StoreReady names.
	AcceptStoreLossAnnotation = GroupName + "/accept-store-loss"
	// RotateAnnotation, on the Secret of the master keys, asks for a rotation; each
	// new value asks for one.
	RotateAnnotation = GroupName + "/rotate"
	// RotatedAnnotation, on the Secret of the master keys, is the value of
	// RotateAnnotation that was served last.
	RotatedAnnotation = GroupName + "/rotated"

	// ConfirmedAnnotation, on a policy's webhook configuration, is a hash of what it
	// says, written some seconds after that: see controllers/confirm.go.
	ConfirmedAnnotation = GroupName + "/confirmed"

	// ManagedByLabel marks what the controller owns.
	ManagedByLabel = "app.kubernetes.io/managed-by"
	// ManagedBy is the value of ManagedByLabel.
	ManagedBy = "sallyport"
	// PolicyNamespaceLabel and PolicyNameLabel, on cluster-scoped objects, name the
	// policy that they were made for.
	PolicyNamespaceLabel = GroupName + "/policy-namespace"
	PolicyNameLabel      = GroupName + "/policy-name"

	// MasterSecret holds the master key ring, in the operator's namespace.
	MasterSecret = "sallyport-master-keys"
	// SidecarSecret holds what the sidecars of a namespace need, in each namespace
	// that has a policy.
	SidecarSecret = "sallyport-sidecar"
	// KeysKey, RedisKey and EpochsKey are keys of these Secrets.
	KeysKey   = "keys.json"
	RedisKey  = "redis.json"
	EpochsKey = "epochs.json"

	// MaxKeyVersions is how many versions of the keys a status lists.
	MaxKeyVersions = 32

	// SidecarContainer and RedirectContainer are the injected containers.
	SidecarContainer  = "sallyport"
	RedirectContainer = "sallyport-redirect"
	// SidecarVolume is the injected volume, mounted at SidecarMount.
	SidecarVolume = "sallyport"
	SidecarMount  = "/var/run/sallyport"
	// TrafficPort and OperationsPort are the ports that a sidecar listens on.
	TrafficPort    int32 = 15080
	OperationsPort int32 = 15090
)

// RedisKeyOf is the key of SidecarSecret that says how to reach the Redis of a
// policy which has its own.
func RedisKeyOf(policyName string) string { return "redis-" + policyName + ".json" }
