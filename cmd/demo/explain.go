package main

import (
	"fmt"
	"io"
	"path/filepath"
)

// demoPolicy is the policy that the first start writes. From then on the file is
// its reader's.
const demoPolicy = `# The policy of the demo. Change it while the demo runs: every open browser obeys
# within a second or two. A broken edit changes nothing; the log and
# http://127.0.0.1:9090/readyz say why.
apiVersion: mfa.sallyport.dev/v1alpha1
kind: MFAPolicy
metadata:
  name: portal
  namespace: demo
spec:
  selector: {matchLabels: {app: portal}}

  # The two levers. Flip one, then open any page of the workspace.
  requireForEveryone: false
  requireForAdmins: false
  adminRoles: [administrator, it-administrator, super-administrator]

  issuer: Acme portal

  app:
    port: 8080
    signInPath: /login
    signOut: {path: /logout, method: POST}
    passwordCheck:
      type: Form
      path: /login
      usernameField: username
      passwordField: password
      success: {status: [302, 303], notLocation: /login}

  identity:
    type: Endpoint
    endpoint:
      path: /api/me
      cookies: [session]
      subject: /id
      account: /username
      roles: /roles

  exempt:
    - {path: /healthz}
    - {prefix: /static/, methods: [GET, HEAD]}
`

const explanation = `
  Sallyport demo: a workspace app with a second door.

  Open      http://127.0.0.1:%[1]s

  Sign in   alice  alice-demo   employee
            adam   adam-demo    administrator
            ines   ines-demo    IT administrator
            root   root-demo    super-administrator

  Try       1. Sign in as alice. Open My profile and select Set up two-factor.
            2. Scan the QR code with an authenticator app and confirm a code.
               No phone at hand? Copy the secret and run: oathtool -b --totp SECRET
            3. Save the recovery codes. Sign out, sign in: there is the second door.
            4. Flip requireForEveryone in %[2]s
               and open any page as adam: the workspace asks him to enrol.

  Policy    %[2]s   (edit it while the demo runs)
  State     %[3]s
  Health    http://127.0.0.1:%[4]s/readyz   metrics at /metrics
  Log       %[5]s

  Ctrl-C ends the demo.

`

func (s settings) explain(out io.Writer) {
	state := "in memory; gone when the demo ends (keep it: make demo REDIS=redis://127.0.0.1:6379)"
	if s.redis != "" {
		state = "in the Redis you named; enrolments survive a restart"
	}
	log := filepath.Join(s.dir, "sidecar.log")
	if s.verbose {
		log = "this terminal"
	}
	fmt.Fprintf(out, explanation, s.port, filepath.Join(s.dir, "policy.yaml"), state, s.opsPort, log)
}
