package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport/sallyport/api/policy"
)

// MFAPolicy puts a second factor in front of one web app: every pod that its
// selector covers gets a sidecar at its creation, and every running sidecar
// obeys its rules within seconds of a change. The app itself is not changed.
//
// Write the selector, the app's port and where it says who is signed in; all
// else has a default. Then set requireForAdmins or requireForEveryone, and
// restart the workload once, so that its pods get their sidecar. The
// condition Ready says whether everything that was asked for is in force, and
// what to do if not. A policy that is not accepted changes nothing: the last
// good rules stay in force.
//
// +genclient
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=mfapolicies,singular=mfapolicy,shortName=mfap,scope=Namespaced
// +kubebuilder:printcolumn:name="Everyone",type=boolean,JSONPath=`.spec.requireForEveryone`,description="Whether every signed-in user must have a second factor"
// +kubebuilder:printcolumn:name="Admins",type=boolean,JSONPath=`.spec.requireForAdmins`,description="Whether administrators must have a second factor"
// +kubebuilder:printcolumn:name="Pods",type=integer,JSONPath=`.status.pods.selected`,description="Running pods that the policy governs"
// +kubebuilder:printcolumn:name="Protected",type=integer,JSONPath=`.status.pods.protected`,description="Of these, pods whose sidecar obeys the present rules"
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="Whether everything the policy asks for is in force"
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,description="Why the policy is ready or not"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63",message="metadata.name must be at most 63 characters; choose a shorter name"
// +kubebuilder:validation:XValidation:fieldPath=".spec.workspace",rule="has(self.spec.workspace) || !self.metadata.name.contains('.')",message="metadata.name holds a dot and cannot be the workspace's name too; write spec.workspace, or choose another name"
// +kubebuilder:validation:XValidation:fieldPath=".spec.workspace",rule="has(self.spec.workspace) ? self.spec.workspace == (has(oldSelf.spec.workspace) ? oldSelf.spec.workspace : self.metadata.name) : !has(oldSelf.spec.workspace) || oldSelf.spec.workspace == self.metadata.name",message="cannot change: everybody would count as not enrolled in the new workspace; write the old one back (the default is the policy's name), or create a new policy"
type MFAPolicy struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the platform team asks for.
	// +required
	Spec MFAPolicySpec `json:"spec"`
	// status is what the controller has seen. Only the controller writes it.
	// +optional
	Status MFAPolicyStatus `json:"status,omitzero"`
}

// MFAPolicyList is a list of policies.
//
// +kubebuilder:object:root=true
type MFAPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard list's metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitzero"`
	// items are the policies.
	Items []MFAPolicy `json:"items"`
}

// MFAPolicySpec is a selector of pods, what only a cluster can act on, and
// the rules that the sidecars obey.
type MFAPolicySpec struct {
	// selector covers the pods that carry the web app, by their labels. Required.
	// An empty selector, {}, covers every pod of the namespace. Of two policies
	// that select the same pod the older one governs it. Example: {matchLabels:
	// {app: portal}}.
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, e.operator in ['In', 'NotIn', 'Exists', 'DoesNotExist'])",message="has an operator that is not one of the choices; write In, NotIn, Exists or DoesNotExist"
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, !(e.operator in ['In', 'NotIn']) || (has(e.values) && size(e.values) > 0))",message="has an expression without values; list at least one value where the operator is In or NotIn"
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, !(e.operator in ['Exists', 'DoesNotExist']) || !has(e.values) || size(e.values) == 0)",message="has an expression whose values mean nothing; remove values where the operator is Exists or DoesNotExist"
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, size(e.key) > 0)",message="has an expression without a key; write the name of a label"
	// +kubebuilder:validation:XValidation:rule="!has(self.matchLabels) || self.matchLabels.all(k, !format.qualifiedName().validate(k).hasValue())",message="has a label whose name is none; write letters, digits, \"-\", \"_\" and \".\", such as app"
	// +kubebuilder:validation:XValidation:rule="!has(self.matchLabels) || self.matchLabels.all(k, size(self.matchLabels[k]) <= 63)",message="has a label whose value is longer than 63 characters; shorten it"
	// +required
	Selector metav1.LabelSelector `json:"selector"`

	policy.Rules `json:",inline"`

	// capture says how the pod's traffic reaches the sidecar. Redirect programs
	// the pod's own network, which closes every way around the sidecar from
	// outside the pod, and needs NET_ADMIN in one init container. Port lets the
	// sidecar take over the app's named ports, and works under the Pod Security
	// level "restricted". Auto is Redirect where the namespace's Pod Security
	// level allows it, else Port; status.capture says which. Default: Auto.
	// Example: Port.
	// +kubebuilder:default=Auto
	// +optional
	Capture Capture `json:"capture,omitempty"`
	// rollout says whether the controller restarts the workloads that it covers
	// when what is injected changes: the image, the capture, the port or the
	// resources. A change of the rules needs no restart. Manual restarts nothing:
	// status.pods.command names the command. Automatic restarts them a few at a
	// time. Default: Manual. Example: Automatic.
	// +kubebuilder:default=Manual
	// +optional
	Rollout Rollout `json:"rollout,omitempty"`
	// sidecar changes the injected container. Example: {logLevel: debug}.
	// +optional
	Sidecar Sidecar `json:"sidecar,omitzero"`
	// redis names a Redis of the policy's own. All policies that share a
	// workspace must name the same. Default: the operator's Redis. Example:
	// {secretRef: {name: portal-redis}}.
	// +optional
	Redis *RedisReference `json:"redis,omitempty"`
}

