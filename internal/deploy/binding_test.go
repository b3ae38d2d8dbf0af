package deploy

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/upload"
)

// one of each sort, as the version before.
const before = `{"main_module":"w.js","bindings":[
	{"type":"plain_text","name":"P","text":"p"},
	{"type":"json","name":"J","json":[1]},
	{"type":"secret_text","name":"S","text":"s3"},
	{"type":"secret_key","name":"KEY","algorithm":"x","format":"raw","usages":[],"key_base64":"AA=="},
	{"type":"kv_namespace","name":"KV","namespace_id":"` + kvID + `"},
	{"type":"text_blob","name":"T","part":"t.txt"}]}`

// What a new upload keeps, by keep_bindings and inherit.
func TestBindings_keep(t *testing.T) {
	b := newBench(t, Options{})
	for _, c := range []struct{ name, metadata, want string }{
		{"nothing-said", `{"main_module":"w.js"}`, ""},
		{"empty", `{"main_module":"w.js","bindings":[]}`, ""},
		{"wrangler", `{"main_module":"w.js","bindings":[],"keep_bindings":["secret_text","secret_key"]}`, "KEY:secret_key=AA== S:secret_text=s3"},
		{"wrangler-keep-vars", `{"main_module":"w.js","bindings":[],"keep_bindings":["plain_text","json","secret_text","secret_key"]}`, "J:json KEY:secret_key=AA== P:plain_text S:secret_text=s3"},
		{"by-type", `{"main_module":"w.js","keep_bindings":["kv_namespace","d1","nonsense"]}`, "KV:kv_namespace"},
		{"new-of-the-same-name-wins", `{"main_module":"w.js","bindings":[{"type":"secret_text","name":"S","text":"new"}],"keep_bindings":["secret_text"]}`, "S:secret_text=new"},
		{"new-of-the-same-name-and-another-type-wins", `{"main_module":"w.js","bindings":[{"type":"plain_text","name":"S","text":"new"}],"keep_bindings":["secret_text"]}`, "S:plain_text"},
		{"secret-not-listed-is-dropped", `{"main_module":"w.js","bindings":[{"type":"plain_text","name":"P","text":"p"}]}`, "P:plain_text"},
		{"inherit", `{"main_module":"w.js","bindings":[{"type":"inherit","name":"S"}]}`, "S:secret_text=s3"},
		{"inherit-under-another-name", `{"main_module":"w.js","bindings":[{"type":"inherit","name":"NEW","old_name":"S"}]}`, "NEW:secret_text=s3"},
		{"inherit-and-keep", `{"main_module":"w.js","bindings":[{"type":"inherit","name":"S"}],"keep_bindings":["secret_text","kv_namespace"]}`, "KV:kv_namespace S:secret_text=s3"},
		{"inherit-twice", `{"main_module":"w.js","bindings":[{"type":"inherit","name":"A","old_name":"S"},{"type":"inherit","name":"B","old_name":"S"}]}`, "A:secret_text=s3 B:secret_text=s3"},
		{"blob-with-its-part", `{"main_module":"w.js","keep_bindings":["text_blob"]}`, "T:text_blob"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ref := atoll.ScriptRef{Account: acct, Namespace: prod, Name: atoll.ScriptName(c.name)}
			b.deployed(t, ref, before, "w.js", fetch, "t.txt", "some text")
			s := b.deployed(t, ref, c.metadata, "w.js", "handlers: queue")
			if got := bindings(s.Version); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			stored, err := b.store.Script(context.Background(), ref)
			ok(t, err)
			if got := bindings(stored.Version); got != c.want {
				t.Errorf("stored %s\nwant   %s", got, c.want)
			}
			for _, bound := range stored.Version.Bindings {
				if upload.StringField(bound, "name") != bound.Name {
					t.Errorf("binding %s shows %s", bound.Name, bound.Fields)
				}
				if bound.Type == "text_blob" && !hasModule(stored.Version, "t.txt") {
					t.Error("the part of a kept binding is lost")
				}
			}
		})
	}
}

