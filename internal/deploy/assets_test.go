package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"testing"
	"time"

	"atoll.dev/atoll/internal/assets"
	"atoll.dev/atoll/internal/atoll"
)

// newSiteBench is a bench whose service takes assets.
func newSiteBench(t *testing.T) *bench {
	b := newBench(t, Options{})
	b.opts.Assets = assets.NewUploads(nil, b.store, b.blobs, []byte("key"), nil)
	return b
}

// token uploads files for a script and returns what a deploy of them needs. A file's hash is made up of its content.
func (b *bench) token(t *testing.T, ref atoll.ScriptRef, files map[string]string) string {
	t.Helper()
	ctx := context.Background()
	manifest := map[string]any{}
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	for path, content := range files {
		hash := fmt.Sprintf("%x%020x", content, len(content))
		manifest[path] = map[string]any{"hash": hash, "size": len(content)}
		ok(t, w.WriteField(hash, content))
	}
	ok(t, w.Close())
	body, err := json.Marshal(map[string]any{"manifest": manifest})
	ok(t, err)
	session, err := b.opts.Assets.Open(ctx, ref, body)
	ok(t, err)
	if len(session.Buckets) == 0 {
		return session.Token
	}
	token, err := b.opts.Assets.Upload(ctx, assets.Put{Account: ref.Account, Token: session.Token, ContentType: w.FormDataContentType(), Body: &form})
	ok(t, err)
	return token
}

func quote(s string) string { return fmt.Sprintf("%q", s) }

func TestUpload_assets(t *testing.T) {
	b := newSiteBench(t)
	files := map[string]string{"/index.html": "hi", "/a.css": "a{}"}
	token := b.token(t, cust, files)
	s := b.deployed(t, cust, `{"main_module":"w.js","assets":{"jwt":`+quote(token)+`,"config":{"html_handling":"none"}},"bindings":[{"type":"assets","name":"ASSETS"}]}`, "w.js", fetch)
	a := s.Version.Assets
	if a == nil || a.Files != 2 || a.Size != 5 || a.Config.HTMLHandling != "none" || bindings(s.Version) != "ASSETS:assets" {
		t.Fatalf("assets are %+v, bindings %s", a, bindings(s.Version))
	}
	// Changes that have nothing to do with assets keep them.
	for name, change := range map[string]func() (*atoll.Script, error){
		"secret": func() (*atoll.Script, error) {
			return b.PutSecret(context.Background(), cust, secret(t, "S", "x"), "api")
		},
		"settings": func() (*atoll.Script, error) {
			return b.PatchSettings(context.Background(), cust, settings(t, `{"limits":{"cpu_ms":5}}`), "api")
		},
		"content": func() (*atoll.Script, error) {
			return b.PutContent(context.Background(), cust, form(t, `{"main_module":"w.js"}`, "w.js", "handlers: queue"), "api")
		},
		"metadata-only": func() (*atoll.Script, error) {
			s, _, err := b.Upload(context.Background(), cust, form(t, `{"compatibility_date":"2025-05-05"}`), UploadOptions{Deploy: true})
			return s, err
		},
		"keep-assets": func() (*atoll.Script, error) {
			s, _, err := b.Upload(context.Background(), cust, form(t, `{"main_module":"w.js","keep_assets":true,"bindings":[{"type":"assets","name":"ASSETS"}]}`, "w.js", fetch), UploadOptions{Deploy: true})
			return s, err
		},
	} {
		s, err := change()
		ok(t, err)
		if got := s.Version.Assets; got == nil || got.Manifest != a.Manifest || got.Config.HTMLHandling != "none" {
			t.Errorf("%s leaves the assets as %+v", name, got)
		}
	}
	// The configuration alone, the files anew, and away with both.
	s = b.deployed(t, cust, `{"main_module":"w.js","assets":{"config":{"not_found_handling":"404-page"}}}`, "w.js", fetch)
	if got := s.Version.Assets; got.Manifest != a.Manifest || got.Config.NotFoundHandling != "404-page" || got.Config.HTMLHandling != "" {
		t.Errorf("assets are %+v", got)
	}
	files["/b.css"] = "b"
	token = b.token(t, cust, files)
	if s = b.deployed(t, cust, `{"main_module":"w.js","keep_assets":true,"assets":{"jwt":`+quote(token)+`}}`, "w.js", fetch); s.Version.Assets.Files != 3 {
		t.Errorf("assets are %+v", s.Version.Assets)
	}
	if s = b.deployed(t, cust, `{"main_module":"w.js"}`, "w.js", fetch); s.Version.Assets != nil {
		t.Errorf("assets are %+v", s.Version.Assets)
	}
	refused(t, b.upload(t, cust, `{"main_module":"w.js","bindings":[{"type":"assets","name":"ASSETS"}]}`, "w.js", fetch), 10021, "has no static assets")
	refused(t, b.upload(t, cust, `{"main_module":"w.js","assets":{"config":{}}}`, "w.js", fetch), 10021, "assets.jwt is missing")
	if s = b.deployed(t, cust, `{"main_module":"w.js","keep_assets":true}`, "w.js", fetch); s.Version.Assets != nil {
		t.Errorf("assets are %+v", s.Version.Assets)
	}
}

