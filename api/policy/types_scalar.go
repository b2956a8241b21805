package policy

import (
	"encoding/json"
	"fmt"
	"time"
)

// The names below stand for string and int where the schema of the resource
// has one rule for several fields.
type (
	// pathText is a canonical path: CanonicalPath says what that is.
	//
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^/([!"$&-\-0-:<->@-\[\]-~][!"$&-.0-:<->@-\[\]-~]*/)*([!"$&-\-0-:<->@-\[\]-~][!"$&-.0-:<->@-\[\]-~]*)?$')`,message=`is not a canonical path; write an absolute path of plain characters, such as "/account/login", without "%", "//", "/.", ";", "\", "#" and "?"`
	pathText = string

	// lineText is one line of plain text.
	//
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[^\pZ\p{Cc}]([^\p{Cc}]*[^\pZ\p{Cc}])?$')`,message="is empty, starts or ends with a space, or holds a control character; write plain text on one line"
	lineText = string

	// roleText is the name of a role, of which something must count.
	//
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'[^\pZ\p{Cc}_-]')`,message="names no role; write at least one letter or digit"
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^([^\pZ\p{Cc}]([^\p{Cc}]*[^\pZ\p{Cc}])?)?$')`,message="starts or ends with a space, or holds a control character; write plain text on one line"
	roleText = string

	// audienceText is a value of a token's aud.
	//
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[^\pZ\p{Cc}]([^\p{Cc}]*[^\pZ\p{Cc}])?$')`,message="is empty, starts or ends with a space, or holds a control character; write plain text on one line"
	audienceText = string

	// pointerText is a JSON pointer to a member of an object.
	//
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule=`self.startsWith('/')`,message=`is not a JSON pointer; start it with "/", such as "/user/id"`
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^([^~]|~[01])*$')`,message=`holds a "~" that escapes nothing; write "~0" for "~" and "~1" for "/"`
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^([^\p{Cc}]*[^\pZ\p{Cc}])?$')`,message="ends with a space, or holds a control character; write plain text on one line"
	pointerText = string

	// cookieText is the name of a cookie that is not one of the sidecar's own.
	//
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[!#$%&\x27*+.^_\x60|~0-9A-Za-z-]+$')`,message=`is not a cookie name; write letters, digits and "-" or "_", at most 128`
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r'^(?i)(__Host-)?sallyport')`,message="is a name that the sidecar keeps for its own cookies; write the cookie that the app sets"
	cookieText = string

	// headerText is the name of a header that can carry an identity.
	//
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[!#$%&\x27*+.^_\x60|~0-9A-Za-z-]+$')`,message=`is not a header name; write one such as "X-Forwarded-User"`
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r'^(?i)(authorization|connection|content-length|cookie|host|keep-alive|proxy-authorization|proxy-connection|set-cookie|te|trailer|transfer-encoding|upgrade|x-forwarded-for|x-forwarded-host|x-forwarded-proto|(x-)?sallyport-.*)$')`,message="has another meaning and cannot carry an identity; write the header that the proxy sets"
	headerText = string

	// methodText is an HTTP method.
	//
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[!#$%&\x27*+.^_\x60|~0-9A-Z-]+$')`,message="is not an HTTP method; write it in upper case, such as GET"
	methodText = string

	// schemeText is an authentication scheme (RFC 9110, section 11.1).
	//
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[!#$%&\x27*+.^_\x60|~0-9A-Za-z-]+$')`,message=`is not a scheme of the Authorization header; write one such as "Bearer"`
	schemeText = string

	// proxyText is a CIDR that does not trust everybody.
	//
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule=`isCIDR(self) || isIP(self)`,message=`is not a CIDR, or an IPv4 range in IPv6 form, which would match nobody; write one such as "10.0.0.0/8"`
	// +kubebuilder:validation:XValidation:rule=`!isIP(self)`,message=`is an address and not a CIDR; add "/32" to an IPv4 address, "/128" to an IPv6 address`
	// +kubebuilder:validation:XValidation:rule=`!isCIDR(self) || cidr(self).prefixLength() > 0`,message="trusts everybody, so that anyone could name themselves; list the proxy's own addresses"
	// +kubebuilder:validation:XValidation:rule=`!isCIDR(self) || cidr(self).prefixLength() == 0 || cidr(self) == cidr(self).masked()`,message=`has bits beyond its length; write the range's first address, or "/32" (IPv6: "/128") for the one address`
	proxyText = string

	// secretName is the name of a Secret.
	//
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$')`,message="is not the name of a Secret; write one of the policy's own namespace"
	secretName = string

	// statusCode is one of HTTP's.
	//
	// +kubebuilder:validation:XValidation:rule="self >= 100 && self <= 599",message="is not a status code; write one from 100 to 599"
	statusCode = int
)

// Duration is a time span written as Go writes it: "15m", "24h", "0s".
//
// +kubebuilder:validation:Type=string
// +kubebuilder:validation:MaxLength=32
type Duration struct{ time.Duration }

// MarshalJSON writes the duration as a string.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads the duration from a string such as "15m".
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf(`must be a duration such as "15m" or "24h"`)
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf(`%q is not a duration; write one such as "15m" or "24h"`, s)
	}
	d.Duration = v
	return nil
}

// Port is a container port by number, or by the name a pod declares.
//
// +kubebuilder:validation:Type=""
// +kubebuilder:validation:XIntOrString
// +kubebuilder:validation:MaxLength=15
type Port struct {
	Number int32  `json:"-"`
	Name   string `json:"-"`
}

// MarshalJSON writes the number, or the name where there is one.
func (p Port) MarshalJSON() ([]byte, error) {
	if p.Name != "" {
		return json.Marshal(p.Name)
	}
	return json.Marshal(p.Number)
}

// UnmarshalJSON reads a number or a name.
func (p *Port) UnmarshalJSON(b []byte) error {
	*p = Port{}
	if json.Unmarshal(b, &p.Number) == nil {
		return nil
	}
	p.Number = 0
	if json.Unmarshal(b, &p.Name) == nil {
		return nil
	}
	return fmt.Errorf("must be a port number or the name of a container port")
}
