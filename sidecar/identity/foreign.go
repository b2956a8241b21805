package identity

// foreignHeaders are the headers by which well-known authenticating proxies say
// who is signed in.
//
// Behind a sidecar every request comes to the app from a loopback address, and
// apps that heed such headers often trust just that. So nobody but a proxy that
// the policy trusts may set them, whatever the source is.
var foreignHeaders = [...]string{
	"Remote-User", "Remote-Name", "Remote-Email", "Remote-Groups", "X-Remote-User", "X-Remote-Group", "X-Remote-Email",
	"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username",
	"X-Forwarded-Access-Token", "X-Forwarded-Id-Token",
	"X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Groups", "X-Auth-Request-Preferred-Username",
	"X-Auth-Request-Access-Token", "X-Auth-User", "X-Auth-Username", "X-Auth-Email",
	"X-Webauth-User", "X-Webauth-Email", "X-Webauth-Name", "X-Webauth-Groups",
	"X-Authentik-Username", "X-Authentik-Email", "X-Authentik-Groups", "X-Authentik-Name", "X-Authentik-Uid",
	"X-Goog-Authenticated-User-Email", "X-Goog-Authenticated-User-Id", "X-Ms-Client-Principal",
	"X-Ms-Client-Principal-Name", "X-Ms-Client-Principal-Id", "X-Amzn-Oidc-Identity", "X-Amzn-Oidc-Data",
	"X-Pomerium-Jwt-Assertion", "Cf-Access-Authenticated-User-Email", "Cf-Access-Jwt-Assertion",
	"X-Ssl-Client-Dn", "X-Ssl-Client-Verify", "Ssl-Client-Dn",
	"X-Authenticated-User", "X-Authenticated-Userid",
}
