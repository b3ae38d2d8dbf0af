package deploy

import (
	"bytes"
	"context"
	"fmt"
	"mime/multipart"
	"net/textproto"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/durable"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/store"
	"atoll.dev/atoll/internal/upload"
)

const (
	acct = atoll.AccountID("0123456789abcdef0123456789abcdef")
	prod = atoll.NamespaceName("production")
	kvID = "0f2ac74b498b48028cb68387c421e279"
)

var (
	cust  = atoll.ScriptRef{Account: acct, Namespace: prod, Name: "cust"}
	front = atoll.ScriptRef{Account: acct, Name: "front"}
)

// runner is a Runner that runs scripts of one line: "handlers: fetch scheduled +Class" loads, "throw: boom" does not. Like a
// real one it reads the active version from the store when it was told to look.
type runner struct {
	store *store.DB
	blobs *durable.Blobs

	mu        sync.Mutex
	starts    int
	published []atoll.ScriptRef
	suspended map[atoll.ScriptRef][]string // classes
	suspends  int
	stuck     error                  // what a suspension ends with
	stopped   func()                 // called once a script is suspended; nil: nothing
	during    func(v *atoll.Version) // called while a version starts
	cache     map[atoll.ScriptRef]*atoll.Version
}

var scriptLine = regexp.MustCompile(`^(handlers|throw):(.*)$`)

func (r *runner) Validate(_ context.Context, v *atoll.Version, _ atoll.ScriptRef, load func(string) ([]byte, error)) (Started, error) {
	r.mu.Lock()
	r.starts++
	during := r.during
	r.mu.Unlock()
	if during != nil {
		during(v)
	}
	var started Started
	for _, m := range v.Modules {
		code, err := load(m.Hash)
		if err != nil {
			return Started{}, err
		}
		if m.Name != v.MainModule+v.BodyPart {
			continue
		}
		line := scriptLine.FindSubmatch(code)
		if line == nil {
			return Started{}, fault.New(fault.Invalid, 10021, "Uncaught SyntaxError: Invalid or unexpected token")
		}
		if string(line[1]) == "throw" {
			return Started{}, fault.Newf(fault.Invalid, 10021, "Uncaught Error:%s", line[2])
		}
		for word := range strings.FieldsSeq(string(line[2])) {
			if class, ok := strings.CutPrefix(word, "+"); ok {
				started.Named = append(started.Named, atoll.NamedHandlers{Name: class, Handlers: []string{"fetch"}})
			} else {
				started.Handlers = append(started.Handlers, word)
			}
		}
	}
	started.StartupMs = 7
	return started, nil
}

func (r *runner) Suspend(_ context.Context, ref atoll.ScriptRef, classes []string) (resume func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stuck != nil {
		return nil, r.stuck
	}
	if r.suspended == nil {
		r.suspended = map[atoll.ScriptRef][]string{}
	}
	r.suspended[ref] = classes
	r.suspends++
	if r.stopped != nil {
		r.stopped()
	}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.suspended, ref)
	}, nil
}

func (r *runner) Publish(ref atoll.ScriptRef) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.published = append(r.published, ref)
	delete(r.cache, ref)
}

// serving returns the version that answers requests: what was read at the last Publish.
func (r *runner) serving(t *testing.T, ref atoll.ScriptRef) *atoll.Version {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if v := r.cache[ref]; v != nil {
		return v
	}
	s, err := r.store.Script(context.Background(), ref)
	if fault.KindOf(err) == fault.NotFound {
		return nil
	}
	ok(t, err)
	r.cache[ref] = s.Version
	return s.Version
}

// code is the entry of the version that answers requests, "" where none does.
func (r *runner) code(t *testing.T, ref atoll.ScriptRef) string {
	t.Helper()
	v := r.serving(t, ref)
	if v == nil {
		return ""
	}
	for _, m := range v.Modules {
		if m.Name == v.MainModule+v.BodyPart {
			b, err := r.blobs.Read(m.Hash)
			ok(t, err)
			return string(b)
		}
	}
	return ""
}

func (r *runner) started() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.starts
}

// whileStarting sets what happens while a version starts.
func (r *runner) whileStarting(f func(*atoll.Version)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.during = f
}

