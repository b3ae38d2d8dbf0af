package assets

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/store"
)

func TestUpload(t *testing.T) {
	for name, claim := range map[string]func(path, content string) string{
		"sha-256":  byContent,
		"wrangler": byWrangler,
		"salted":   func(path, content string) string { return sha("salt" + path + content) },
		"upper":    func(path, content string) string { return strings.ToUpper(sha(content)) },
		"odd":      func(path, content string) string { return sha(content) + "0" },
		"long":     func(path, content string) string { return sha(content) + sha(path) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			s := site{"/index.html": "<h1>hi</h1>", "/empty.css": "", "/a/ü b.js": "let x", "/data": "\x00\x01"}
			got, n := d.deploy(user("u"), s, claim)
			if n != 4 {
				t.Errorf("uploaded %d files", n)
			}
			for path, want := range s {
				if e := got[path]; content(t, d, e) != want || e.Size != int64(len(want)) || e.Type != typeOf(path) {
					t.Errorf("%s is %+v with %q", path, e, content(t, d, e))
				}
			}
			s["/new.txt"], s["/index.html"] = "new", "<h1>ho</h1>"
			if got, n = d.deploy(user("u"), s, claim); n != 2 || len(got) != 5 || content(t, d, got["/index.html"]) != "<h1>ho</h1>" {
				t.Errorf("uploaded %d files the second time: %+v", n, got)
			}
			if _, n = d.deploy(user("u"), s, claim); n != 0 {
				t.Errorf("uploaded %d files the third time", n)
			}
			if got, n = d.deploy(user("u"), site{}, claim); n != 0 || len(got) != 0 {
				t.Errorf("an empty site is %+v", got)
			}
		})
	}
}

// A claim is good for the whole namespace only where it follows from the content; and no type is taken over with it.
func TestUpload_sharing(t *testing.T) {
	salted := func(_, content string) string { return sha("salt" + content) }
	short := func(_, content string) string { return sha(content)[:20] }
	for _, c := range []struct {
		name   string
		claim  func(path, content string) string
		shared bool
	}{{"sha-256", byContent, true}, {"wrangler", byWrangler, true}, {"salted", salted, false}, {"short", short, false}} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t)
			s := site{"/lib.js": "shared code"}
			claim := c.claim("/lib.js", "shared code")
			session := d.open(user("first"), s.manifest(c.claim))
			if _, err := d.put(session.Token, part{claim, "text/html", "shared code"}); err != nil {
				t.Fatal(err)
			}
			if got, n := d.deploy(user("first"), s, c.claim); n != 0 || got["/lib.js"].Type != "text/html" {
				t.Errorf("the first has %+v after %d uploads", got, n)
			}
			got, n := d.deploy(user("second"), s, c.claim)
			if (n == 0) != c.shared || got["/lib.js"].Type != "text/javascript; charset=utf-8" {
				t.Errorf("the second has %+v after %d uploads", got, n)
			}
			d.namespace("staging")
			other := atoll.ScriptRef{Account: account, Namespace: "staging", Name: "second"}
			if _, n := d.deploy(other, s, c.claim); n != 1 {
				t.Errorf("another namespace needs %d uploads", n)
			}
			if _, n := d.deploy(atoll.ScriptRef{Account: account, Name: "second"}, s, c.claim); n != 1 {
				t.Errorf("the account needs %d uploads", n)
			}
		})
	}
}

// Nobody can put his content where another's claim finds it.
func TestUpload_planting(t *testing.T) {
	d := newDesk(t)
	good, evil := "the good", "the evil"
	// The attacker claims the victim's hash for content of the same size.
	session := d.open(user("attacker"), site{"/x.js": good}.manifest(byContent))
	if _, err := d.put(session.Token, part{sha(good), "", evil}); err != nil {
		t.Fatal(err) // opaque: it is his own business
	}
	got, n := d.deploy(user("victim"), site{"/x.js": good}, byContent)
	if n != 1 || content(t, d, got["/x.js"]) != good {
		t.Errorf("the victim has %q after %d uploads", content(t, d, got["/x.js"]), n)
	}
	// The attacker's own claim stays what it was for him.
	if got, n := d.deploy(user("attacker"), site{"/x.js": good}, byContent); n != 0 || content(t, d, got["/x.js"]) != evil {
		t.Errorf("the attacker has %q", content(t, d, got["/x.js"]))
	}
	// A script of the attacker's former name does not have his claims.
	if _, err := d.db.PutVersion(t.Context(), user("attacker"), &atoll.Version{MainModule: "m"}, store.ScriptChange{Deploy: true}); err != nil {
		t.Fatal(err)
	}
	if err := d.db.DeleteScript(t.Context(), user("attacker")); err != nil {
		t.Fatal(err)
	}
	d.forget()
	if got, _ := d.deploy(user("attacker"), site{"/x.js": good}, byContent); content(t, d, got["/x.js"]) != good {
		t.Errorf("whoever took over the name has %q", content(t, d, got["/x.js"]))
	}
}

