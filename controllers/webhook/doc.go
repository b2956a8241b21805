// Package webhook is the injector's thin side: it answers the API server, and has
// controllers/injection do the work.
//
// Which policy governs a pod is decided here from all policies of the pod's
// namespace, never from the pod: no label or annotation opts out. Whatever is not
// certain refuses the pod with a sentence that says what to do, for the rule that
// sent it here stands only because a policy selects it.
//
// It may import api, controllers/admission, controllers/injection and
// controllers/selection, and reads policies and namespaces from the manager's cache.
// It must never write to a cluster, so a dry run needs no care, and never log what a
// pod holds.
package webhook