// namespaces are KV namespaces.
type namespaces map[string]atoll.AccountID

func (n namespaces) exists(_ context.Context, account atoll.AccountID, id string) (bool, error) {
	return n[id] == account, nil
}

// bench is a service on a store and blobs of its own.
type bench struct {
	*Service
	run *runner
	dir string
	kv  namespaces
}

func newBench(t *testing.T, opts Options) *bench {
	t.Helper()
	dir := t.TempDir()
	var key store.Key
	st, err := store.Open(nil, dir, key)
	ok(t, err)
	t.Cleanup(func() { _ = st.Close() }) // some tests close it themselves
	blobs, err := durable.OpenBlobs(filepath.Join(dir, "blobs"))
	ok(t, err)
	ctx := context.Background()
	ok(t, st.EnsureAccount(ctx, acct, "Acme"))
	_, err = st.CreateNamespace(ctx, acct, prod, false, atoll.NamespaceSettings{})
	ok(t, err)
	run := &runner{store: st, blobs: blobs, cache: map[atoll.ScriptRef]*atoll.Version{}}
	kv := namespaces{kvID: acct, "foreign": "ffffffffffffffffffffffffffffffff"}
	return &bench{New(nil, st, blobs, run, Resources{"kv_namespace": Named(kv.exists)}, opts), run, dir, kv}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused fails unless err is a fault of the code whose message holds the text.
func refused(t *testing.T, err error, code int, text string) {
	t.Helper()
	f := fault.Of(err)
	if f == nil || f.Code != code || !strings.Contains(f.Message, text) {
		t.Errorf("error is %v (%+v), want %d with %q", err, f, code, text)
	}
}

// form makes an upload as a client sends it: metadata, then modules as name and content.
func form(t testing.TB, metadata string, modules ...string) *upload.Upload {
	t.Helper()
	var buf bytes.Buffer
	w := multipart.NewWriter(&buf)
	ok(t, w.WriteField("metadata", metadata))
	for i := 0; i < len(modules); i += 2 {
		ct := "application/javascript+module"
		if filepath.Ext(modules[i]) == ".txt" {
			ct = "text/plain"
		}
		if filepath.Ext(modules[i]) == ".map" {
			ct = "application/source-map"
		}
		p, err := w.CreatePart(textproto.MIMEHeader{
			"Content-Disposition": {fmt.Sprintf(`form-data; name=%q; filename=%q`, modules[i], modules[i])}, "Content-Type": {ct}})
		ok(t, err)
		_, err = p.Write([]byte(modules[i+1]))
		ok(t, err)
	}
	ok(t, w.Close())
	up, err := upload.Read(w.FormDataContentType(), nil, &buf, upload.Limits{})
	ok(t, err)
	return up
}

func settings(t testing.TB, text string) *upload.Metadata {
	t.Helper()
	md, err := upload.ReadSettings("application/json", strings.NewReader(text), upload.Limits{})
	ok(t, err)
	return md
}

func secret(t testing.TB, name, value string) atoll.Binding {
	t.Helper()
	b, err := upload.ParseSecret(fmt.Appendf(nil, `{"name":%q,"text":%q}`, name, value))
	ok(t, err)
	return b
}

// deployed uploads and deploys, and fails the test where that fails.
func (b *bench) deployed(t testing.TB, ref atoll.ScriptRef, metadata string, modules ...string) *atoll.Script {
	t.Helper()
	s, _, err := b.Upload(context.Background(), ref, form(t, metadata, modules...), UploadOptions{Deploy: true, Strict: true, Source: "api"})
	ok(t, err)
	return s
}

// upload uploads and deploys and returns the error.
func (b *bench) upload(t testing.TB, ref atoll.ScriptRef, metadata string, modules ...string) error {
	t.Helper()
	_, _, err := b.Upload(context.Background(), ref, form(t, metadata, modules...), UploadOptions{Deploy: true, Strict: true, Source: "api"})
	return err
}

// bindings lists the names of a version's bindings with their types and secrets, sorted.
func bindings(v *atoll.Version) string {
	var list []string
	for _, b := range v.Bindings {
		s := b.Name + ":" + b.Type
		if b.Secret != nil {
			s += "=" + string(b.Secret)
		}
		list = append(list, s)
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

const fetch = "handlers: fetch"

func TestUpload_first(t *testing.T) {
	b := newBench(t, Options{})
	ctx := context.Background()
	s, v, err := b.Upload(ctx, cust, form(t, `{"main_module":"w.js","compatibility_date":"2024-01-01","compatibility_flags":["nodejs_compat"],
		"tags":["a","b"],"logpush":true,"observability":{"enabled":true},"tail_consumers":[{"service":"t"}],"limits":{"cpu_ms":50},
		"placement":{"mode":"smart"},"usage_model":"standard","annotations":{"workers/tag":"v1"},"exported_handlers":["fetch"],
		"migrations":{"new_tag":"v1","new_classes":["A"]},
		"bindings":[{"type":"plain_text","name":"P","text":"x"},{"type":"secret_text","name":"S","text":"s3"},{"type":"kv_namespace","name":"K","namespace_id":"`+kvID+`"}]}`,
		"w.js", "handlers: fetch scheduled +A", "w.js.map", "{}"), UploadOptions{Deploy: true, Source: "wrangler"})
	ok(t, err)
	stored, err := b.store.Script(ctx, cust)
	ok(t, err)
	for _, s := range []*atoll.Script{s, stored} {
		if s.Active != v.ID || s.MigrationTag != "v1" || !s.Logpush || string(s.Observability) != `{"enabled":true}` ||
			string(s.TailConsumers) != `[{"service":"t"}]` || !slices.Equal(s.Tags, []string{"a", "b"}) || s.LastDeployedFrom != "wrangler" {
			t.Errorf("script is %+v", s)
		}
		v := s.Version
		if v.Number != 1 || v.CompatibilityDate != "2024-01-01" || v.Limits.CPUMs != 50 || v.UsageModel != "standard" ||
			!slices.Equal(v.Handlers, []string{"fetch", "scheduled"}) || v.StartupMs != 7 || len(v.Etag) != 64 || v.Source != "wrangler" ||
			string(v.Extra["exported_handlers"]) != `["fetch"]` || v.Annotations["workers/tag"] != "v1" || v.Annotations["workers/triggered_by"] != "upload" ||
			len(v.Modules) != 2 || v.Modules[1].Type != atoll.SourceMap || v.Trusted {
			t.Errorf("version is %+v", v)
		}
		if got := bindings(v); got != "K:kv_namespace P:plain_text S:secret_text=s3" {
			t.Errorf("bindings are %s", got)
		}
	}
	if got := b.run.code(t, cust); got != "handlers: fetch scheduled +A" {
		t.Errorf("serving %q", got)
	}
}

func TestUpload_defaults(t *testing.T) {
	b := newBench(t, Options{})
	s := b.deployed(t, front, `{"body_part":"w.js"}`, "w.js", fetch)
	if s.Version.CompatibilityDate != "2021-11-02" || s.Version.BodyPart != "w.js" || !s.Version.Trusted {
		t.Errorf("version is %+v", s.Version)
	}
}

// The names of a namespace and of the account are apart.
func TestUpload_namesApart(t *testing.T) {
	b := newBench(t, Options{})
	b.deployed(t, cust, `{"main_module":"w.js","bindings":[{"type":"secret_text","name":"S","text":"s3"}]}`, "w.js", fetch)
	same := atoll.ScriptRef{Account: acct, Name: cust.Name}
	s := b.deployed(t, same, `{"main_module":"w.js","keep_bindings":["secret_text"]}`, "w.js", fetch)
	if got := bindings(s.Version); got != "" {
		t.Errorf("inherited %s from a namesake", got)
	}
	refused(t, b.upload(t, atoll.ScriptRef{Account: acct, Namespace: "nope", Name: "x"}, `{"main_module":"w.js"}`, "w.js", fetch), 100119, "")
}

// What a second upload keeps of the first: settings of a version are replaced, those of the script stay unless named.
func TestUpload_again(t *testing.T) {
	b := newBench(t, Options{})
	first := b.deployed(t, cust, `{"main_module":"w.js","compatibility_date":"2024-01-01","tags":["a"],"logpush":true,"limits":{"cpu_ms":5},"x":1,
		"bindings":[{"type":"plain_text","name":"P","text":"x"}]}`, "w.js", fetch)
	s := b.deployed(t, cust, `{"main_module":"w.js"}`, "w.js", "handlers: fetch queue")
	v := s.Version
	if v.Number != 2 || v.CompatibilityDate != "2021-11-02" || v.Limits.CPUMs != 0 || len(v.Bindings) != 0 || len(v.Extra) != 0 || v.Etag == first.Version.Etag {
		t.Errorf("version is %+v", v)
	}
	if !s.Logpush || len(s.Tags) != 1 || s.Tag != first.Tag {
		t.Errorf("script is %+v", s)
	}
	s = b.deployed(t, cust, `{"main_module":"w.js","tags":[],"logpush":false}`, "w.js", "handlers: fetch queue")
	if s.Logpush || len(s.Tags) != 0 || s.Version.Etag != v.Etag {
		t.Errorf("script is %+v, etag %s, was %s", s, s.Version.Etag, v.Etag)
	}
}

// A PUT without modules keeps the code and what it does not name.
func TestUpload_metadataOnly(t *testing.T) {
	b := newBench(t, Options{})
	refused(t, b.upload(t, cust, `{"bindings":[]}`), 10021, "first upload must have modules")
	b.deployed(t, cust, `{"main_module":"w.js","compatibility_date":"2024-01-01","x":1,"limits":{"cpu_ms":5},
		"bindings":[{"type":"plain_text","name":"P","text":"x"},{"type":"kv_namespace","name":"K","namespace_id":"`+kvID+`"},{"type":"secret_text","name":"S","text":"s3"}]}`, "w.js", fetch)
	s := b.deployed(t, cust, `{"bindings":[{"type":"json","name":"J","json":1}],"keep_bindings":["kv_namespace","d1"],"y":2}`)
	v := s.Version
	if got := bindings(v); got != "J:json K:kv_namespace" {
		t.Errorf("bindings are %s", got)
	}
	if v.MainModule != "w.js" || v.CompatibilityDate != "2024-01-01" || v.Limits.CPUMs != 5 || string(v.Extra["x"]) != "1" || string(v.Extra["y"]) != "2" {
		t.Errorf("version is %+v", v)
	}
	if got := b.run.code(t, cust); got != fetch {
		t.Errorf("serving %q", got)
	}
	if s = b.deployed(t, cust, `{"compatibility_date":"2025-01-01"}`); bindings(s.Version) != "J:json K:kv_namespace" || s.Version.CompatibilityDate != "2025-01-01" {
		t.Errorf("version is %+v", s.Version)
	}
}

// Whatever goes wrong before the store's transaction, nothing has changed.
func TestUpload_failureChangesNothing(t *testing.T) {
	b := newBench(t, Options{})
	ctx := context.Background()
	before := b.deployed(t, cust, `{"main_module":"w.js","tags":["a"]}`, "w.js", fetch)
	for _, c := range []struct {
		name, metadata, code string
		want                 int
		text                 string
	}{
		{"start-up-exception", `{"main_module":"w.js","tags":["z"]}`, "throw: boom", 10021, "Uncaught Error: boom"},
		{"syntax-error", `{"main_module":"w.js"}`, "export default {", 10021, "SyntaxError"},
		{"no-handlers", `{"main_module":"w.js"}`, "handlers:", 10068, "no event handlers"},
		{"kv-namespace-missing", `{"main_module":"w.js","bindings":[{"type":"kv_namespace","name":"K","namespace_id":"nope"}]}`, fetch, 10041, "KV namespace 'nope' not found"},
		{"kv-namespace-of-another-account", `{"main_module":"w.js","bindings":[{"type":"kv_namespace","name":"K","namespace_id":"foreign"}]}`, fetch, 10041, "KV namespace 'foreign' not found"},
		{"service-missing", `{"main_module":"w.js","bindings":[{"type":"service","name":"X","service":"nope"}]}`, fetch, 10143, "Target script 'nope' not found"},
		{"service-name-impossible", `{"main_module":"w.js","bindings":[{"type":"service","name":"X","service":"../x"}]}`, fetch, 10143, "Target script '../x' not found"},
		{"service-is-a-user-worker", `{"main_module":"w.js","bindings":[{"type":"service","name":"X","service":"cust"}]}`, fetch, 10143, "Target script 'cust' not found"},
		{"dispatch-namespace-missing", `{"main_module":"w.js","bindings":[{"type":"dispatch_namespace","name":"D","namespace":"nope"}]}`, fetch, 100119, "there is no dispatch namespace 'nope'"},
		{"outbound", `{"main_module":"w.js","bindings":[{"type":"dispatch_namespace","name":"D","namespace":"production","outbound":{"worker":{"service":"o"}}}]}`, fetch, 10143, "no script 'o' to be the outbound Worker"},
		{"part-missing", `{"main_module":"w.js","bindings":[{"type":"text_blob","name":"T","part":"nope"}]}`, fetch, 10021, `no part "nope" was uploaded`},
		{"inherit-missing", `{"main_module":"w.js","bindings":[{"type":"inherit","name":"X"}]}`, fetch, 10057, "binding X cannot be inherited"},
		{"inherit-from-missing-version", `{"main_module":"w.js","bindings":[{"type":"inherit","name":"X","version_id":"00000000-0000-4000-8000-000000000000"}]}`, fetch, 10007, "version"},
		{"migration-tag", `{"main_module":"w.js","migrations":{"old_tag":"v1","new_tag":"v2"}}`, fetch, 10079, "Migration tag precondition failed; current tag is ''"},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, b.upload(t, cust, c.metadata, "w.js", c.code), c.want, c.text)
			after, err := b.store.Script(ctx, cust)
			ok(t, err)
			if after.Active != before.Active || !after.Modified.Equal(before.Modified) || after.Tags[0] != "a" {
				t.Errorf("script changed to %+v", after)
			}
			if _, total, _ := b.store.Versions(ctx, cust, 1, 0); total != 1 {
				t.Errorf("%d versions", total)
			}
			if got := b.run.code(t, cust); got != fetch {
				t.Errorf("serving %q", got)
			}
			fresh := atoll.ScriptRef{Account: acct, Namespace: prod, Name: "fresh"}
			if err := b.upload(t, fresh, c.metadata, "w.js", c.code); err == nil {
				t.Error("a first upload succeeded")
			}
			if _, err := b.store.Script(ctx, fresh); fault.KindOf(err) != fault.NotFound {
				t.Errorf("a refused first upload left a script: %v", err)
			}
		})
	}
}

