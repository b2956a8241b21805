package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MFATicket issues one enrolment ticket to one user. Where a policy says
// enrolment.mode Ticket, nobody sets up a second factor without one: a stolen
// password is then not enough to be the first. An administrator makes the ticket,
// 32 hexadecimal digits, and gives it to the person by a way that the password does
// not open; only its SHA-256 is written here.
//
// It is issued once, and lasts for 24 hours from the creation of this object. The
// confirmation of an enrolment spends it. A newer MFATicket for the same user takes
// the place of an older one. Who may create it is decided by RBAC: see the
// ClusterRole sallyport-mfaticket-editor.
//
// +genclient
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=mfatickets,singular=mfaticket,shortName=mfat,scope=Namespaced
// +kubebuilder:printcolumn:name="Policy",type=string,JSONPath=`.spec.policy`,description="The MFAPolicy in whose workspace the user enrols"
// +kubebuilder:printcolumn:name="User",type=string,JSONPath=`.spec.user`,description="The user's id"
// +kubebuilder:printcolumn:name="Issued",type=string,JSONPath=`.status.conditions[?(@.type=="Issued")].status`,description="Whether the ticket was issued"
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Issued")].reason`,description="What came of it"
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.expiresAt`,description="Until when the ticket can be used"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type MFATicket struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec says who may enrol with which ticket. It cannot change: create another
	// MFATicket.
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="cannot change: a ticket is issued once; create another MFATicket, which replaces this one's"
	// +required
	Spec MFATicketSpec `json:"spec"`
	// status is what came of it. Only the controller writes it.
	// +optional
	Status MFATicketStatus `json:"status,omitzero"`
}

// MFATicketList is a list of tickets.
//
// +kubebuilder:object:root=true
type MFATicketList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard list's metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitzero"`
	// items are the tickets.
	Items []MFATicket `json:"items"`
}

// MFATicketSpec names one user of one app, and one ticket.
type MFATicketSpec struct {
	// policy is the name of the MFAPolicy that governs the app, in this namespace.
	// Policies that share its workspace share the enrolment, and so the ticket.
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
	// sha256 is the SHA-256 of the ticket, in 64 lower-case hexadecimal digits. The
	// ticket is 32 lower-case hexadecimal digits from a good source of randomness, and
	// is itself written nowhere in the cluster: openssl rand -hex 16 makes one, and
	// printf %s "$ticket" | sha256sum its SHA-256. Required.
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[0-9a-f]{64}$')`,message=`is no SHA-256; write the 64 lower-case hexadecimal digits that sha256sum prints, and never the ticket itself`
	// +required
	SHA256 string `json:"sha256"`
}

// MFATicketStatus is what came of a ticket.
type MFATicketStatus struct {
	// expiresAt is until when the ticket can be used. It is written before the ticket
	// is issued, so that an operator which was interrupted knows that it had begun.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
	// conditions tell how it stands, by their type: Issued.
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=4
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ConditionIssued of an MFATicket is True once it was issued, and stays so: whether
// the ticket was used is not told. Reasons for True: Issued. For False, after which it
// is tried again: PolicyNotFound, KeysMissing, StoreUnreachable, StoreLost. For False,
// finally: Expired, Replaced, Interrupted. For Unknown: NotChecked.
const ConditionIssued ConditionType = "Issued"

// The reasons of an MFATicket's condition, beside those that an MFAReset and a policy
// have too.
const (
	ReasonIssued      ConditionReason = "Issued"
	ReasonExpired     ConditionReason = "Expired"
	ReasonReplaced    ConditionReason = "Replaced"
	ReasonInterrupted ConditionReason = "Interrupted"
)
