package deploy

import (
	"context"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/store"
	"atoll.dev/atoll/internal/upload"
)

func content(t *testing.T, entry string, modules ...string) *upload.Upload {
	t.Helper()
	return form(t, `{"main_module":"`+entry+`"}`, modules...)
}

// Code alone changes: secrets, bindings and settings survive, and so does the part of a binding.
func TestPutContent(t *testing.T) {
	b := newBench(t, Options{})
	ctx := context.Background()
	_, err := b.PutContent(ctx, cust, content(t, "n.js", "n.js", fetch), "api")
	refused(t, err, 10092, "")
	old := b.deployed(t, cust, strings.Replace(before, `{"main_module":"w.js"`, `{"main_module":"w.js","compatibility_date":"2024-01-01","tags":["a"],"x":1,"limits":{"cpu_ms":5}`, 1), "w.js", fetch, "t.txt", "some text")
	s, err := b.PutContent(ctx, cust, content(t, "n.js", "n.js", "handlers: fetch queue"), "wrangler")
	ok(t, err)
	v := s.Version
	if got, want := bindings(v), bindings(old.Version); got != want || !strings.Contains(got, "S:secret_text=s3") {
		t.Errorf("bindings are %s, were %s", got, want)
	}
	if v.MainModule != "n.js" || v.Number != 2 || v.CompatibilityDate != "2024-01-01" || string(v.Extra["x"]) != "1" || v.Limits.CPUMs != 5 ||
		v.Source != "wrangler" || len(s.Tags) != 1 || len(v.Modules) != 2 || !hasModule(v, "t.txt") || len(v.Handlers) != 2 {
		t.Errorf("version is %+v", v)
	}
	if got := b.run.code(t, cust); got != "handlers: fetch queue" {
		t.Errorf("serving %q", got)
	}
}

func TestPatchSettings(t *testing.T) {
	b := newBench(t, Options{})
	for _, c := range []struct{ name, patch, want string }{
		{"nothing", `{}`, "J:json KEY:secret_key=AA== KV:kv_namespace P:plain_text S:secret_text=s3 T:text_blob"},
		{"date", `{"compatibility_date":"2025-01-01"}`, "J:json KEY:secret_key=AA== KV:kv_namespace P:plain_text S:secret_text=s3 T:text_blob"},
		{"bindings-replace", `{"bindings":[{"type":"plain_text","name":"P","text":"new"}]}`, "P:plain_text"},
		{"bindings-as-they-were-read", `{"bindings":[{"type":"secret_text","name":"S"},{"type":"secret_key","name":"KEY","algorithm":"x","format":"raw","usages":[]},{"type":"json","name":"J","json":2}]}`, "J:json KEY:secret_key=AA== S:secret_text=s3"},
		{"secret-set", `{"bindings":[{"type":"secret_text","name":"S","text":"new"}]}`, "S:secret_text=new"},
		{"keep", `{"bindings":[],"keep_bindings":["secret_text"]}`, "S:secret_text=s3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ref := atoll.ScriptRef{Account: acct, Namespace: prod, Name: atoll.ScriptName(c.name)}
			b.deployed(t, ref, before, "w.js", fetch, "t.txt", "some text")
			s, err := b.PatchSettings(context.Background(), ref, settings(t, c.patch), "api")
			ok(t, err)
			if got := bindings(s.Version); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if s.Version.Number != 2 || b.run.code(t, ref) != fetch || s.Version.Annotations["workers/triggered_by"] != "settings" {
				t.Errorf("version is %+v", s.Version)
			}
		})
	}
}

