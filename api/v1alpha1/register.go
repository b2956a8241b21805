package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the API group of MFAPolicy, and the prefix of every annotation,
// label and finalizer that is ours.
const GroupName = "mfa.sallyport.dev"

// GroupVersion is the group and version of this package.
var GroupVersion = schema.GroupVersion{Group: GroupName, Version: "v1alpha1"}

// SchemeGroupVersion is GroupVersion, by the name that generated code expects.
var SchemeGroupVersion = GroupVersion

// AddToScheme registers the types of this package.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &MFAPolicy{}, &MFAPolicyList{}, &MFAReset{}, &MFAResetList{}, &MFATicket{}, &MFATicketList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