// Until a version has started, nothing of it is on disk; when the transaction fails, whoever serves the script looks
// again, as it might have been applied.
func TestUpload_order(t *testing.T) {
	b := newBench(t, Options{})
	b.deployed(t, cust, `{"main_module":"w.js"}`, "w.js", fetch)
	published := len(b.run.published)
	b.run.whileStarting(func(v *atoll.Version) {
		if has, err := b.blobs.Has(v.Modules[0].Hash); has || err != nil {
			t.Errorf("module is stored before it started: %v", err)
		}
		if got := b.run.code(t, cust); got != fetch {
			t.Errorf("serving %q", got)
		}
		if v.ID == "" {
			t.Error("the version has no ID to start it by")
		}
		ok(t, b.store.Close())
	})
	if err := b.upload(t, cust, `{"main_module":"w.js"}`, "w.js", "handlers: fetch queue"); err == nil {
		t.Fatal("an upload succeeded without a store")
	}
	if len(b.run.published) != published+1 {
		t.Errorf("published %v", b.run.published)
	}
}

// A client that leaves while its version starts leaves the script as it was.
func TestUpload_clientLeaves(t *testing.T) {
	b := newBench(t, Options{})
	before := b.deployed(t, cust, `{"main_module":"w.js"}`, "w.js", fetch)
	ctx, cancel := context.WithCancelCause(context.Background())
	b.run.whileStarting(func(*atoll.Version) { cancel(context.Canceled) }) // the client leaves
	_, _, err := b.Upload(ctx, cust, form(t, `{"main_module":"w.js"}`, "w.js", "handlers: x"), UploadOptions{Deploy: true})
	if err == nil {
		t.Fatal("an upload succeeded without its client")
	}
	after, err := b.store.Script(context.Background(), cust)
	ok(t, err)
	if after.Active != before.Active {
		t.Error("the script changed")
	}
}
