package edge

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strings"
)

// problem is an answer that the edge makes itself. Codes and their HTTP statuses are Cloudflare's:
// https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-1xxx-errors/
type problem struct {
	status int
	code   int // of Cloudflare's 1xxx errors; 0: none
	title  string
	detail string
}

var (
	badRequest        = &problem{http.StatusBadRequest, 0, "Bad request", "The request could not be understood."}
	uriTooLong        = &problem{http.StatusRequestURITooLong, 0, "URI too long", "The request's URL is longer than this server accepts."}
	bodyTooLarge      = &problem{http.StatusRequestEntityTooLarge, 0, "Payload too large", "The request's body is larger than this server accepts."}
	noRoute           = &problem{http.StatusNotFound, 1016, "There is nothing here yet", "No route leads from this address to a Worker."}
	noScript          = &problem{http.StatusNotFound, 1016, "There is nothing here yet", "The Worker that this address is routed to does not exist."}
	loop              = &problem{http.StatusInternalServerError, 1019, "Workers call one another in a loop", "The Worker that answers for this address was called by itself, directly or through others, too many times."}
	threwException    = &problem{http.StatusInternalServerError, 1101, "Worker threw exception", "The Worker that answers for this address failed with a JavaScript exception."}
	exceededResources = &problem{http.StatusServiceUnavailable, 1102, "Worker exceeded resource limits", "The Worker that answers for this address used more than it may."}
	internalError     = &problem{http.StatusInternalServerError, 0, "Internal server error", "The server failed to answer. It is not the Worker's fault."}
	clientGone        = &problem{499, 0, "Client closed request", "The client went away before the answer."}
)

//go:embed problem.html
var pageSource string

var page = template.Must(template.New("problem").Parse(pageSource))

// fail answers with a page for people, or JSON for programs, by the Accept header.
func (e *Edge) fail(w http.ResponseWriter, r *http.Request, ray string, p *problem) {
	h := w.Header()
	h.Set("Cache-Control", "private, no-store")
	if r.ContentLength != 0 {
		h.Set("Connection", "close") // answer now, and do not wait for a body that nobody wants
	}
	if p.code != 0 {
		h.Set("Cf-Error-Code", fmt.Sprint(p.code))
	}
	view := struct {
		Status int    `json:"status"`
		Code   int    `json:"error_code,omitempty"`
		Title  string `json:"title"`
		Detail string `json:"detail"`
		Ray    string `json:"ray_id"`
		Host   string `json:"host"`
	}{p.status, p.code, p.title, p.detail, ray, r.Host}
	accept := r.Header.Get("Accept")
	switch {
	case strings.Contains(accept, "application/json") || strings.Contains(accept, "+json"):
		h.Set("Content-Type", "application/json")
		w.WriteHeader(p.status)
		json.NewEncoder(w).Encode(view)
	case strings.Contains(accept, "text/html"):
		h.Set("Content-Type", "text/html; charset=UTF-8")
		w.WriteHeader(p.status)
		if err := page.Execute(w, view); err != nil {
			e.lg.Debug("error page not sent", "err", err)
		}
	default:
		h.Set("Content-Type", "text/plain; charset=UTF-8")
		w.WriteHeader(p.status)
		if p.code != 0 {
			fmt.Fprintf(w, "error code: %d\n", p.code)
		} else {
			fmt.Fprintln(w, p.title)
		}
	}
}
