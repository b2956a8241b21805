package v1alpha1_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	applyv1alpha1 "github.com/sallyport/sallyport/api/applyconfiguration/api/v1alpha1"
)

// Whoever applies one lever owns that lever and nothing else.
func TestApplyConfigurationSaysOnlyWhatWasSet(t *testing.T) {
	lever := applyv1alpha1.MFAPolicy("portal", "acme").WithSpec(applyv1alpha1.MFAPolicySpec().WithRequireForEveryone(true))
	encoded, err := json.Marshal(lever)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"kind":"MFAPolicy","apiVersion":"mfa.sallyport.dev/v1alpha1","metadata":{"name":"portal","namespace":"acme"},"spec":{"requireForEveryone":true}}`
	if diff := cmp.Diff(want, string(encoded)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
