package egress

import (
	"net/http"
	"net/url"

	"atoll.dev/atoll/internal/hop"
)

// toAPI hands a subrequest to the node's own API as if it had come over the network.
func (g *Gate) toAPI(w http.ResponseWriter, r *http.Request, api http.Handler, m *Meter) {
	m.Kind = API
	in := r.Clone(r.Context())
	in.Header = hop.Clean(r.Header)
	if r.ContentLength != 0 {
		in.Body = m.Body(r.Body)
	}
	in.RequestURI = hop.Target(r)
	if u, err := url.ParseRequestURI(in.RequestURI); err == nil {
		in.URL = u
	}
	api.ServeHTTP(&recorder{ResponseWriter: w, m: m}, in)
}

// recorder notes what a handler answers.
type recorder struct {
	http.ResponseWriter
	m *Meter
}

// Unwrap implements the protocol of http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) WriteHeader(status int) {
	if r.m.Status == 0 {
		r.m.Status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.m.Status == 0 {
		r.m.Status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.m.received.Add(int64(n))
	return n, err
}
