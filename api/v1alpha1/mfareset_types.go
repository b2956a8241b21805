package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MFAReset ends one user's enrolment, once: for somebody who has lost both the
// phone and the recovery codes. The user is then as if never enrolled, and sets
// up a new phone at the next sign-in where the policy asks for a second factor.
// Until then the password alone stands between an attacker and the account:
// make sure who is asking.
//
// A reset happens once. An enrolment that was made after the MFAReset stays, so
// that the object may be kept, applied again by a tool, or deleted at any time.
// Nothing of a second factor can be read from it. Who may create it is decided
// by RBAC: see the ClusterRole sallyport-mfareset-editor.
//
// +genclient
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=mfaresets,singular=mfareset,shortName=mfar,scope=Namespaced
// +kubebuilder:printcolumn:name="Policy",type=string,JSONPath=`.spec.policy`,description="The MFAPolicy whose workspace the user is enrolled in"
// +kubebuilder:printcolumn:name="User",type=string,JSONPath=`.spec.user`,description="The user's id"
// +kubebuilder:printcolumn:name="Complete",type=string,JSONPath=`.status.conditions[?(@.type=="Complete")].status`,description="Whether the reset was carried out"
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Complete")].reason`,description="What came of it"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type MFAReset struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec says whose enrolment ends. It cannot change: create another MFAReset.
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="cannot change: a reset happens once; create another MFAReset"
	// +required
	Spec MFAResetSpec `json:"spec"`
	// status is what came of it. Only the controller writes it.
	// +optional
	Status MFAResetStatus `json:"status,omitzero"`
}

// MFAResetList is a list of resets.
//
// +kubebuilder:object:root=true
type MFAResetList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard list's metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitzero"`
	// items are the resets.
	Items []MFAReset `json:"items"`
}

// MFAResetSpec names one user of one app.
type MFAResetSpec struct {
	// policy is the name of the MFAPolicy that governs the app, in this namespace.
	// Policies that share its workspace share the enrolment, and so its end.
	// Required. Example: portal.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	Policy string `json:"policy"`
	// user is the user's stable id, exactly as the policy's identity source gives it:
	// not a name or an address unless the app uses that as the id. At most 256
	// characters. Required. Example: "4711".
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +required
	User string `json:"user"`
}

// MFAResetStatus is what came of a reset.
type MFAResetStatus struct {
	// completedAt is when the reset was carried out. Nothing happens after that.
	// +optional
	CompletedAt *metav1.Time `json:"completedAt,omitempty"`
	// conditions tell how it stands, by their type: Complete.
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=4
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ConditionComplete of an MFAReset is True once it was carried out, whatever it
// found. Reasons for True: Reset, NothingToReset, EnrolledSince. For False, after
// which it is tried again: PolicyNotFound, KeysMissing, StoreUnreachable, StoreLost.
// For Unknown: NotChecked.
const ConditionComplete ConditionType = "Complete"

// The reasons of an MFAReset's condition, beside those that a policy has too. An
// MFATicket has PolicyNotFound as well.
const (
	ReasonReset          ConditionReason = "Reset"
	ReasonNothingToReset ConditionReason = "NothingToReset"
	ReasonEnrolledSince  ConditionReason = "EnrolledSince"
	ReasonPolicyNotFound ConditionReason = "PolicyNotFound"
)
