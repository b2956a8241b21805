package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MFAPolicyStatus is what the controller has seen.
type MFAPolicyStatus struct {
	// observedGeneration is the generation of the spec that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions say what holds and, where something does not, what to do. Ready
	// summarises them.
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// publishedGeneration is the generation whose rules the sidecars are told to
	// obey. It is behind observedGeneration where the present spec was not
	// accepted.
	// +optional
	PublishedGeneration int64 `json:"publishedGeneration,omitempty"`
	// capture is how traffic reaches the sidecars of new pods: Redirect or Port.
	// +optional
	Capture Capture `json:"capture,omitempty"`
	// pods counts the pods that the policy governs.
	// +optional
	Pods *PodStatus `json:"pods,omitempty"`
	// enrolment counts people with a second factor, of the policy's workspace.
	// +optional
	Enrolment *EnrolmentStatus `json:"enrolment,omitempty"`
	// waysAround lists how the app can be reached without the sidecar.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +optional
	WaysAround []WayAround `json:"waysAround,omitempty"`
	// keys tells how far a rotation of the keys is.
	// +optional
	Keys *KeyStatus `json:"keys,omitempty"`
	// store identifies the store that holds the enrolments.
	// +optional
	Store *StoreStatus `json:"store,omitempty"`
	// images are what sidecars are injected with: the present image first, then
	// the one before it, which pods may still arrive with during an upgrade.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=2
	// +kubebuilder:validation:items:MaxLength=1024
	// +optional
	Images []string `json:"images,omitempty"`
}

// PodStatus counts the running pods that a policy governs. Each of them is
// protected, stale or unprotected.
type PodStatus struct {
	// selected pods in all.
	Selected int32 `json:"selected"`
	// protected pods run a sidecar that obeys the published rules.
	Protected int32 `json:"protected"`
	// stale pods run a sidecar that obeys older rules, or that has not been heard
	// of for ten seconds.
	Stale int32 `json:"stale"`
	// unprotected pods run without a sidecar.
	Unprotected int32 `json:"unprotected"`
	// outdated pods, protected or stale, were injected with older settings than
	// the present ones: another image, capture, port or resources.
	// +optional
	Outdated int32 `json:"outdated,omitempty"`
	// attention names pods that are not protected, at most ten, and why.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	// +optional
	Attention []PodAttention `json:"attention,omitempty"`
	// rollout says how far an automatic rollout is, and what it leaves to
	// people. Empty where there is nothing to say.
	// +kubebuilder:validation:MaxLength=32768
	// +optional
	Rollout string `json:"rollout,omitempty"`
	// command brings all of them up to date. Empty where there is nothing to do.
	// +kubebuilder:validation:MaxLength=32768
	// +optional
	Command string `json:"command,omitempty"`
}

// PodAttention is one pod that is not protected.
type PodAttention struct {
	// name of the pod.
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// reason in one sentence.
	// +kubebuilder:validation:MaxLength=32768
	Reason string `json:"reason"`
}

// EnrolmentStatus counts people with a second factor.
type EnrolmentStatus struct {
	// enabled is how many users have enrolled.
	Enabled int64 `json:"enabled"`
	// asOf is when they were counted.
	AsOf metav1.Time `json:"asOf"`
}

// WayAround is a way to the app that does not pass the sidecar.
type WayAround struct {
	// kind of what opens it: Service, Pod or Namespace.
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind"`
	// name of the object.
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// message says how it leads to the app and how to close it.
	// +kubebuilder:validation:MaxLength=32768
	Message string `json:"message"`
}

// KeyStatus tells how far a rotation of the keys is.
type KeyStatus struct {
	// primary is the version that new records are sealed with.
	Primary int64 `json:"primary"`
	// phase is Idle, or what a rotation is doing.
	// +kubebuilder:validation:MaxLength=64
	Phase string `json:"phase"`
	// waiting says what a rotation waits for.
	// +kubebuilder:validation:MaxLength=32768
	// +optional
	Waiting string `json:"waiting,omitempty"`
	// versions lists the newest versions of the ring and what still needs each.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Versions []KeyVersion `json:"versions,omitempty"`
}

// KeyVersion is one version of the key ring.
type KeyVersion struct {
	// id of the version.
	ID int64 `json:"id"`
	// status is primary, active or retired.
	// +kubebuilder:validation:MaxLength=64
	Status string `json:"status"`
	// seeds is how many authenticator secrets are sealed with it.
	// +optional
	Seeds int64 `json:"seeds,omitempty"`
	// recoveryCodeSets is how many sets of recovery codes need it.
	// +optional
	RecoveryCodeSets int64 `json:"recoveryCodeSets,omitempty"`
}

// StoreStatus identifies the store that holds the enrolments.
type StoreStatus struct {
	// fingerprint of the store's epoch: a hash, in 16 hexadecimal digits.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Fingerprint string `json:"fingerprint,omitempty"`
}
