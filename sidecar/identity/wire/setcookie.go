package wire

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// SetCookie is what a Set-Cookie line does to a browser.
type SetCookie struct {
	Pair
	// Ended is true where the line takes the cookie from the browser.
	Ended bool
}

// ReadSetCookie reads a Set-Cookie line the way a browser does (RFC 6265,
// section 5.2): leniently, so that no line that a browser obeys goes unseen.
func ReadSetCookie(line string, now time.Time) SetCookie {
	first, attributes, _ := strings.Cut(line, ";")
	name, value, ok := strings.Cut(first, "=")
	c := SetCookie{Pair: Pair{Name: strings.Trim(name, blank), Value: strings.Trim(value, blank), Bare: !ok}}
	c.Ended = c.Value == "" || expired(attributes, now)
	return c
}

// expired reads Max-Age and Expires. Max-Age wins, and of each the last one that
// can be read.
func expired(attributes string, now time.Time) bool {
	var byAge, aged, byDate bool
	for attribute := range strings.SplitSeq(attributes, ";") {
		name, value, _ := strings.Cut(attribute, "=")
		value = strings.Trim(value, blank)
		switch strings.ToLower(strings.Trim(name, blank)) {
		case "max-age":
			if age, err := strconv.ParseInt(value, 10, 64); err == nil {
				byAge, aged = age <= 0, true
			}
		case "expires":
			if at, ok := readDate(value); ok {
				byDate = !at.After(now)
			}
		}
	}
	if aged {
		return byAge
	}
	return byDate
}

func readDate(value string) (time.Time, bool) {
	if at, err := http.ParseTime(value); err == nil {
		return at, true
	}
	for _, layout := range []string{"Mon, 02-Jan-2006 15:04:05 MST", "Mon, 02 Jan 2006 15:04:05 -0700"} {
		if at, err := time.Parse(layout, value); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}
