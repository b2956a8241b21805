package redisstore

// ACL returns the rules of a Redis user who can do what a Store of the realm
// does and no more, for ACL SETUSER; a password comes on top. The user reaches
// the keys of this realm alone; by SCAN, which the sweep needs, it can list the names
// of the others too.
func ACL(prefix, realm string) []string {
	keys := prefix + ":{" + realm
	return []string{
		"on", "resetkeys", "~" + keys + ":*", "~" + keys + "}:*", "resetchannels", "-@all",
		"+eval", "+evalsha", "+get", "+set", "+del", "+exists", "+pexpire", "+persist",
		"+hget", "+hgetall", "+hset", "+hdel", "+hexists", "+hincrby", "+hkeys", "+scan",
		"+time", "+ping", "+info", "+wait", "+select", "+cluster|slots", "+command",
	}
}
