// Package injection puts the sidecar into a pod. It is a pure function from a pod and
// Settings to a pod: the same input gives the same bytes, an injected pod comes back
// as it went in, and a pod that cannot be protected is refused by a sentence that says
// what to do.
//
// What a real node needs of the injected containers, and why they are as they are:
//
//   - The sidecar's files are of mode 0444. The node writes the files of a Secret as
//     root's; it gives them to the container's user only if they are service account
//     tokens and every container of the pod has one and the same user, and to the
//     pod's fsGroup only if it has one. The pod's users and fsGroup are the app's, so
//     0400 could not be read by the sidecar. What keeps the keys from the app is that
//     no other container mounts them: Inject refuses every pod in which one would.
//     Outside the pod they lie in memory, below a directory that only root may enter.
//   - The service account's token is kept out of the injected containers by a mount
//     of an empty volume at its path. The pod's automountServiceAccountToken is the
//     app's to decide; and once a webhook has changed a pod, the API server runs its
//     own plugins again, of which ServiceAccount adds the token to every container
//     that mounts nothing there. The volume is a downwardAPI without items and not an
//     emptyDir, since a pod with one is not drained from a node without a flag.
//   - A host port stays with the app's container, as an entry of its own that leads to
//     the sidecar's port: the node opens the host ports of regular containers alone.
//     The containers of a pod share their network, so it does not matter whose it is.
//   - Every default that the API server would fill in is written out, so that a pod
//     that comes back through the webhook can be compared with what was injected.
//
// It may import api and the Kubernetes API types and machinery. It must never read a
// clock, a random source or a cluster, never trust an annotation or a container for
// its name alone, and never return a pod that is only half injected.
package injection
