// Package controllers turns MFAPolicies into what the cluster and the sidecars
// obey: keys, the published record, admission rules, network policies and status.
//
// Reconcile is a table of contents: it runs the steps in their order, and each
// step's comment names the conditions it sets. A step that cannot do its work says
// so in its condition and never undoes what an earlier, good pass has put in force:
// the last good rules stay.
//
// It may import api, its own sub-packages, and of the sidecar's side control, seal,
// redisstore and mfa: the channel, the key ring, the way to Redis and what a ticket
// is there. It must never
// write a Secret's content to a log, an event or a condition, and never take a
// missing record for permission.
package controllers