func TestBindings_inheritOptions(t *testing.T) {
	b := newBench(t, Options{})
	ctx := context.Background()
	first := b.deployed(t, cust, before, "w.js", fetch, "t.txt", "some text")
	b.deployed(t, cust, `{"main_module":"w.js"}`, "w.js", fetch)

	// Without strict, what cannot be inherited is left out.
	s, _, err := b.Upload(ctx, cust, form(t, `{"main_module":"w.js","bindings":[{"type":"inherit","name":"S"},{"type":"json","name":"J","json":1}]}`, "w.js", fetch), UploadOptions{Deploy: true})
	ok(t, err)
	if got := bindings(s.Version); got != "J:json" {
		t.Errorf("got %s", got)
	}
	// From a version that is not active any more, its part included.
	s = b.deployed(t, cust, `{"main_module":"w.js","bindings":[{"type":"inherit","name":"S","version_id":"`+string(first.Active)+`"},
		{"type":"inherit","name":"T","version_id":"`+string(first.Active)+`"}]}`, "w.js", fetch)
	if got := bindings(s.Version); got != "S:secret_text=s3 T:text_blob" || !hasModule(s.Version, "t.txt") {
		t.Errorf("got %s with %+v", got, s.Version.Modules)
	}
}

// The uploads of the guide to bindings: three resources, then another bucket beside what is kept, without code.
// https://developers.cloudflare.com/cloudflare-for-platforms/workers-for-platforms/configuration/bindings/
func TestBindings_threeResources(t *testing.T) {
	b := newBench(t, Options{})
	there := func(names ...string) Exists {
		return func(_ context.Context, account atoll.AccountID, ids ...string) (bool, error) {
			return account == acct && slices.Contains(names, ids[0]), nil
		}
	}
	b.res["d1"], b.res["r2_bucket"] = there("db-1"), there("customer-bucket", "new-bucket")
	b.deployed(t, cust, `{"main_module":"w.js","bindings":[{"type":"kv_namespace","name":"USER_KV","namespace_id":"`+kvID+`"},
		{"type":"r2_bucket","name":"USER_STORAGE","bucket_name":"customer-bucket"},{"type":"d1","name":"DB","id":"db-1"}]}`, "w.js", fetch)
	s := b.deployed(t, cust, `{"bindings":[{"type":"r2_bucket","name":"STORAGE","bucket_name":"new-bucket"}],"keep_bindings":["kv_namespace","d1"]}`)
	if got := bindings(s.Version); got != "DB:d1 STORAGE:r2_bucket USER_KV:kv_namespace" {
		t.Errorf("got %s", got)
	}
	if got := b.run.code(t, cust); got != fetch {
		t.Errorf("the code is %q", got)
	}
	// A change of settings keeps what it does not name, or replaces all bindings.
	s, err := b.PatchSettings(context.Background(), cust, settings(t, `{"compatibility_date":"2024-01-01"}`), "api")
	ok(t, err)
	if got := bindings(s.Version); got != "DB:d1 STORAGE:r2_bucket USER_KV:kv_namespace" {
		t.Errorf("after a change of the date: %s", got)
	}
	s, err = b.PatchSettings(context.Background(), cust, settings(t, `{"bindings":[{"type":"inherit","name":"DB"},{"type":"r2_bucket","name":"USER_STORAGE","bucket_name":"customer-bucket"}]}`), "api")
	ok(t, err)
	if got := bindings(s.Version); got != "DB:d1 USER_STORAGE:r2_bucket" {
		t.Errorf("after a change of bindings: %s", got)
	}
	// Another customer's upload is refused what the account has not, and nothing has changed.
	for binding, code := range map[string]int{
		`{"type":"d1","name":"DB","id":"db-2"}`: 10181, `{"type":"r2_bucket","name":"B","bucket_name":"other"}`: 10085, `{"type":"kv_namespace","name":"K","namespace_id":"foreign"}`: 10041,
	} {
		refused(t, b.upload(t, cust, `{"main_module":"w.js","bindings":[`+binding+`]}`, "w.js", fetch), code, "not found")
		_, err := b.PatchSettings(context.Background(), cust, settings(t, `{"bindings":[`+binding+`]}`), "api")
		refused(t, err, code, "not found")
	}
	if got := bindings(b.run.serving(t, cust)); got != "DB:d1 USER_STORAGE:r2_bucket" {
		t.Errorf("after refusals: %s", got)
	}
}

