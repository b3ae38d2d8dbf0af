package store

import (
	"encoding/json"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

func TestMissingScript(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	put(t, db, platform("user-worker"))
	put(t, db, user("router"))
	nowhere := atoll.ScriptRef{Account: acct, Namespace: "nowhere", Name: "router"}
	calls := map[string]func(atoll.ScriptRef) error{
		"script":               func(r atoll.ScriptRef) error { _, err := db.Script(ctx, r); return err },
		"update-script":        func(r atoll.ScriptRef) error { _, err := db.UpdateScript(ctx, r, ScriptChange{}); return err },
		"delete-script":        func(r atoll.ScriptRef) error { return db.DeleteScript(ctx, r) },
		"deploy":               func(r atoll.ScriptRef) error { _, err := db.Deploy(ctx, r, "", "", nil); return err },
		"deployments":          func(r atoll.ScriptRef) error { _, err := db.Deployments(ctx, r); return err },
		"versions":             func(r atoll.ScriptRef) error { _, _, err := db.Versions(ctx, r, 0, 0); return err },
		"version":              func(r atoll.ScriptRef) error { _, err := db.Version(ctx, r, ""); return err },
		"tags":                 func(r atoll.ScriptRef) error { _, err := db.Tags(ctx, r); return err },
		"set-tags":             func(r atoll.ScriptRef) error { _, err := db.SetTags(ctx, r, nil); return err },
		"add-tag":              func(r atoll.ScriptRef) error { _, err := db.AddTag(ctx, r, "x"); return err },
		"remove-tag":           func(r atoll.ScriptRef) error { return db.RemoveTag(ctx, r, "x") },
		"schedules":            func(r atoll.ScriptRef) error { _, err := db.Schedules(ctx, r); return err },
		"set-schedules":        func(r atoll.ScriptRef) error { _, err := db.SetSchedules(ctx, r, nil); return err },
		"script-subdomain":     func(r atoll.ScriptRef) error { _, _, err := db.ScriptSubdomain(ctx, r); return err },
		"set-script-subdomain": func(r atoll.ScriptRef) error { return db.SetScriptSubdomain(ctx, r, true, true) },
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			// names in a namespace and names in the account are not visible through each other
			refused(t, call(user("user-worker")), fault.NotFound, 10092)
			refused(t, call(platform("router")), fault.NotFound, 10007)
			refused(t, call(nowhere), fault.NotFound, 100119)
			refused(t, call(atoll.ScriptRef{Account: other, Name: "router"}), fault.NotFound, 10007)
		})
	}
	rows(t, db, map[string]int{"scripts": 2})
}

func TestUpdateScript(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	v := put(t, db, user("a"))
	before, err := db.Script(ctx, user("a"))
	ok(t, err)
	if before.Observability != nil || before.TailConsumers != nil || before.Logpush || len(before.Tag) != 32 || len(before.Tags) != 0 {
		t.Errorf("new script %+v", before)
	}

	tags, yes, mark := []string{"t2", "t1", "t2"}, true, "v1"
	obs, tail := json.RawMessage(`{"enabled":true}`), json.RawMessage(`[{"service":"tail"}]`)
	after, err := db.UpdateScript(ctx, user("a"), ScriptChange{Tags: &tags, Logpush: &yes, Observability: &obs, TailConsumers: &tail, MigrationTag: &mark})
	ok(t, err)
	want := *before
	want.Tags, want.Logpush, want.Observability, want.TailConsumers, want.MigrationTag = []string{"t2", "t1"}, true, obs, tail, "v1"
	want.Modified = after.Modified
	equal(t, after, &want)
	equal(t, after.Active, v.ID)

	none := json.RawMessage(nil)
	after, err = db.UpdateScript(ctx, user("a"), ScriptChange{Observability: &none})
	ok(t, err)
	want.Observability, want.Modified = nil, after.Modified
	equal(t, after, &want)
	got, err := db.Script(ctx, user("a"))
	ok(t, err)
	equal(t, got, after)

	bad := []string{"a,b"}
	_, err = db.UpdateScript(ctx, user("a"), ScriptChange{Tags: &bad})
	refused(t, err, fault.Invalid, 10021)
}

func TestDeleteScript(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	first := put(t, db, platform("a"), "x")
	z, err := db.EnsureZone(ctx, acct, "example.com")
	ok(t, err)
	_, err = db.PutRoute(ctx, Route{Zone: z.ID, Pattern: "*/*", Script: "a"})
	ok(t, err)
	_, err = db.SetSchedules(ctx, platform("a"), []string{"* * * * *"})
	ok(t, err)
	ok(t, db.SetScriptSubdomain(ctx, platform("a"), true, true))
	before, err := db.Script(ctx, platform("a"))
	ok(t, err)

	ok(t, db.DeleteScript(ctx, platform("a")))
	refused(t, db.DeleteScript(ctx, platform("a")), fault.NotFound, 10007)
	rows(t, db, map[string]int{"scripts": 0, "versions": 0, "deployments": 0, "script_tags": 0, "routes": 0, "schedules": 0, "version_blobs": 0})

	put(t, db, platform("a"))
	again, err := db.Script(ctx, platform("a"))
	ok(t, err)
	if again.Tag == before.Tag || again.Version.Number != 1 || again.Active == first.ID {
		t.Errorf("a new script of the same name goes on with the old one: %+v", again)
	}
	if enabled, previews, err := db.ScriptSubdomain(ctx, platform("a")); enabled || previews || err != nil {
		t.Errorf("subdomain of the new script: %v, %v, %v", enabled, previews, err)
	}
}

func TestScriptSubdomain(t *testing.T) {
	db := filled(t)
	put(t, db, platform("a"))
	for _, want := range [][2]bool{{true, false}, {false, true}, {true, true}, {false, false}} {
		ok(t, db.SetScriptSubdomain(t.Context(), platform("a"), want[0], want[1]))
		enabled, previews, err := db.ScriptSubdomain(t.Context(), platform("a"))
		ok(t, err)
		equal(t, [2]bool{enabled, previews}, want)
	}
}

func TestSchedules(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	put(t, db, user("a"))
	put(t, db, platform("b"))
	if list, err := db.Schedules(ctx, user("a")); len(list) > 0 || err != nil {
		t.Errorf("schedules of a new script: %v, %v", list, err)
	}
	first, err := db.SetSchedules(ctx, user("a"), []string{"0 0 * * *", "* * * * *", "0 0 * * *"})
	ok(t, err)
	list, err := db.Schedules(ctx, user("a"))
	ok(t, err)
	equal(t, list, first)
	if len(list) != 2 || list[0].Cron != "0 0 * * *" {
		t.Errorf("schedules %v", list)
	}
	second, err := db.SetSchedules(ctx, user("a"), []string{"* * * * *", "1 * * * *"})
	ok(t, err)
	equal(t, second[0], first[1])
	_, err = db.SetSchedules(ctx, platform("b"), []string{"2 * * * *"})
	ok(t, err)
	all, err := db.AllSchedules(ctx)
	ok(t, err)
	equal(t, all, []ScriptSchedule{{user("a"), "* * * * *"}, {user("a"), "1 * * * *"}, {platform("b"), "2 * * * *"}})
	_, err = db.SetSchedules(ctx, user("a"), nil)
	ok(t, err)
	if list, err := db.Schedules(ctx, user("a")); len(list) > 0 || err != nil {
		t.Errorf("schedules after removal: %v, %v", list, err)
	}
}
