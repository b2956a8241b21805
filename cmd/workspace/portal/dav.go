package portal

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// davPath is the WebDAV folder that lists a user's documents.
const davPath = "/dav"

// multistatus is WebDAV's answer to PROPFIND (RFC 4918).
type multistatus struct {
	XMLName   xml.Name   `xml:"DAV: multistatus"`
	Responses []davEntry `xml:"DAV: response"`
}

type davEntry struct {
	Href     string   `xml:"DAV: href"`
	PropStat propStat `xml:"DAV: propstat"`
}

type propStat struct {
	Prop   davProp `xml:"DAV: prop"`
	Status string  `xml:"DAV: status"`
}

type davProp struct {
	DisplayName  string      `xml:"DAV: displayname"`
	ResourceType davResource `xml:"DAV: resourcetype"`
	Length       *int64      `xml:"DAV: getcontentlength,omitempty"`
	Modified     string      `xml:"DAV: getlastmodified,omitempty"`
}

type davResource struct {
	Collection *struct{} `xml:"DAV: collection,omitempty"`
}

// dav serves the folder read-only: enough for a client that signs in with Basic
// credentials to see what is there.
func (p *Portal) dav(w http.ResponseWriter, r *http.Request) error {
	if strings.TrimSuffix(r.URL.Path, "/") != davPath {
		return &httpError{status: http.StatusNotFound, message: "The portal keeps no contents of documents."}
	}
	switch r.Method {
	case http.MethodOptions:
		w.Header().Set("Dav", "1")
		w.Header().Set("Allow", "OPTIONS, GET, HEAD, PROPFIND")
		w.WriteHeader(http.StatusNoContent)
		return nil
	case http.MethodGet, http.MethodHead:
		return p.davText(w, r)
	case "PROPFIND":
		return p.propfind(w, r)
	default:
		return notAllowed("OPTIONS", "GET", "HEAD", "PROPFIND")
	}
}

func (p *Portal) davText(w http.ResponseWriter, r *http.Request) error {
	var list strings.Builder
	for _, doc := range p.documents.list(callerOf(r).user.ID) {
		fmt.Fprintf(&list, "%s\t%d\n", doc.Name, doc.Size)
	}
	plainText(list.String())(w, r)
	return nil
}

func (p *Portal) propfind(w http.ResponseWriter, r *http.Request) error {
	answer := multistatus{Responses: []davEntry{entry(davPath+"/", davProp{
		DisplayName: "Documents", ResourceType: davResource{Collection: &struct{}{}},
	})}}
	if r.Header.Get("Depth") != "0" {
		for _, doc := range p.documents.list(callerOf(r).user.ID) {
			answer.Responses = append(answer.Responses, entry(davPath+"/"+url.PathEscape(doc.Name), davProp{
				DisplayName: doc.Name, Length: new(doc.Size),
				Modified: doc.At.UTC().Format(http.TimeFormat),
			}))
		}
	}
	body, err := xml.Marshal(answer)
	if err != nil {
		return fmt.Errorf("encode a folder: %w", err)
	}
	w.Header().Set("Content-Type", "application/xml; charset=utf-8")
	w.WriteHeader(http.StatusMultiStatus)
	_, _ = w.Write(append([]byte(xml.Header), body...)) // a client that has gone needs no answer
	return nil
}

func entry(href string, prop davProp) davEntry {
	return davEntry{Href: href, PropStat: propStat{Prop: prop, Status: "HTTP/1.1 200 OK"}}
}