func TestPatchSettings_script(t *testing.T) {
	b := newBench(t, Options{})
	ctx := context.Background()
	_, err := b.PatchSettings(ctx, cust, settings(t, `{}`), "api")
	refused(t, err, 10092, "")
	b.deployed(t, cust, before, "w.js", fetch, "t.txt", "x")
	s, err := b.PatchSettings(ctx, cust, settings(t, `{"tags":["x"],"logpush":true,"limits":{"cpu_ms":9},"migrations":{"new_tag":"v1"}}`), "api")
	ok(t, err)
	if !s.Logpush || len(s.Tags) != 1 || s.Version.Limits.CPUMs != 9 || s.MigrationTag != "v1" {
		t.Errorf("script is %+v, version %+v", s, s.Version)
	}
	_, err = b.PatchSettings(ctx, cust, settings(t, `{"bindings":[{"type":"secret_text","name":"NEW"}]}`), "api")
	refused(t, err, 10021, "binding NEW of type secret_text must have a value")
	_, err = b.PatchSettings(ctx, cust, settings(t, `{"bindings":[{"type":"secret_text","name":"P"}]}`), "api")
	refused(t, err, 10021, "binding P of type secret_text must have a value")
	_, err = b.PatchSettings(ctx, cust, settings(t, `{"migrations":{"old_tag":"v0","new_tag":"v2"}}`), "api")
	refused(t, err, 10079, "current tag is 'v1'")
}

func TestPatchScriptSettings(t *testing.T) {
	b := newBench(t, Options{})
	ctx := context.Background()
	_, err := b.PatchScriptSettings(ctx, front, settings(t, `{"tags":["x"]}`))
	refused(t, err, 10007, "")
	b.deployed(t, front, `{"main_module":"w.js","tags":["a"],"logpush":true}`, "w.js", fetch)
	s, err := b.PatchScriptSettings(ctx, front, settings(t, `{"tags":[],"observability":{"enabled":true}}`))
	ok(t, err)
	if len(s.Tags) != 0 || !s.Logpush || string(s.Observability) != `{"enabled":true}` || s.Version.Number != 1 {
		t.Errorf("script is %+v", s)
	}
}

func TestSecrets(t *testing.T) {
	b := newBench(t, Options{})
	ctx := context.Background()
	_, err := b.PutSecret(ctx, front, secret(t, "S", "x"), "wrangler")
	refused(t, err, 10007, "")
	b.deployed(t, front, `{"main_module":"w.js","bindings":[{"type":"plain_text","name":"P","text":"x"}]}`, "w.js", fetch)

	s, err := b.PutSecret(ctx, front, secret(t, "S", "one"), "wrangler")
	ok(t, err)
	if got := bindings(s.Version); got != "P:plain_text S:secret_text=one" || s.Version.Annotations["workers/triggered_by"] != "secret" || s.LastDeployedFrom != "wrangler" {
		t.Errorf("got %s, %+v", got, s)
	}
	if got := bindings(b.run.serving(t, front)); got != "P:plain_text S:secret_text=one" {
		t.Errorf("serving %s", got)
	}
	_, err = b.PutSecret(ctx, front, secret(t, "S", "two"), "wrangler")
	ok(t, err)
	_, err = b.PutSecret(ctx, front, secret(t, "P", "x"), "wrangler")
	refused(t, err, 10053, "Binding name 'P' already in use.")
	_, err = b.PutSecret(ctx, front, secret(t, "BIG", strings.Repeat("x", 5121)), "wrangler")
	refused(t, err, 10054, "'BIG'")

	changes, err := upload.ParseSecrets([]byte(`{"secrets":{"S":null,"GONE":null,"A":{"text":"a"},"B":{"text":"b"}}}`))
	ok(t, err)
	s, err = b.BulkSecrets(ctx, front, changes, "wrangler")
	ok(t, err)
	if got := bindings(s.Version); got != "A:secret_text=a B:secret_text=b P:plain_text" || s.Version.Number != 4 {
		t.Errorf("got %s, version %d", got, s.Version.Number)
	}
	_, err = b.DeleteSecret(ctx, front, "S", "wrangler")
	refused(t, err, 10056, "Binding 'S' not found. Please use a different name and try again.")
	_, err = b.DeleteSecret(ctx, front, "P", "wrangler") // a variable is no secret
	refused(t, err, 10056, "Binding 'P' not found.")
	s, err = b.DeleteSecret(ctx, front, "A", "wrangler")
	ok(t, err)
	if got := bindings(s.Version); got != "B:secret_text=b P:plain_text" {
		t.Errorf("got %s", got)
	}
	// The versions before have kept theirs: a version never changes.
	list, _, err := b.store.Versions(ctx, front, 100, 0)
	ok(t, err)
	for i, want := range []string{"one", "two"} {
		v, err := b.store.Version(ctx, front, list[len(list)-2-i].ID)
		ok(t, err)
		if got := bindings(v); got != "P:plain_text S:secret_text="+want {
			t.Errorf("version %d has %s", v.Number, got)
		}
	}
}

