package v1alpha1

// ConditionType names a condition of an MFAPolicy. All but Conflicted are good
// when True.
type ConditionType string

// ConditionReason says, in one CamelCase word, why a condition is as it is. It
// is also the reason of the event that tells of the change.
type ConditionReason string

const (
	// ConditionReady summarises every other condition but DirectAccessBlocked, which
	// is about what surrounds the pods and not about the policy.
	// Reasons for True: Ready. For False: the reason of the first condition that is
	// not as it should be.
	ConditionReady ConditionType = "Ready"
	// ConditionAccepted says that the spec is valid and in force. Where it is False,
	// the last good rules stay in force.
	// Reasons for True: Accepted. For False: Invalid, NamespaceNotAllowed, SecretUnreadable.
	ConditionAccepted ConditionType = "Accepted"
	// ConditionConflicted (good when False) says that an older policy governs some of
	// the pods that this one selects.
	// Reasons for True: OlderPolicyWins. For False: NoConflict.
	ConditionConflicted ConditionType = "Conflicted"
	// ConditionKeysReady says that the keys exist and were delivered to the namespace.
	// Reasons for True: KeysDelivered. For False: KeysMissing, KeysUnreadable.
	ConditionKeysReady ConditionType = "KeysReady"
	// ConditionStoreReady says that Redis answers and is the one that held the
	// enrolments.
	// Reasons for True: StoreReady. For False: StoreUnreachable, StoreLost,
	// StoreMisconfigured, SecretUnreadable. For Unknown: NotChecked.
	ConditionStoreReady ConditionType = "StoreReady"
	// ConditionPublished says that the sidecars are told to obey this generation.
	// Reasons for True: Published. For False: NotAccepted, StoreUnreachable.
	ConditionPublished ConditionType = "Published"
	// ConditionInjectionReady says that new pods get their sidecar.
	// Reasons for True: RulesInstalled. For False: RulesNotInstalled,
	// CertificateNotReady, Deleting.
	ConditionInjectionReady ConditionType = "InjectionReady"
	// ConditionDirectAccessBlocked says that the app cannot be reached without the
	// sidecar, as far as the controller can see.
	// Reasons for True: NoWayAround. For False: WayAround. For Unknown: NotChecked.
	ConditionDirectAccessBlocked ConditionType = "DirectAccessBlocked"
	// ConditionPodsProtected says that every running pod obeys the published rules.
	// Reasons for True: AllProtected, NoPods. For False: PodsStale, PodsUnprotected,
	// Deleting.
	// For Unknown: StoreUnreachable.
	ConditionPodsProtected ConditionType = "PodsProtected"
)

// The reasons of the conditions.
const (
	ReasonReady               ConditionReason = "Ready"
	ReasonAccepted            ConditionReason = "Accepted"
	ReasonInvalid             ConditionReason = "Invalid"
	ReasonNamespaceNotAllowed ConditionReason = "NamespaceNotAllowed"
	ReasonSecretUnreadable    ConditionReason = "SecretUnreadable"
	ReasonOlderPolicyWins     ConditionReason = "OlderPolicyWins"
	ReasonNoConflict          ConditionReason = "NoConflict"
	ReasonKeysDelivered       ConditionReason = "KeysDelivered"
	ReasonKeysMissing         ConditionReason = "KeysMissing"
	ReasonKeysUnreadable      ConditionReason = "KeysUnreadable"
	ReasonStoreReady          ConditionReason = "StoreReady"
	ReasonStoreUnreachable    ConditionReason = "StoreUnreachable"
	ReasonStoreLost           ConditionReason = "StoreLost"
	ReasonStoreMisconfigured  ConditionReason = "StoreMisconfigured"
	ReasonPublished           ConditionReason = "Published"
	ReasonNotAccepted         ConditionReason = "NotAccepted"
	ReasonRulesInstalled      ConditionReason = "RulesInstalled"
	ReasonRulesNotInstalled   ConditionReason = "RulesNotInstalled"
	ReasonCertificateNotReady ConditionReason = "CertificateNotReady"
	ReasonDeleting            ConditionReason = "Deleting"
	ReasonNoWayAround         ConditionReason = "NoWayAround"
	ReasonWayAround           ConditionReason = "WayAround"
	ReasonNotChecked          ConditionReason = "NotChecked"
	ReasonAllProtected        ConditionReason = "AllProtected"
	ReasonNoPods              ConditionReason = "NoPods"
	ReasonPodsStale           ConditionReason = "PodsStale"
	ReasonPodsUnprotected     ConditionReason = "PodsUnprotected"
)