// Capture says how a pod's traffic reaches the sidecar.
// +kubebuilder:validation:Enum=Auto;Redirect;Port
type Capture string

// How a pod's traffic reaches the sidecar.
const (
	// CaptureAuto is Redirect where the namespace allows it, else Port.
	CaptureAuto Capture = "Auto"
	// CaptureRedirect programs the pod's network.
	CaptureRedirect Capture = "Redirect"
	// CapturePort moves the app's named ports to the sidecar.
	CapturePort Capture = "Port"
)

// Rollout says who restarts workloads when what is injected changes.
// +kubebuilder:validation:Enum=Manual;Automatic
type Rollout string

// Who restarts workloads when what is injected changes.
const (
	// RolloutManual leaves it to people.
	RolloutManual Rollout = "Manual"
	// RolloutAutomatic lets the controller do it, a few at a time.
	RolloutAutomatic Rollout = "Automatic"
)

// LogLevel is how much a sidecar logs.
// +kubebuilder:validation:Enum=debug;info;warn;error
type LogLevel string

// Sidecar changes the injected container.
type Sidecar struct {
	// resources of the container: requests and limits of cpu, memory and
	// ephemeral-storage. Default: requests of 10m CPU and 32Mi memory, and a
	// limit of 128Mi memory. Example: {requests: {cpu: 50m}, limits: {memory:
	// 256Mi}}.
	// +kubebuilder:validation:XValidation:fieldPath=".claims",rule="!has(self.claims) || size(self.claims) == 0",message="the sidecar uses no devices; remove it"
	// +kubebuilder:validation:XValidation:fieldPath=".limits",rule="!has(self.limits) || self.limits.all(k, k in ['cpu', 'memory', 'ephemeral-storage'])",message="names a resource that the sidecar does not use; write cpu, memory or ephemeral-storage"
	// +kubebuilder:validation:XValidation:fieldPath=".requests",rule="!has(self.requests) || self.requests.all(k, k in ['cpu', 'memory', 'ephemeral-storage'])",message="names a resource that the sidecar does not use; write cpu, memory or ephemeral-storage"
	// +kubebuilder:validation:XValidation:fieldPath=".requests",rule="!has(self.requests) || !has(self.limits) || ['cpu', 'memory', 'ephemeral-storage'].all(k, !(k in self.requests) || !(k in self.limits) || quantity(string(self.requests[k])).compareTo(quantity(string(self.limits[k]))) <= 0)",message="asks for more than the limit; write a request of at most the limit"
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
	// logLevel is how much the sidecar logs: debug, info, warn or error. Security
	// events are logged at every level. Default: info. Example: debug.
	// +kubebuilder:default=info
	// +optional
	LogLevel LogLevel `json:"logLevel,omitempty"`
}

// RedisReference names a Redis by a Secret.
type RedisReference struct {
	// secretRef names a Secret in the policy's own namespace with the keys url
	// (required), username, password, ca.crt, tls.crt, tls.key, server-name,
	// sentinel-username, sentinel-password and wait-replicas. The controller must be
	// allowed to read it; the condition StoreReady says how where it is not. Required.
	// Example: {name: portal-redis}.
	// +required
	SecretRef LocalSecret `json:"secretRef"`
}

// LocalSecret names a Secret of the policy's own namespace.
type LocalSecret struct {
	// name of the Secret. Required. Example: portal-redis.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$')`,message="is not the name of a Secret; write one of the policy's own namespace"
	// +required
	Name string `json:"name"`
}
