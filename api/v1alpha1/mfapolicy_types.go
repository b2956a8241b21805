package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport/sallyport/api/policy"
)

// MFAPolicy puts a second factor in front of one web app: every pod that its
// selector covers gets a sidecar at its creation, and every running sidecar
// obeys its rules within seconds of a change.
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

// MFAPolicySpec is a selector of pods, what only a cluster can act on, and the
// rules that the sidecars obey.
type MFAPolicySpec struct {
	// selector covers the pods that carry the web app. Required. An empty selector,
	// {}, covers every pod of the namespace. Example: matchLabels: {app: portal}.
	// +required
	Selector metav1.LabelSelector `json:"selector"`

	policy.Rules `json:",inline"`

	// capture says how the pod's traffic reaches the sidecar. Redirect programs the
	// pod's own network, which closes every way around the sidecar from outside the
	// pod, and needs NET_ADMIN in one init container. Port lets the sidecar take over
	// the app's named ports, and works under the Pod Security level "restricted".
	// Auto is Redirect where the namespace's Pod Security level allows it, else Port;
	// status.capture says which. Default: Auto.
	// +kubebuilder:default=Auto
	// +optional
	Capture Capture `json:"capture,omitempty"`
	// rollout says whether the controller restarts the workloads that it covers when
	// what is injected changes. Manual restarts nothing: status names the command.
	// Default: Manual.
	// +kubebuilder:default=Manual
	// +optional
	Rollout Rollout `json:"rollout,omitempty"`
	// sidecar changes the injected container.
	// +optional
	Sidecar Sidecar `json:"sidecar,omitzero"`
	// redis names a Redis of the policy's own. Default: the operator's Redis.
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
	// resources of the container. Default: requests of 10m CPU and 32Mi memory, and
	// a limit of 128Mi memory.
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
	// logLevel is debug, info, warn or error. Default: info.
	// +kubebuilder:default=info
	// +optional
	LogLevel LogLevel `json:"logLevel,omitempty"`
}

// RedisReference names a Redis by a Secret.
type RedisReference struct {
	// secretRef names a Secret in the policy's own namespace with the keys url
	// (required), username, password, ca.crt, tls.crt, tls.key, server-name,
	// sentinel-username and sentinel-password. The controller must be allowed to read
	// it; the condition StoreReady says how where it is not.
	// +required
	SecretRef LocalSecret `json:"secretRef"`
}

// LocalSecret names a Secret of the policy's own namespace.
type LocalSecret struct {
	// name of the Secret. Example: portal-redis.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name"`
}