func TestUpload_types(t *testing.T) {
	d := newDesk(t)
	s := site{"/a.css": "a", "/b": "b", "/c.html": "c", "/d.weird": "d", "/e.png": "e"}
	session := d.open(user("u"), s.manifest(byContent))
	token, err := d.put(session.Token, part{sha("a"), "text/css; charset=latin1", "a"}, part{sha("b"), "application/null", "b"},
		part{sha("c"), "application/null", "c"}, part{sha("d"), "", "d"}, part{sha("e"), "", "e"})
	if err != nil {
		t.Fatal(err)
	}
	got := d.redeem(user("u"), token)
	for path, want := range map[string]string{"/a.css": "text/css; charset=latin1", "/b": "", "/c.html": "", "/d.weird": "", "/e.png": "image/png"} {
		if got[path].Type != want {
			t.Errorf("%s is of type %q, want %q", path, got[path].Type, want)
		}
	}
}

// Buckets may come in any order, at once, twice, and with files that are there already; the last answer has the token,
// and so has every repetition of it.
func TestUpload_orders(t *testing.T) {
	d := newDesk(t)
	s := site{}
	for i := range 3*bucketFiles - 10 {
		s[fmt.Sprintf("/f%d.txt", i)] = fmt.Sprint("content ", i)
	}
	session := d.open(user("u"), s.manifest(byContent))
	if len(session.Buckets) != 3 {
		t.Fatalf("%d buckets", len(session.Buckets))
	}
	byHash := map[string]string{}
	for _, c := range s {
		byHash[sha(c)] = c
	}
	var mu sync.Mutex
	tokens := 0
	var all sync.WaitGroup
	for _, bucket := range slices.Concat(session.Buckets, session.Buckets[1:]) {
		var parts []part
		for _, h := range bucket {
			parts = append(parts, part{h, "text/plain", byHash[h]})
		}
		all.Go(func() {
			token, err := d.put(session.Token, parts...)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if token != "" {
				tokens++
			}
		})
	}
	all.Wait()
	if tokens == 0 {
		t.Fatal("no upload completed the set")
	}
	token, err := d.put(session.Token, part{session.Buckets[0][0], "", byHash[session.Buckets[0][0]]})
	if err != nil || len(d.redeem(user("u"), token)) != len(s) {
		t.Errorf("a repetition of the last upload: %v", err)
	}
}

// A node that starts again goes on with the sessions of before.
func TestUpload_restart(t *testing.T) {
	d := newDesk(t)
	s := site{"/a.txt": "a", "/b.txt": "b"}
	session := d.open(user("u"), s.manifest(byContent))
	if token, err := d.put(session.Token, part{sha("a"), "", "a"}); token != "" || err != nil {
		t.Fatalf("%q, %v", token, err)
	}
	d.Uploads = NewUploads(nil, d.db, d.blobs, []byte("the key"), d.now)
	token, err := d.put(session.Token, part{sha("b"), "", "b"})
	if err != nil || token == "" {
		t.Fatalf("%q, %v", token, err)
	}
	d.redeem(user("u"), token)
	d.Uploads = NewUploads(nil, d.db, d.blobs, []byte("another key"), d.now)
	_, err = d.Redeem(t.Context(), user("u"), token)
	refused(t, err, fault.Invalid, "not valid")
}

func TestUpload_refusals(t *testing.T) {
	d := newDesk(t)
	session := d.open(user("u"), site{"/a.txt": "aaa", "/b.txt": "b"}.manifest(byContent))
	send := func(contentType, body string) error {
		_, err := d.Upload(t.Context(), Put{Account: account, Token: session.Token, ContentType: contentType, Body: strings.NewReader(body), Base64: true})
		return err
	}
	raw := func(name, text string) string {
		return "--x\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + text + "\r\n--x--\r\n"
	}
	const multi = "multipart/form-data; boundary=x"
	for _, c := range []struct {
		name, contentType, body string
		kind                    fault.Kind
		text                    string
	}{
		{"no-form", "application/json", "{}", fault.Unsupported, "multipart/form-data"},
		{"unknown-hash", multi, raw(sha("z"), "eg=="), fault.Invalid, "no hash of the upload session's manifest"},
		{"no-name", multi, raw("", "eg=="), fault.Invalid, "no hash"},
		{"too-long", multi, raw(sha("b"), "YmI="), fault.Invalid, "not the size"},
		{"too-short", multi, raw(sha("aaa"), "YQ=="), fault.Invalid, "not the size"},
		{"not-base64", multi, raw(sha("aaa"), "????"), fault.Invalid, "not base64"},
		{"cut-short", multi, raw(sha("aaa"), "YWFh")[:80], fault.Invalid, "cut short"},
		{"cut-in-padding", multi, raw(sha("aaa"), "YWF"), fault.Invalid, "not the size"},
	} {
		t.Run(c.name, func(t *testing.T) { refused(t, send(c.contentType, c.body), c.kind, c.text) })
	}
	// None of it has harmed the session.
	token, err := d.put(session.Token, part{sha("aaa"), "", "aaa"}, part{sha("b"), "", "b"})
	if err != nil || len(d.redeem(user("u"), token)) != 2 {
		t.Errorf("%q, %v", token, err)
	}
}

