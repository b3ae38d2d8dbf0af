package assets

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/durable"
)

// rig is Sites over an empty store of blobs.
type rig struct {
	*Sites
	t testing.TB
}

func newRig(t testing.TB, opts Options) *rig {
	t.Helper()
	blobs, err := durable.OpenBlobs(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &rig{NewSites(nil, blobs, opts), t}
}

// version stores files, by path, and makes a version of them. Types are by the files' names.
func (r *rig) version(files map[string]string, config atoll.AssetsConfig) *atoll.Version {
	r.t.Helper()
	var list []entry
	for path, content := range files {
		hash, err := r.blobs.PutBytes(r.t.Context(), []byte(content))
		if err != nil {
			r.t.Fatal(err)
		}
		list = append(list, entry{Path: path, Blob: hash, Size: int64(len(content)), Type: typeOf(path)})
	}
	hash, err := r.blobs.PutBytes(r.t.Context(), encodeList(list))
	if err != nil {
		r.t.Fatal(err)
	}
	return &atoll.Version{ID: atoll.VersionID(atoll.NewUUID()), CompatibilityDate: "2026-01-01",
		Assets: &atoll.Assets{Manifest: hash, Files: len(list), Config: config}}
}

// site is version, ready to be asked.
func (r *rig) site(files map[string]string, config atoll.AssetsConfig, change ...func(*atoll.Version)) *Site {
	r.t.Helper()
	v := r.version(files, config)
	for _, c := range change {
		c(v)
	}
	s, err := r.Site(r.t.Context(), v)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// withWorker makes a version one that has a Worker.
func withWorker(v *atoll.Version) { v.MainModule = "worker.js" }

// got is what a site answered, or where it sent the request.
type got struct {
	status int
	header http.Header
	body   string
	route  Route
}

// ask sends a request to the site of a script. Headers are name, value, ...
func (r *rig) ask(s *Site, method, target string, header ...string) got {
	r.t.Helper()
	return r.send(s, &Request{Method: method, Target: target}, header...)
}

func (r *rig) send(s *Site, req *Request, header ...string) got {
	r.t.Helper()
	req.Header = http.Header{}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	if req.Scheme == "" {
		req.Scheme = "http"
	}
	if req.Host == "" {
		req.Host = "example.com"
	}
	w := httptest.NewRecorder()
	a, route, err := s.Answer(req, w.Header())
	if err != nil {
		r.t.Fatalf("%s %s: %v", req.Method, req.Target, err)
	}
	if a == nil {
		return got{route: route}
	}
	if err := a.Send(w); err != nil {
		r.t.Fatalf("%s %s: %v", req.Method, req.Target, err)
	}
	res := w.Result()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return got{res.StatusCode, res.Header, string(body), route}
}