// The limits count what is kept, too.
func TestBindings_limits(t *testing.T) {
	b := newBench(t, Options{Limits: upload.Limits{Variables: 2}})
	b.deployed(t, cust, `{"main_module":"w.js","bindings":[{"type":"secret_text","name":"A","text":"x"},{"type":"secret_text","name":"B","text":"x"}]}`, "w.js", fetch)
	refused(t, b.upload(t, cust, `{"main_module":"w.js","keep_bindings":["secret_text"],"bindings":[{"type":"json","name":"J","json":1}]}`, "w.js", fetch), 10055, "at most 2")
	_, err := b.PutSecret(context.Background(), cust, secret(t, "C", "x"), "api")
	refused(t, err, 10055, "at most 2")
}

func TestBindings_references(t *testing.T) {
	b := newBench(t, Options{})
	b.deployed(t, front, `{"main_module":"w.js","bindings":[{"type":"service","name":"SELF","service":"front"},{"type":"dispatch_namespace","name":"D","namespace":"production"}]}`, "w.js", fetch)
	b.deployed(t, cust, `{"main_module":"w.js","bindings":[{"type":"service","name":"F","service":"front"},{"type":"kv_namespace","name":"KV","namespace_id":"`+kvID+`"}]}`, "w.js", fetch)

	// What is gone meanwhile does not stand in the way of a change that has nothing to do with it.
	delete(b.kv, kvID)
	ok(t, b.Delete(context.Background(), front))
	s, err := b.PutSecret(context.Background(), cust, secret(t, "S", "x"), "api")
	ok(t, err)
	if got := bindings(s.Version); got != "F:service KV:kv_namespace S:secret_text=x" {
		t.Errorf("got %s", got)
	}
	refused(t, b.upload(t, atoll.ScriptRef{Account: acct, Namespace: prod, Name: "new"}, `{"main_module":"w.js","bindings":[{"type":"kv_namespace","name":"KV","namespace_id":"`+kvID+`"}]}`, "w.js", fetch), 10041, kvID)
}

// What a binding is to is looked for in the uploading account, under the names that the binding gives.
func TestBindings_resources(t *testing.T) {
	b := newBench(t, Options{})
	var asked []string
	failing := errors.New("the disk is gone")
	var fail error
	for typ := range resources {
		b.res[typ] = func(_ context.Context, account atoll.AccountID, ids ...string) (bool, error) {
			asked = append(asked, typ+" of "+string(account)+": "+strings.Join(ids, ", "))
			return ids[0] == "there", fail
		}
	}
	for _, c := range []struct {
		typ, fields, want string
		code              int
		missing           string
	}{
		{"kv_namespace", `"namespace_id":"X"`, "X", 10041, "KV namespace 'X' not found."},
		{"d1", `"id":"X"`, "X", 10181, "D1 binding 'B' references database 'X'"},
		{"d1", `"database_id":"X"`, "X", 10181, "references database 'X'"},
		{"r2_bucket", `"bucket_name":"X"`, "X", 10085, "R2 bucket 'X' not found."},
		{"queue", `"queue_name":"X"`, "X", 11000, "Queue 'X' not found."},
		{"hyperdrive", `"id":"X"`, "X", 10157, "Hyperdrive binding 'B' references config 'X'"},
		{"secrets_store_secret", `"store_id":"X","secret_name":"Y"`, "X, Y", 10182, "Secrets Store binding 'B' references store 'X' and secret 'Y'"},
	} {
		t.Run(c.typ, func(t *testing.T) {
			binding := func(id string) atoll.Binding {
				fields := strings.ReplaceAll(c.fields, `"X"`, `"`+id+`"`)
				return atoll.Binding{Name: "B", Type: c.typ, Fields: []byte("{" + fields + "}")}
			}
			asked, fail = nil, nil
			ok(t, b.checkReference(context.Background(), cust, binding("there")))
			refused(t, b.checkReference(context.Background(), cust, binding("X")), c.code, c.missing)
			if want := c.typ + " of " + string(acct) + ": " + c.want; len(asked) != 2 || asked[1] != want {
				t.Errorf("asked %q, want %q", asked, want)
			}
			fail = failing
			if err := b.checkReference(context.Background(), cust, binding("there")); !errors.Is(err, failing) {
				t.Errorf("an error of the store became %v", err)
			}
			refused(t, b.checkReference(context.Background(), cust, binding("")), 10021, "must have a valid")
			exists := b.res[c.typ]
			delete(b.res, c.typ)
			refused(t, b.checkReference(context.Background(), cust, binding("there")), 10021, "not supported")
			b.res[c.typ] = exists
		})
	}
}