// A version that is only stored changes nothing until it is deployed; the next one builds on it.
func TestVersions(t *testing.T) {
	b := newBench(t, Options{})
	ctx := context.Background()
	store1 := UploadOptions{Strict: true, Source: "wrangler"}
	_, _, err := b.Upload(ctx, front, form(t, `{"main_module":"w.js"}`, "w.js", fetch), store1)
	refused(t, err, 10007, "")
	first := b.deployed(t, front, `{"main_module":"w.js","tags":["a"],"bindings":[{"type":"secret_text","name":"A","text":"a"}]}`, "w.js", fetch)

	s, v2, err := b.Upload(ctx, front, form(t, `{"main_module":"w.js","tags":["z"],"keep_bindings":["secret_text"],"bindings":[{"type":"secret_text","name":"B","text":"b"}]}`, "w.js", "handlers: fetch queue"), store1)
	ok(t, err)
	if s.Active != first.Active || v2.Number != 2 || s.Tags[0] != "a" || b.run.code(t, front) != fetch || len(v2.Handlers) != 2 {
		t.Errorf("script is %+v, version %+v", s, v2)
	}
	_, v3, err := b.Upload(ctx, front, form(t, `{"main_module":"w.js","keep_bindings":["secret_text"]}`, "w.js", "handlers: fetch queue"), store1)
	ok(t, err)
	if got := bindings(v3); got != "A:secret_text=a B:secret_text=b" {
		t.Errorf("the third version has %s", got)
	}
	_, _, err = b.Upload(ctx, front, form(t, `{"main_module":"w.js","migrations":{"new_tag":"v1"}}`, "w.js", fetch), store1)
	refused(t, err, 10211, "metadata.migrations")
	_, _, err = b.Upload(ctx, front, form(t, `{"main_module":"w.js"}`, "w.js", "throw: boom"), store1)
	refused(t, err, 10021, "boom")

	d, err := b.Deploy(ctx, front, Deployment{Strategy: "percentage", Versions: []store.DeployedVersion{{VersionID: v3.ID, Percentage: 100}}, Source: "wrangler",
		Annotations: map[string]string{"workers/message": "go"}})
	ok(t, err)
	if d.Versions[0].VersionID != v3.ID || d.Annotations["workers/message"] != "go" || d.Annotations["workers/triggered_by"] != "deployment" {
		t.Errorf("deployment is %+v", d)
	}
	if got := b.run.serving(t, front); got.ID != v3.ID || bindings(got) != "A:secret_text=a B:secret_text=b" {
		t.Errorf("serving %+v", got)
	}
	// And back again; a secret then changes what runs, not what was newest.
	_, err = b.Deploy(ctx, front, Deployment{Versions: []store.DeployedVersion{{VersionID: first.Active, Percentage: 100}, {VersionID: v3.ID}}})
	ok(t, err)
	if got := b.run.code(t, front); got != fetch {
		t.Errorf("serving %q", got)
	}
	s, err = b.PutSecret(ctx, front, secret(t, "C", "c"), "api")
	ok(t, err)
	if got := bindings(s.Version); got != "A:secret_text=a C:secret_text=c" {
		t.Errorf("got %s", got)
	}
}

