package policy

// App describes the protected app.
//
// +kubebuilder:validation:XValidation:fieldPath=".twoFactorPath",rule=`[self.?twoFactorPath.orValue('/my/profile/two-factor')].all(own, [self.?signInPath.orValue('/login'), self.?signOut.path.orValue('/logout'), self.?passwordCheck.path.orValue('/login')].all(p, p != own && !p.startsWith(own + '/')))`,message="covers signInPath, signOut.path or passwordCheck.path, which must reach the app; write a prefix that the app does not use"
type App struct {
	// port is the app's container port: a number from 1 to 65535, or the name of
	// a port that the pod declares. Required. Example: 8080.
	// +kubebuilder:validation:XValidation:rule=`type(self) != int || (self >= 1 && self <= 65535)`,message="is not a port; write a number from 1 to 65535"
	// +kubebuilder:validation:XValidation:rule=`type(self) != string || !string(self).matches(r'^[+-]?[0-9]+$')`,message="is text; write the number without quotes"
	// +kubebuilder:validation:XValidation:rule=`type(self) != string || string(self).matches(r'^([0-9]+-)*[0-9]*[a-z][a-z0-9]*(-[a-z0-9]+)*$') || string(self).matches(r'^[+-]?[0-9]+$')`,message=`is not the name of a container port; write at most 15 lower-case letters, digits and single "-", at least one of them a letter`
	// +kubebuilder:validation:XValidation:rule=`type(self) == int || type(self) == string`,message="is neither; write a number from 1 to 65535, or the port's name"
	Port Port `json:"port"`
	// twoFactorPath is the prefix under which the sidecar serves its pages. The
	// app never sees a request below it, so that it must be one that the app does
	// not use. Default: /my/profile/two-factor. Example: /account/two-factor.
	// +kubebuilder:validation:XValidation:rule=`self != '/'`,message=`would leave the app no path of its own; write one that the app does not use, such as "/my/profile/two-factor"`
	// +kubebuilder:validation:XValidation:rule=`self == '/' || !self.endsWith('/')`,message=`ends in "/"; write it without`
	TwoFactorPath pathText `json:"twoFactorPath,omitempty"`
	// signInPath is the app's sign-in page. Where the app has several, name the
	// one that browsers use. Default: /login. Example: /account/login.
	SignInPath pathText `json:"signInPath,omitempty"`
	// signOut is the request that ends the app's session. "Sign in as a different
	// user" sends it too. Default: POST /logout.
	// Example: {path: /account/logout, method: GET}.
	SignOut SignOut `json:"signOut,omitzero"`
	// passwordCheck says how a current password is checked when somebody disables
	// two-factor: the app decides, the sidecar asks it and keeps nothing.
	// Default: the form on signInPath. Example: {type: JSON, path: /api/login,
	// usernameField: email}.
	PasswordCheck PasswordCheck `json:"passwordCheck,omitzero"`
}

// SignOut is the request that ends the app's session.
type SignOut struct {
	// path of the request. Default: /logout. Example: /account/logout.
	Path pathText `json:"path,omitempty"`
	// method of the request: GET, POST or DELETE. Default: POST. Example: GET.
	// +kubebuilder:validation:Enum=GET;POST;DELETE
	Method string `json:"method,omitempty"`
}

// PasswordCheckType names an adapter to the app's own password check.
// +kubebuilder:validation:Enum=Form;JSON;Basic;None
type PasswordCheckType string

// The adapters to the app's own password check.
const (
	// PasswordCheckForm submits the app's sign-in form, hidden fields included.
	PasswordCheckForm PasswordCheckType = "Form"
	// PasswordCheckJSON posts a JSON object with the two fields.
	PasswordCheckJSON PasswordCheckType = "JSON"
	// PasswordCheckBasic sends a GET with HTTP Basic credentials.
	PasswordCheckBasic PasswordCheckType = "Basic"
	// PasswordCheckNone is for apps that have no password: disabling asks for
	// a current code instead.
	PasswordCheckNone PasswordCheckType = "None"
)

// PasswordCheck says how a current password is checked.
//
// +kubebuilder:validation:XValidation:fieldPath=".passwordField",rule=`(has(self.type) && self.type in ['Basic', 'None']) || (has(self.passwordField) ? self.passwordField != 'username' || has(self.usernameField) : !has(self.usernameField) || self.usernameField != 'password') && (!has(self.usernameField) || !has(self.passwordField) || self.usernameField != self.passwordField)`,message="is the usernameField too; write two different fields"
type PasswordCheck struct {
	// type of the check. Form fills in the form on path that has passwordField,
	// with its hidden fields and cookies. JSON posts an object with the two
	// fields to path. Basic sends a GET of path with HTTP Basic credentials. None
	// is for apps without passwords, such as those behind single sign-on: the
	// page asks for a current code instead. Default: Form. Example: JSON.
	Type PasswordCheckType `json:"type,omitempty"`
	// path that is asked. Default: app.signInPath. Example: /api/login.
	Path pathText `json:"path,omitempty"`
	// usernameField carries the account, as identity.*.account names it. At most
	// 128 characters. Default: username. Example: email.
	// +kubebuilder:validation:MaxLength=128
	UsernameField lineText `json:"usernameField,omitempty"`
	// passwordField carries the password. At most 128 characters. Default:
	// password. Example: pass.
	// +kubebuilder:validation:MaxLength=128
	PasswordField lineText `json:"passwordField,omitempty"`
	// success says which answer means that the password is right. Every condition
	// that is set must hold. Default: 302 or 303 that does not lead to the
	// sign-in page for Form, else 200. Example: {status: [204]}.
	Success PasswordSuccess `json:"success,omitzero"`
}

// PasswordSuccess says which answer means that the password is right. Every
// condition that is set must hold.
type PasswordSuccess struct {
	// status lists accepted status codes, at most 16. Default: 302 and 303 for
	// Form, else 200. Example: [200, 204].
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule="size(self) > 0",message="is empty; write the status codes that mean the password is right, such as [200]"
	Status []statusCode `json:"status,omitempty"`
	// notLocation is a path that the answer's Location must not lead to. Default:
	// app.signInPath for Form, else none. Example: /login.
	NotLocation pathText `json:"notLocation,omitempty"`
}
