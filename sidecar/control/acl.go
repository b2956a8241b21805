package control

// ACL returns the rules of a Redis user for the sidecars of one namespace, for ACL
// SETUSER; a password comes on top. The user reaches the users' records of every
// workspace of the namespace, may say heartbeats, and may read policy records but
// not write them: those are the controller's. It needs Redis 7.
//
// SCAN, which the sweep for older keys needs, knows no rights on keys: the user can
// list the names of everybody's keys, which are namespaces, workspaces and opaque
// ids, but reads no value of another namespace.
func ACL(prefix, namespace string) []string {
	keys := prefix + ":{" + namespace
	return []string{
		"on", "resetkeys",
		// The closing brace and the slash end the namespace's name: another one that
		// only begins alike does not match.
		"%R~" + keys + "}:policy:*", "~" + keys + "}:heartbeats:*", "~" + keys + "/*",
		"resetchannels", "-@all",
		"+eval", "+evalsha", "+get", "+getrange", "+set", "+del", "+exists", "+pexpire", "+persist",
		"+hget", "+hgetall", "+hset", "+hdel", "+hexists", "+hincrby", "+hkeys", "+scan",
		"+time", "+ping", "+info", "+wait", "+select", "+cluster|slots", "+command",
	}
}
