package portal

import (
	"slices"
	"strings"
)

// User is a person who may sign in, with the user name or the e-mail address.
type User struct {
	// ID is stable for as long as the person works here.
	ID       string
	Username string
	Email    string
	Name     string
	Roles    []string
	// Password in clear. The portal keeps a hash of it only.
	Password string
	// Department and Location are shown on the profile page where set.
	Department string
	Location   string
}

// The roles that the portal knows.
const (
	roleEmployee           = "employee"
	roleAdministrator      = "administrator"
	roleITAdministrator    = "it-administrator"
	roleSuperAdministrator = "super-administrator"
)

// DemoUsers returns one user for every role. The password of each is the user
// name followed by "-demo".
func DemoUsers() []User {
	return []User{
		demoUser("u-1001", "alice", "Alice Moreau", roleEmployee, "Customer care", "Lyon"),
		demoUser("u-1002", "adam", "Adam Novak", roleAdministrator, "Operations", "Prague"),
		demoUser("u-1003", "ines", "Ines Duarte", roleITAdministrator, "IT services", "Lisbon"),
		demoUser("u-1004", "root", "Robin Oost", roleSuperAdministrator, "Platform", "Utrecht"),
	}
}

func demoUser(id, username, name, role, department, location string) User {
	return User{
		ID: id, Username: username, Email: username + "@acme.example", Name: name,
		Roles: []string{role}, Password: username + "-demo",
		Department: department, Location: location,
	}
}

// RoleLabel is how people read the user's roles.
func (u User) RoleLabel() string {
	labels := make([]string, 0, len(u.Roles))
	for _, role := range u.Roles {
		switch role {
		case roleEmployee:
			labels = append(labels, "Employee")
		case roleAdministrator:
			labels = append(labels, "Administrator")
		case roleITAdministrator:
			labels = append(labels, "IT administrator")
		case roleSuperAdministrator:
			labels = append(labels, "Super-administrator")
		default:
			labels = append(labels, role)
		}
	}
	return strings.Join(labels, ", ")
}

// Admin reports whether the user may open the administration pages.
func (u User) Admin() bool {
	return slices.ContainsFunc(u.Roles, func(role string) bool {
		return role == roleAdministrator || role == roleITAdministrator || role == roleSuperAdministrator
	})
}

// FirstName is what the dashboard greets the user with.
func (u User) FirstName() string {
	first, _, _ := strings.Cut(u.Name, " ")
	return first
}

// Initials stand where other portals show a photograph.
func (u User) Initials() string {
	var initials []rune
	for word := range strings.FieldsSeq(u.Name) {
		initials = append(initials, []rune(word)[0])
	}
	return strings.ToUpper(string(initials[:min(len(initials), 2)]))
}
