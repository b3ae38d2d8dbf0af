package assets

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"mime/multipart"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/durable"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/store"
)

const account atoll.AccountID = "0123456789abcdef0123456789abcdef"

func user(name string) atoll.ScriptRef {
	return atoll.ScriptRef{Account: account, Namespace: "production", Name: atoll.ScriptName(name)}
}

// desk is Uploads over an empty node, at a time of its own.
type desk struct {
	*Uploads
	t    testing.TB
	db   *store.DB
	time time.Time
}

func newDesk(t testing.TB) *desk {
	t.Helper()
	dir := t.TempDir()
	db, err := store.Open(nil, dir, store.Key{1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	blobs, err := durable.OpenBlobs(dir + "/blobs")
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, db: db, time: time.Unix(1_800_000_000, 0)}
	d.Uploads = NewUploads(nil, db, blobs, []byte("the key"), func() time.Time { return d.time })
	if err := db.EnsureAccount(t.Context(), account, "Acme"); err != nil {
		t.Fatal(err)
	}
	d.namespace("production")
	return d
}

func (d *desk) namespace(name atoll.NamespaceName) {
	d.t.Helper()
	if _, err := d.db.CreateNamespace(d.t.Context(), account, name, false, atoll.NamespaceSettings{}); err != nil {
		d.t.Fatal(err)
	}
}

// sha is the hash that most clients claim.
func sha(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])[:32]
}

// site is files by path, with the hash that a client claims for each.
type site map[string]string

// manifest is the body of a session's request, claiming by the given function of path and content.
func (s site) manifest(claim func(path, content string) string) []byte {
	m := map[string]map[string]any{}
	for path, content := range s {
		m[path] = map[string]any{"hash": claim(path, content), "size": len(content)}
	}
	b, _ := json.Marshal(map[string]any{"manifest": m}) // strings and numbers
	return b
}

func byContent(_, content string) string { return sha(content) }

func byWrangler(path, content string) string {
	return wranglerHash([]byte(content), extension(path))[:32]
}

// part is one of an upload.
type part struct{ name, mime, content string }

func form(parts ...part) (contentType string, body []byte) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		h := textproto.MIMEHeader{"Content-Disposition": {fmt.Sprintf(`form-data; name=%q`, p.name)}}
		if p.mime != "" {
			h.Set("Content-Disposition", fmt.Sprintf(`form-data; name=%q; filename=%q`, p.name, p.name))
			h.Set("Content-Type", p.mime)
		}
		pw, _ := w.CreatePart(h) // into memory
		pw.Write([]byte(base64.StdEncoding.EncodeToString([]byte(p.content))))
	}
	w.Close()
	return w.FormDataContentType(), b.Bytes()
}

func (d *desk) open(ref atoll.ScriptRef, body []byte) Session {
	d.t.Helper()
	s, err := d.Open(d.t.Context(), ref, body)
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

func (d *desk) put(token string, parts ...part) (string, error) {
	contentType, body := form(parts...)
	return d.Upload(d.t.Context(), Put{Account: account, Token: token, ContentType: contentType, Body: bytes.NewReader(body), Base64: true})
}

// deploy uploads whatever is missing of a site and returns its files as a version has them, and how many were uploaded.
func (d *desk) deploy(ref atoll.ScriptRef, s site, claim func(path, content string) string) (map[string]entry, int) {
	d.t.Helper()
	session := d.open(ref, s.manifest(claim))
	token, sent := session.Token, 0
	for _, bucket := range session.Buckets {
		var parts []part
		for _, hash := range bucket {
			for path, content := range s {
				if claim(path, content) == hash {
					parts = append(parts, part{hash, "", content})
					break
				}
			}
		}
		var err error
		if token, err = d.put(session.Token, parts...); err != nil {
			d.t.Fatal(err)
		}
		sent += len(parts)
	}
	return d.redeem(ref, token), sent
}

func (d *desk) redeem(ref atoll.ScriptRef, token string) map[string]entry {
	d.t.Helper()
	a, err := d.Redeem(d.t.Context(), ref, token)
	if err != nil {
		d.t.Fatal(err)
	}
	list, err := readList(d.blobs, a.Manifest)
	if err != nil {
		d.t.Fatal(err)
	}
	out, size := map[string]entry{}, int64(0)
	for _, e := range list {
		out[e.Path] = e
		size += e.Size
	}
	if a.Files != len(list) || a.Size != size {
		d.t.Errorf("assets are %+v, with %d files of %d bytes", a, len(list), size)
	}
	return out
}

// refused fails the test unless err is a fault of the kind whose message has the text.
func refused(t testing.TB, err error, kind fault.Kind, text string) {
	t.Helper()
	if f := fault.Of(err); f == nil || f.Kind != kind || !strings.Contains(f.Message, text) {
		t.Errorf("error %v, want a fault %v with %q", err, kind, text)
	}
}

func content(t testing.TB, d *desk, e entry) string {
	t.Helper()
	b, err := d.blobs.Read(e.Blob)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (d *desk) listOf(files map[string]entry) string {
	d.t.Helper()
	hash, err := d.blobs.PutBytes(context.Background(), encodeList(slices.Collect(maps.Values(files))))
	if err != nil {
		d.t.Fatal(err)
	}
	return hash
}

// forget drops the sessions that are remembered.
func (d *desk) forget() {
	clear(d.sessions)
	d.recent, d.files = nil, 0
}
