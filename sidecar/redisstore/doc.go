// Package redisstore keeps what all sidecars share in Redis: a single server, a
// Sentinel-watched one or a Cluster. It implements mfa.Store.
//
// Every change is one Lua script of scripts/ on the keys of one user, which
// share a hash tag and so a cluster slot. Time, where it matters, is the
// server's. Scripts that the client may repeat after a lost answer recognise
// their own work.
//
// # Keys
//
// P is the prefix, R the realm (namespace/workspace), U the user's name, a keyed
// hash.
//
//	P:{R:U}:u       hash    the enrolment; no lifetime
//	P:{R:U}:f       hash    what is counted against the user; 31 days, for ever while a factor is switched off
//	P:{R:U}:p:B     string  a sealed pending secret of browser session B; as long as the caller says
//	P:{R:U}:t       string  the user's enrolment ticket, keyed; a day
//	P:{R:U}:s:K     string  the verified sign-in named K; as long as the caller says
//	P:{R}:epoch     string  a random value that is made once
//	P:{R}:probe     string  nothing; written by Check, one minute
//
// Fields of the enrolment. No value is longer than 64 bytes, so that Redis packs
// the hash and a user costs about half a kilobyte:
//
//	v     version of this format, 1
//	g     generation
//	s     sealed seed
//	a     confirmed at, in Unix seconds
//	t     last accepted time step
//	k     key ring version of the recovery codes
//	n     salt of the recovery codes
//	0…98  digest of the unspent recovery code at that index
//
// Fields of the counters, for each factor:
//
//	<factor>:n       consecutive failures
//	<factor>:l       no attempt before this time, in Unix milliseconds
//	<factor>:x       the factor is switched off
//	<factor>:d<day>  failures of that day since 1970, for 30 days
//
// # A lost store
//
// If Redis comes back empty, or is another one, every user would look unenrolled.
// The epoch tells: it is known outside Redis, and a record counts as absent only
// if the epoch, read after it, is the expected one. An epoch that is known and
// missing is never made again.
//
// Redis must not evict (maxmemory-policy noeviction): Check says so.
//
// It may import sidecar/mfa. It must never log, never take an unreadable answer
// for an absent record, and never put a credential into an error.
package redisstore
