package store

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

// sample is a version with something in every field, which TestVersionRoundTrip checks.
func sample() *atoll.Version {
	return &atoll.Version{
		ID:          atoll.VersionID(atoll.NewUUID()),
		Number:      1,
		Created:     time.Date(2026, 11, 23, 1, 2, 3, 4000, time.UTC),
		Source:      "wrangler",
		Annotations: map[string]string{"workers/message": "first <&> é"},
		MainModule:  "index.js",
		BodyPart:    "worker.js",
		Modules: []atoll.Module{
			{Name: "index.js", Type: atoll.ESModule, ContentType: "application/javascript+module", Hash: hashOf(user("x")), Size: 12},
			{Name: "a/copy.js", Type: atoll.ESModule, ContentType: "application/javascript+module", Hash: hashOf(user("x")), Size: 12},
			{Name: "b.wasm", Type: atoll.Wasm, ContentType: "application/wasm", Hash: hashOf(user("y")), Size: 1 << 40},
		},
		CompatibilityDate:  "2026-11-01",
		CompatibilityFlags: []string{"nodejs_compat"},
		Bindings: []atoll.Binding{
			{Name: "GREETING", Type: "plain_text", Fields: json.RawMessage(`{"name":"GREETING","text":"hi","type":"plain_text"}`)},
			{Name: "TOKEN", Type: "secret_text", Fields: json.RawMessage(`{"name":"TOKEN","type":"secret_text"}`), Secret: []byte("hunter2-hunter2")},
			{Name: "EMPTY", Type: "secret_text", Fields: json.RawMessage(`{}`), Secret: []byte{}},
			{Name: "KEY", Type: "secret_key", Fields: json.RawMessage(`{"algorithm":"HMAC"}`), Secret: []byte{0, 255, 10}},
		},
		Limits:        atoll.Limits{CPUMs: 50, SubRequests: 5},
		Placement:     json.RawMessage(`{"mode":"smart"}`),
		UsageModel:    "standard",
		Migrations:    json.RawMessage(`{"new_tag":"v1"}`),
		Extra:         map[string]json.RawMessage{"containers": json.RawMessage(`[1]`)},
		Etag:          "abc",
		Handlers:      []string{"fetch", "scheduled"},
		NamedHandlers: []atoll.NamedHandlers{{Name: "Admin", Handlers: []string{"fetch"}}},
		StartupMs:     7,
		Trusted:       true,
		Classes:       []atoll.Class{{ID: "00112233445566778899aabbccddeeff", Name: "Counter", SQLite: true}},
		Assets: &atoll.Assets{Manifest: fileHash("list"), Files: 2, Size: 9, Config: atoll.AssetsConfig{HTMLHandling: "none", NotFoundHandling: "404-page",
			BasePath: "/a/", WorkerFirst: true, WorkerFirstRules: []string{"/api/*"}, Headers: "/*\n  A: <b>", Redirects: "/a /b"}},
	}
}

func TestVersionRoundTrip(t *testing.T) {
	want := sample()
	for v, i := reflect.ValueOf(*want), 0; i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("the sample has no %s", v.Type().Field(i).Name)
		}
	}
	db := filled(t)
	ctx := t.Context()
	put := *want
	s, err := db.PutVersion(ctx, user("a"), &put, ScriptChange{Deploy: true, Source: "api"})
	ok(t, err)
	equal(t, &put, want)
	equal(t, s.Version, want)
	s, err = db.Script(ctx, user("a"))
	ok(t, err)
	equal(t, s.Version, want)
	v, err := db.Version(ctx, user("a"), want.ID)
	ok(t, err)
	equal(t, v, want)

	without := sample()
	without.ID = want.ID
	for i := range without.Bindings {
		without.Bindings[i].Secret = nil
	}
	list, _, err := db.Versions(ctx, user("a"), 0, 0)
	ok(t, err)
	equal(t, list, []*atoll.Version{without})
	scripts, _, err := db.Scripts(ctx, acct, prod, ScriptFilter{})
	ok(t, err)
	equal(t, scripts[0].Version, without)
}