// Tokens are good for their own purpose, account, namespace and script, and for an hour.
func TestTokens(t *testing.T) {
	d := newDesk(t)
	ctx := t.Context()
	session := d.open(user("u"), site{"/a.txt": "a"}.manifest(byContent))
	done, err := d.put(session.Token, part{sha("a"), "", "a"})
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(session.Token, "."); n != 2 {
		t.Errorf("the token %q is no JWT", session.Token)
	}
	var payload struct{ Exp int64 }
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(session.Token, ".")[1])
	if err != nil || json.Unmarshal(b, &payload) != nil || payload.Exp != d.time.Add(time.Hour).Unix() {
		t.Errorf("the token's payload is %s", b)
	}
	redeem := func(ref atoll.ScriptRef, token string) error {
		_, err := d.Redeem(ctx, ref, token)
		return err
	}
	forged := done[:len(done)-2] + "AA"
	none := strings.Join([]string{base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)), strings.Split(done, ".")[1], ""}, ".")
	refused(t, redeem(user("u"), session.Token), fault.Invalid, "token of an upload session")
	refused(t, redeem(user("other"), done), fault.Invalid, "another script")
	refused(t, redeem(atoll.ScriptRef{Account: account, Name: "u"}, done), fault.Invalid, "another script")
	refused(t, redeem(user("u"), forged), fault.Invalid, "not valid")
	refused(t, redeem(user("u"), none), fault.Invalid, "not valid")
	refused(t, redeem(user("u"), ""), fault.Invalid, "not valid")
	_, err = d.put(done, part{sha("a"), "", "a"})
	refused(t, err, fault.Unauthenticated, "to deploy with")
	_, err = d.put("nonsense", part{sha("a"), "", "a"})
	refused(t, err, fault.Unauthenticated, "not valid")
	contentType, body := form(part{sha("a"), "", "a"})
	_, err = d.Upload(ctx, Put{Account: "ffffffffffffffffffffffffffffffff", Token: session.Token, ContentType: contentType, Body: bytes.NewReader(body)})
	refused(t, err, fault.Forbidden, "another account")

	d.time = d.time.Add(59 * time.Minute)
	if err := redeem(user("u"), done); err != nil {
		t.Error(err)
	}
	d.time = d.time.Add(2 * time.Minute)
	refused(t, redeem(user("u"), done), fault.Invalid, "expired")
	_, err = d.put(session.Token, part{sha("a"), "", "a"})
	refused(t, err, fault.Unauthenticated, "expired")

	// A namespace made anew is another.
	session = d.open(user("u"), site{"/a.txt": "a", "/n.txt": "n"}.manifest(byContent))
	if err := d.db.DeleteNamespace(ctx, account, "production"); err != nil {
		t.Fatal(err)
	}
	_, err = d.put(session.Token, part{sha("n"), "", "n"})
	refused(t, err, fault.NotFound, "not_found")
	d.namespace("production")
	_, err = d.put(session.Token, part{sha("n"), "", "n"})
	refused(t, err, fault.NotFound, "not there any more")
}