// A Worker of assets alone is never started; it may get code later, and lose it again.
func TestUpload_onlyAssets(t *testing.T) {
	b := newSiteBench(t)
	token := b.token(t, cust, map[string]string{"/index.html": "hi"})
	b.run.whileStarting(func(*atoll.Version) { t.Error("a Worker without code was started") })
	s := b.deployed(t, cust, `{"assets":{"jwt":`+quote(token)+`,"config":{"not_found_handling":"single-page-application"}},"compatibility_date":"2025-01-01"}`)
	if s.Version.HasCode() || s.Version.Assets == nil || len(s.Version.Handlers) != 1 || s.Version.Etag == "" {
		t.Errorf("version is %+v", s.Version)
	}
	refused(t, b.upload(t, cust, `{"assets":{"jwt":`+quote(token)+`,"config":{"run_worker_first":true}}}`), 10021, "Cannot set run_worker_first without a Worker script.")
	b.run.whileStarting(nil)
	if s = b.deployed(t, cust, `{"main_module":"w.js","keep_assets":true}`, "w.js", fetch); !s.Version.HasCode() || s.Version.Assets == nil {
		t.Errorf("version is %+v", s.Version)
	}
	// With bindings, the code stays: a Worker of assets alone has no use for them.
	if s = b.deployed(t, cust, `{"assets":{"jwt":`+quote(token)+`},"bindings":[{"type":"assets","name":"A"}]}`); !s.Version.HasCode() || bindings(s.Version) != "A:assets" {
		t.Errorf("version is %+v", s.Version)
	}
	if s = b.deployed(t, cust, `{"assets":{"jwt":`+quote(token)+`}}`); s.Version.HasCode() || s.Version.CompatibilityDate != oldestDate {
		t.Errorf("version is %+v", s.Version)
	}
	etag := s.Version.Etag
	if s = b.deployed(t, cust, `{"assets":{"jwt":`+quote(b.token(t, cust, map[string]string{"/index.html": "ho"}))+`}}`); s.Version.Etag == etag {
		t.Error("other assets have the same etag")
	}
}

// Whatever is wrong with assets, nothing has changed.
func TestUpload_assetsRefused(t *testing.T) {
	b := newSiteBench(t)
	before := b.deployed(t, cust, `{"main_module":"w.js"}`, "w.js", fetch)
	token := b.token(t, cust, map[string]string{"/index.html": "hi"})
	other := b.token(t, atoll.ScriptRef{Account: acct, Name: "cust"}, map[string]string{"/index.html": "hi"})
	with := func(token, config string) string {
		return `{"main_module":"w.js","assets":{"jwt":` + quote(token) + `,"config":` + config + `}}`
	}
	for _, c := range []struct{ name, metadata, text string }{
		{"no-token", with("x.y.z", `{}`), "not valid"},
		{"the-accounts", with(other, `{}`), "another script"},
		{"html-handling", with(token, `{"html_handling":"some"}`), "html_handling must be"},
		{"not-found-handling", with(token, `{"not_found_handling":"some"}`), "not_found_handling must be"},
		{"base-path", with(token, `{"base_path":"http://x"}`), "Invalid assets base_path: The value must be a pathname, not a URL."},
		{"only-negative", with(token, `{"run_worker_first":["!/a"]}`), "Only negative `run_worker_first` rules were provided; must provide at least 1 non-negative rule"},
		{"bad-rule", with(token, `{"run_worker_first":["a","!b"]}`), "'a': rules must start with '/' or '!/'\n'!b': negative rules must start with '!/'"},
	} {
		t.Run(c.name, func(t *testing.T) { refused(t, b.upload(t, cust, c.metadata, "w.js", fetch), 10021, c.text) })
	}
	after, err := b.store.Script(context.Background(), cust)
	ok(t, err)
	if after.Active != before.Active {
		t.Error("the script changed")
	}
	// Files that were collected between the upload and the deploy.
	later := time.Now().Add(time.Hour)
	_, err = b.store.CollectBlobs(context.Background(), b.blobs.Unused(later), later, func(h string) (bool, error) { return b.blobs.DeleteUnused(h, later) })
	ok(t, err)
	if err := b.upload(t, cust, with(token, `{}`), "w.js", fetch); err == nil {
		t.Error("deployed assets that are not there")
	}
	// What a version has is never collected, whichever way it came.
	token = b.token(t, cust, map[string]string{"/index.html": "hi"})
	b.deployed(t, cust, with(token, `{}`), "w.js", fetch)
	s, err := b.PutSecret(context.Background(), cust, secret(t, "S", "x"), "api")
	ok(t, err)
	for range 2 {
		later = later.Add(time.Hour)
		_, err = b.store.CollectBlobs(context.Background(), b.blobs.Unused(later), later, func(h string) (bool, error) { return b.blobs.DeleteUnused(h, later) })
		ok(t, err)
	}
	if _, err := b.opts.Assets.Files(context.Background(), s.Version.Assets, true); err != nil {
		t.Error(err)
	}
}
