package policy

// The identity of the manifests that this package reads.
const (
	// APIVersion of an MFAPolicy manifest.
	APIVersion = "mfa.sallyport.dev/v1alpha1"
	// Kind of an MFAPolicy manifest.
	Kind = "MFAPolicy"
	// MaxManifest is the size in bytes beyond which no manifest is read.
	MaxManifest = 256 << 10
)

// Manifest is what a sidecar needs of an MFAPolicy manifest.
//
// +kubebuilder:object:generate=false
type Manifest struct {
	// Name of the policy.
	Name string
	// Namespace of the policy, "" where the manifest names none.
	Namespace string
	// Generation of the policy, 0 for a manifest that never was in a cluster.
	Generation int64
	// Rules of the policy, with their defaults, valid.
	Rules Rules
}

// DecodeManifest reads an MFAPolicy manifest in JSON. It is strict: names are
// case-sensitive, and what is unknown, written twice, of a wrong type or
// invalid is refused. Its error is of type Faults and holds every fault, except
// where the document is not an MFAPolicy at all.
//
// What only a cluster can act on (selector, capture, rollout, sidecar) is
// checked and left out; metadata's other fields and status are ignored.
func DecodeManifest(doc []byte) (*Manifest, error) {
	var f Faults
	if len(doc) > MaxManifest {
		f.add("", "the manifest is larger than %d bytes; write a smaller one", MaxManifest)
		return nil, f
	}
	root, f := parseJSON(doc, "")
	if root == nil {
		return nil, f
	}
	if wrong := checkKind(root); len(wrong) > 0 {
		return nil, wrong
	}
	var m document
	f = append(f, decodeStrict(root, &m, "")...)
	if root.member("spec") == nil {
		f.add("spec", "is required; write the policy's rules")
	}
	readFaults := len(f)
	m.Metadata.check(&f)
	m.Spec.checkCluster(&f)
	m.Spec.SetDefaults(m.Metadata.nameForDefaults())
	f = append(f, m.Spec.Validate()...)
	if err := withoutMoot(f, readFaults).Err(); err != nil {
		return nil, err
	}
	return &Manifest{
		Name:       m.Metadata.Name,
		Namespace:  m.Metadata.Namespace,
		Generation: m.Metadata.Generation,
		Rules:      m.Spec.Rules,
	}, nil
}

// withoutMoot drops what validation says about fields that could not even be
// read, which are the faults of the first n.
func withoutMoot(f Faults, n int) Faults {
	kept := f[:n:n]
	unread := make(map[string]bool, n)
	for _, fault := range kept {
		unread[fault.Path] = true
	}
	for _, fault := range f[n:] {
		if !fault.inside(unread) {
			kept = append(kept, fault)
		}
	}
	return kept
}

// checkKind keeps a manifest of another kind from being answered with a fault
// for each of its fields.
func checkKind(root *node) Faults {
	var f Faults
	if root.kind != kindObject {
		f.add("", "the manifest is %s; write an object with apiVersion, kind, metadata and spec", root.kind)
		return f
	}
	for _, want := range []struct{ name, value string }{{"apiVersion", APIVersion}, {"kind", Kind}} {
		switch got := root.member(want.name); {
		case got == nil:
			f.add(want.name, "is required; write %s", want.value)
		case got.kind != kindText || got.text != want.value:
			f.add(want.name, "must be %s; this is not a manifest of that kind", want.value)
		}
	}
	return f
}

// document is the whole manifest. Fields of type any are accepted as they are.
type document struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Metadata   objectMeta   `json:"metadata"`
	Spec       manifestSpec `json:"spec"`
	Status     any          `json:"status"`
}

// objectMeta has the names of Kubernetes' ObjectMeta.
type objectMeta struct {
	Name                       string `json:"name"`
	Namespace                  string `json:"namespace"`
	Generation                 int64  `json:"generation"`
	GenerateName               any    `json:"generateName"`
	SelfLink                   any    `json:"selfLink"`
	UID                        any    `json:"uid"`
	ResourceVersion            any    `json:"resourceVersion"`
	CreationTimestamp          any    `json:"creationTimestamp"`
	DeletionTimestamp          any    `json:"deletionTimestamp"`
	DeletionGracePeriodSeconds any    `json:"deletionGracePeriodSeconds"`
	Labels                     any    `json:"labels"`
	Annotations                any    `json:"annotations"`
	OwnerReferences            any    `json:"ownerReferences"`
	Finalizers                 any    `json:"finalizers"`
	ManagedFields              any    `json:"managedFields"`
}

func (m *objectMeta) check(f *Faults) {
	switch {
	case m.Name == "":
		f.add("metadata.name", "is required; name the policy")
	case !dnsSubdomain(m.Name):
		f.add("metadata.name", "%s is not a name; write lower-case letters, digits, \"-\" and \".\"", quote(m.Name))
	}
	if m.Namespace != "" && !dnsLabel(m.Namespace) {
		f.add("metadata.namespace", "%s is not a namespace; write at most 63 lower-case letters, digits and \"-\"",
			quote(m.Namespace))
	}
	if m.Generation < 0 {
		f.add("metadata.generation", "%d is negative; remove it", m.Generation)
	}
}

// nameForDefaults stands in for a name that is at fault itself, so that the
// defaults which follow from it are not reported as faults too.
func (m *objectMeta) nameForDefaults() string {
	if m.Name == "" || !dnsSubdomain(m.Name) {
		return "policy"
	}
	return m.Name
}