func TestPutVersion(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	tags, logpush, mark := []string{"a"}, true, "v1"
	v := &atoll.Version{}
	s, err := db.PutVersion(ctx, user("a"), v, ScriptChange{Deploy: true, Source: "wrangler", Tags: &tags, Logpush: &logpush, MigrationTag: &mark})
	ok(t, err)
	if v.Number != 1 || len(v.ID) != 36 || v.Created.IsZero() || v.Source != "wrangler" {
		t.Errorf("version %+v", v)
	}
	if s.Active != v.ID || s.LastDeployedFrom != "wrangler" || !s.Logpush || s.MigrationTag != "v1" || s.Created.IsZero() {
		t.Errorf("script %+v", s)
	}

	draft := &atoll.Version{Source: "dash"}
	s2, err := db.PutVersion(ctx, user("a"), draft, ScriptChange{Source: "api"})
	ok(t, err)
	if draft.Number != 2 || draft.Source != "dash" || s2.Active != v.ID || s2.Version.ID != v.ID || s2.LastDeployedFrom != "wrangler" || s2.Tag != s.Tag {
		t.Errorf("after a draft: %+v", s2)
	}
	equal(t, s2.Tags, tags)

	_, err = db.PutVersion(ctx, user("a"), &atoll.Version{ID: draft.ID}, ScriptChange{Deploy: true})
	refused(t, err, fault.Conflict, 10035)
	many := []string{"1", "2", "3", "4", "5", "6", "7", "8", "9"}
	lost := &atoll.Version{}
	_, err = db.PutVersion(ctx, user("a"), lost, ScriptChange{Deploy: true, Tags: &many})
	refused(t, err, fault.Invalid, 10021)
	if lost.ID != "" || lost.Number != 0 {
		t.Errorf("a refused version was changed: %+v", lost)
	}
	_, err = db.PutVersion(ctx, user("new"), &atoll.Version{Modules: []atoll.Module{{Hash: "zz"}}}, ScriptChange{})
	if err == nil {
		t.Error("a module whose hash is no hash")
	}
	_, total, err := db.Versions(ctx, user("a"), 0, 0)
	ok(t, err)
	equal(t, total, 2)
	rows(t, db, map[string]int{"scripts": 1, "deployments": 1})

	_, err = db.PutVersion(ctx, atoll.ScriptRef{Account: acct, Namespace: "missing", Name: "a"}, &atoll.Version{}, ScriptChange{})
	refused(t, err, fault.NotFound, 100119)
	_, err = db.PutVersion(ctx, atoll.ScriptRef{Account: other, Name: "a"}, &atoll.Version{}, ScriptChange{})
	refused(t, err, fault.NotFound, 7003)
}

func TestScriptWithoutDeployment(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	v := &atoll.Version{}
	s, err := db.PutVersion(ctx, platform("draft"), v, ScriptChange{Source: "api"})
	ok(t, err)
	if s.Version != nil || s.Active != "" || s.LastDeployedFrom != "" {
		t.Errorf("script %+v", s)
	}
	list, _, err := db.Scripts(ctx, acct, "", ScriptFilter{})
	ok(t, err)
	equal(t, list, []*atoll.Script{s})
	if d, err := db.Deployments(ctx, platform("draft")); len(d) > 0 || err != nil {
		t.Errorf("deployments: %v, %v", d, err)
	}
	_, err = db.Deploy(ctx, platform("draft"), v.ID, "api", nil)
	ok(t, err)
	s, err = db.Script(ctx, platform("draft"))
	ok(t, err)
	equal(t, s.Active, v.ID)
}

