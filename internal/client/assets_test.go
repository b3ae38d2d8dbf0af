package client

import (
	"context"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"testing"

	"atoll.dev/atoll/internal/wire"
)

// A session is asked for with the client's token, and the files go with the session's.
func TestAssets(t *testing.T) {
	parts := map[string]string{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Authorization") + " " + r.Method + " " + r.RequestURI {
		case "Bearer secret POST /client/v4/accounts/" + string(acct) + "/workers/dispatch/namespaces/my%20ns/scripts/alice/assets-upload-session":
			if b, _ := io.ReadAll(r.Body); string(b) != `{"manifest":{"/a":{"hash":"h1","size":1}}}` {
				t.Errorf("manifest: %s", b)
			}
			io.WriteString(w, ok(`{"jwt":"j1","buckets":[["h1"]]}`))
		case "Bearer j1 POST /client/v4/accounts/" + string(acct) + "/workers/assets/upload?base64=false":
			form, err := r.MultipartReader()
			if err != nil {
				t.Fatal(err)
			}
			var p *multipart.Part
			for p, err = form.NextPart(); err == nil; p, err = form.NextPart() {
				b, _ := io.ReadAll(p)
				parts[p.FormName()] = string(b)
			}
			w.WriteHeader(http.StatusCreated)
			io.WriteString(w, ok(`{"jwt":"j2"}`))
		default:
			t.Errorf("%s %s with %s", r.Method, r.RequestURI, r.Header.Get("Authorization"))
		}
	}))
	defer srv.Close()
	c := newClient(t, srv.URL)
	s, err := c.BeginAssets(context.Background(), user, map[string]wire.AssetsFile{"/a": {Hash: "h1", Size: 1}})
	if err != nil || s.JWT != "j1" || len(s.Buckets) != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	done, err := c.UploadAssets(context.Background(), s.JWT, map[string][]byte{"h1": {0}, "h2": nil})
	if err != nil || done.JWT != "j2" || len(parts) != 2 || parts["h1"] != "\x00" {
		t.Errorf("%+v, %v, parts %q", done, err, parts)
	}
}