func TestDeploy_refuses(t *testing.T) {
	b := newBench(t, Options{})
	ctx := context.Background()
	s := b.deployed(t, front, `{"main_module":"w.js"}`, "w.js", fetch)
	id, unknown := s.Active, atoll.VersionID(atoll.NewUUID())
	share := func(id atoll.VersionID, p float64) store.DeployedVersion {
		return store.DeployedVersion{VersionID: id, Percentage: p}
	}
	for _, c := range []struct {
		name string
		d    Deployment
		code int
		text string
	}{
		{"split", Deployment{Versions: []store.DeployedVersion{share(id, 90), share(unknown, 10)}}, 10021, "split between two versions is not supported"},
		{"sum", Deployment{Versions: []store.DeployedVersion{share(id, 90)}}, 10021, "must add up to 100, not 90"},
		{"negative", Deployment{Versions: []store.DeployedVersion{share(id, 110), share(unknown, -10)}}, 10021, "from 0 to 100"},
		{"none", Deployment{}, 10021, "one or two versions, not 0"},
		{"three", Deployment{Versions: make([]store.DeployedVersion, 3)}, 10021, "one or two versions, not 3"},
		{"strategy", Deployment{Strategy: "wild", Versions: []store.DeployedVersion{share(id, 100)}}, 10021, `"wild" is not known`},
		{"no-uuid", Deployment{Versions: []store.DeployedVersion{share("x", 100)}}, 10007, "version"},
		{"unknown", Deployment{Versions: []store.DeployedVersion{share(unknown, 100)}}, 10007, "version"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := b.Deploy(ctx, front, c.d)
			refused(t, err, c.code, c.text)
			if got := b.run.serving(t, front); got.ID != id {
				t.Errorf("serving %s", got.ID)
			}
		})
	}
}

func TestDelete(t *testing.T) {
	b := newBench(t, Options{})
	ctx := context.Background()
	b.deployed(t, cust, `{"main_module":"w.js","tags":["old"]}`, "w.js", fetch)
	same := atoll.ScriptRef{Account: acct, Name: cust.Name}
	b.deployed(t, same, `{"main_module":"w.js"}`, "w.js", fetch)
	ok(t, b.Delete(ctx, cust))
	if b.run.serving(t, cust) != nil || b.run.serving(t, same) == nil {
		t.Error("the wrong script was deleted")
	}
	refused(t, b.Delete(ctx, cust), 10092, "")

	// A name that is used again starts anew.
	s := b.deployed(t, cust, `{"main_module":"w.js","keep_bindings":["secret_text"]}`, "w.js", fetch)
	if s.Version.Number != 1 || len(s.Tags) != 0 {
		t.Errorf("script is %+v", s)
	}
}

// The secrets of a version that is not deployed: made from the newest, and the active one goes on.
func TestNewestSecrets(t *testing.T) {
	b := newBench(t, Options{})
	ctx := context.Background()
	patch := func(body string) upload.VersionPatch {
		p, err := upload.ParseVersionPatch([]byte(body))
		ok(t, err)
		return p
	}
	_, _, err := b.NewestSecrets(ctx, front, patch(`{"env":{}}`), "wrangler")
	refused(t, err, 10007, "")
	b.deployed(t, front, `{"main_module":"w.js","bindings":[{"type":"plain_text","name":"P","text":"x"}]}`, "w.js", fetch)
	_, v, err := b.NewestSecrets(ctx, front, patch(`{"env":{"S":{"type":"secret_text","text":"one"}},"annotations":{"workers/message":"m","workers/tag":"t"}}`), "wrangler")
	ok(t, err)
	if got := bindings(v); got != "P:plain_text S:secret_text=one" || v.Number != 2 || v.Annotations["workers/message"] != "m" || v.Annotations["workers/tag"] != "t" || v.Source != "wrangler" {
		t.Errorf("got %s, %+v", got, v)
	}
	_, v, err = b.NewestSecrets(ctx, front, patch(`{"env":{"T":{"type":"secret_text","text":"two"}}}`), "wrangler")
	ok(t, err)
	if got := bindings(v); got != "P:plain_text S:secret_text=one T:secret_text=two" {
		t.Errorf("on top of the newest: %s", got)
	}
	if got := bindings(b.run.serving(t, front)); got != "P:plain_text" {
		t.Errorf("serving %s", got)
	}
	_, v, err = b.NewestSecrets(ctx, front, patch(`{"env":{"S":null,"GONE":null}}`), "wrangler")
	ok(t, err)
	if got := bindings(v); got != "P:plain_text T:secret_text=two" {
		t.Errorf("without S: %s", got)
	}
	_, _, err = b.NewestSecrets(ctx, front, patch(`{"env":{"P":null}}`), "wrangler")
	refused(t, err, 10053, "Binding name 'P' already in use.")
}