func TestDeploy(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	v1, v2 := put(t, db, user("a")), put(t, db, user("a"))
	foreign := put(t, db, user("b"))
	d, err := db.Deploy(ctx, user("a"), v1.ID, "dash", map[string]string{"workers/message": "back"})
	ok(t, err)
	if len(d.ID) != 36 || d.Created.IsZero() || d.Source != "dash" || d.Strategy != "percentage" {
		t.Errorf("deployment %+v", d)
	}
	s, err := db.Script(ctx, user("a"))
	ok(t, err)
	if s.Active != v1.ID || s.Version.Number != 1 || s.LastDeployedFrom != "dash" {
		t.Errorf("script %+v", s)
	}
	list, err := db.Deployments(ctx, user("a"))
	ok(t, err)
	if len(list) != 3 {
		t.Fatalf("%d deployments, want 3", len(list))
	}
	equal(t, list[0], d)
	for i, id := range []atoll.VersionID{v1.ID, v2.ID, v1.ID} {
		equal(t, list[i].Versions, []DeployedVersion{{id, 100}})
	}
	for _, id := range []atoll.VersionID{foreign.ID, "", "11111111-1111-4111-8111-111111111111"} {
		_, err = db.Deploy(ctx, user("a"), id, "api", nil)
		refused(t, err, fault.NotFound, 10007)
		_, err = db.Version(ctx, user("a"), id)
		refused(t, err, fault.NotFound, 10007)
	}
}

func TestOldVersionsGo(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	first := put(t, db, user("a"))
	for range keepVersions + 10 {
		_, err := db.PutVersion(ctx, user("a"), &atoll.Version{}, ScriptChange{})
		ok(t, err)
	}
	list, total, err := db.Versions(ctx, user("a"), 3, 1)
	ok(t, err)
	if total != keepVersions+1 || len(list) != 3 || list[0].Number != keepVersions+10 || list[2].Number != keepVersions+8 {
		t.Errorf("%d of %d versions from %v", len(list), total, list[0].Number)
	}
	list, _, err = db.Versions(ctx, user("a"), 0, -1)
	ok(t, err)
	if last := list[len(list)-1]; last.ID != first.ID || list[len(list)-2].Number != 12 {
		t.Errorf("the deployed version is not the oldest: %+v", last)
	}
	for range 3 {
		_, err = db.Deploy(ctx, user("a"), list[0].ID, "api", nil)
		ok(t, err)
	}
	_, err = db.Version(ctx, user("a"), first.ID)
	refused(t, err, fault.NotFound, 10007)
	for range keepVersions {
		_, err = db.Deploy(ctx, user("a"), list[1].ID, "api", nil)
		ok(t, err)
	}
	d, err := db.Deployments(ctx, user("a"))
	ok(t, err)
	if len(d) != keepVersions || d[0].Versions[0].VersionID != list[1].ID {
		t.Errorf("%d deployments, want %d", len(d), keepVersions)
	}
}

func TestDeploymentsOfOneVersionAreBounded(t *testing.T) {
	db := filled(t)
	v := put(t, db, user("a"))
	for range keepVersions + 5 {
		_, err := db.Deploy(t.Context(), user("a"), v.ID, "api", nil)
		ok(t, err)
	}
	rows(t, db, map[string]int{"deployments": keepVersions, "versions": 1})
}

func TestValidated(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	if is, started, err := db.Validated(ctx, "k"); is || started != nil || err != nil {
		t.Errorf("before: %v, %s, %v", is, started, err)
	}
	for _, want := range []string{`{"ms":1}`, `{"ms":2}`} {
		ok(t, db.MarkValidated(ctx, "k", json.RawMessage(want)))
		is, started, err := db.Validated(ctx, "k")
		if !is || string(started) != want || err != nil {
			t.Errorf("after: %v, %s, %v", is, started, err)
		}
	}
	ok(t, db.MarkValidated(ctx, "nothing-known", nil))
	err := execute(ctx, db, fmt.Sprintf("INSERT INTO validated VALUES (%d, 'later', '{}')", keepValidated+2))
	ok(t, err)
	ok(t, db.MarkValidated(ctx, "last", nil))
	if is, _, err := db.Validated(ctx, "k"); is || err != nil {
		t.Errorf("the oldest is kept: %v", err)
	}
	if is, _, err := db.Validated(ctx, "later"); !is || err != nil {
		t.Errorf("a young one is forgotten: %v", err)
	}
}