// What nobody needs is collected in the end, and never what a session in progress counts on.
func TestCollection(t *testing.T) {
	d := newDesk(t)
	got, _ := d.deploy(user("u"), site{"/a.txt": "a", "/b.txt": "b"}, byContent)
	collect := func(since time.Time) int {
		n, err := d.db.CollectBlobs(t.Context(), d.blobs.Unused(since), since, func(h string) (bool, error) { return d.blobs.DeleteUnused(h, since) })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := collect(time.Now().Add(-Grace)); n != 0 {
		t.Errorf("%d blobs were collected at once", n)
	}
	list, err := d.Files(t.Context(), &atoll.Assets{Manifest: d.listOf(got)}, true)
	if err != nil {
		t.Fatal(err)
	}
	v := &atoll.Version{MainModule: "m", Assets: &atoll.Assets{Manifest: d.listOf(got)}}
	if _, err := d.db.PutVersion(t.Context(), user("u"), v, store.ScriptChange{Deploy: true, AssetFiles: list}); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	if n := collect(later); n != 1 { // the client's manifest
		t.Errorf("%d blobs were collected", n)
	}
	if _, n := d.deploy(user("u"), site{"/a.txt": "a", "/b.txt": "b"}, byContent); n != 0 {
		t.Errorf("%d files are missing", n)
	}
	if err := d.db.DeleteScript(t.Context(), user("u")); err != nil {
		t.Fatal(err)
	}
	if n := collect(later.Add(time.Hour)); n != 4 {
		t.Errorf("%d blobs were collected in the end", n)
	}
	_, err = d.Files(t.Context(), v.Assets, true)
	if err == nil {
		t.Error("the list of files is there still")
	}
	d.forget()
	if _, n := d.deploy(user("u"), site{"/a.txt": "a", "/b.txt": "b"}, byContent); n != 2 {
		t.Errorf("%d files were uploaded anew", n)
	}
}

// Sessions are forgotten when there are too many, and read again.
func TestUpload_forgotten(t *testing.T) {
	d := newDesk(t)
	session := d.open(user("first"), site{"/a.txt": "a"}.manifest(byContent))
	d.Uploads.files = maxRemembered
	d.open(user("second"), site{"/b.txt": "b"}.manifest(byContent))
	if len(d.sessions) != 1 || len(d.recent) != 1 {
		t.Errorf("%d sessions are remembered", len(d.sessions))
	}
	d.Uploads.files = 0
	token, err := d.put(session.Token, part{sha("a"), "", "a"})
	if err != nil || len(d.redeem(user("first"), token)) != 1 || len(d.sessions) != 2 {
		t.Errorf("%q, %v", token, err)
	}
}

func TestManifest(t *testing.T) {
	for _, c := range []struct{ name, body, text string }{
		{"not-json", `{`, "the body must be"},
		{"no-manifest", `{}`, "the body must be"},
		{"array", `{"manifest":[]}`, "the body must be"},
		{"relative", `{"manifest":{"a":{"hash":"0123456789abcdef","size":1}}}`, "must begin with a slash"},
		{"empty-path", `{"manifest":{"":{"hash":"0123456789abcdef","size":1}}}`, "must begin with a slash"},
		{"control", `{"manifest":{"/a\u0000":{"hash":"0123456789abcdef","size":1}}}`, "control characters"},
		{"long-path", `{"manifest":{"/` + strings.Repeat("x", maxPath) + `":{"hash":"0123456789abcdef","size":1}}}`, "longer than"},
		{"no-hash", `{"manifest":{"/a":{"size":1}}}`, "16 to 128 hexadecimal"},
		{"short-hash", `{"manifest":{"/a":{"hash":"abc","size":1}}}`, "16 to 128 hexadecimal"},
		{"no-hex", `{"manifest":{"/a":{"hash":"0123456789abcdeg","size":1}}}`, "16 to 128 hexadecimal"},
		{"no-size", `{"manifest":{"/a":{"hash":"0123456789abcdef"}}}`, "number of bytes"},
		{"negative", `{"manifest":{"/a":{"hash":"0123456789abcdef","size":-1}}}`, "number of bytes"},
		{"fraction", `{"manifest":{"/a":{"hash":"0123456789abcdef","size":1.5}}}`, "number of bytes"},
		{"two-sizes", `{"manifest":{"/a":{"hash":"0123456789abcdef","size":1},"/b":{"hash":"0123456789abcdef","size":2}}}`, "different sizes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseManifest([]byte(c.body))
			refused(t, err, fault.Invalid, c.text)
		})
	}
	_, err := parseManifest([]byte(`{"manifest":{"/a":{"hash":"0123456789abcdef","size":26214401}}}`))
	refused(t, err, fault.TooLarge, "25 MiB")
	if _, err := parseManifest([]byte(`{"manifest":{"/a":{"hash":"08f1dfda4574284ab3c21666d1ee8c7d4","size":26214400}}}`)); err != nil {
		t.Error(err)
	}
	many := map[string]claimed{}
	for i := range MaxFiles + 1 {
		many[fmt.Sprint("/", i)] = claimed{"0123456789abcdef", 1}
	}
	body, _ := json.Marshal(map[string]any{"manifest": many}) // strings and numbers
	_, err = parseManifest(body)
	refused(t, err, fault.Invalid, "at most 100000")
}
