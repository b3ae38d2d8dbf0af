package store

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

// fileHash is a made-up blob of a file.
func fileHash(name string) string { return fmt.Sprintf("%064x", "file "+name)[:64] }

// putSite deploys a version with the named files; none: a version without assets.
func putSite(t testing.TB, db *DB, ref atoll.ScriptRef, deploy bool, names ...string) *atoll.Version {
	t.Helper()
	v := &atoll.Version{MainModule: "m"}
	c := ScriptChange{Deploy: deploy}
	if len(names) > 0 {
		v.Assets = &atoll.Assets{Manifest: fileHash(fmt.Sprint(names)), Files: len(names), Config: atoll.AssetsConfig{Headers: "/*\n  A: b"}}
	}
	for _, n := range names {
		c.AssetFiles = append(c.AssetFiles, fileHash(n))
	}
	_, err := db.PutVersion(t.Context(), ref, v, c)
	ok(t, err)
	return v
}

// collectable returns which of the named files no version needs any more.
func collectable(t testing.TB, db *DB, names ...string) (free []string) {
	t.Helper()
	var hashes []string
	for _, n := range names {
		hashes = append(hashes, fileHash(n))
	}
	_, err := db.CollectBlobs(t.Context(), blobs(hashes...), time.Now().Add(time.Hour), func(hash string) (bool, error) {
		free = append(free, names[slices.Index(hashes, hash)])
		return false, nil
	})
	ok(t, err)
	return free
}

func TestAssetFiles(t *testing.T) {
	db := filled(t)
	v := putSite(t, db, user("u"), true, "a", "b", "b")
	equal(t, mustScript(t, db, user("u")).Version.Assets, v.Assets)
	rows(t, db, map[string]int{"asset_files": 2})
	putSite(t, db, user("u"), true, "a", "b", "b") // the same list: nothing to note
	rows(t, db, map[string]int{"asset_files": 2})
	putSite(t, db, user("u"), true, "a", "c") // 3
	putSite(t, db, user("u"), true)           // 4, without
	putSite(t, db, user("u"), true, "b", "c") // 5
	rows(t, db, map[string]int{"asset_files": 5})
	equal(t, collectable(t, db, "a", "b", "c", "d"), []string{"d"})
	// The lists are blobs of the versions.
	equal(t, collectable(t, db, "[a b b]", "[a c]", "[b c]"), []string(nil))

	putSite(t, db, platform("p"), true, "c")
	ok(t, db.DeleteScript(t.Context(), user("u")))
	equal(t, collectable(t, db, "a", "b", "c", "[a c]"), []string{"a", "b", "[a c]"})
	_, err := db.CreateNamespace(t.Context(), acct, "other", false, atoll.NamespaceSettings{})
	ok(t, err)
	putSite(t, db, atoll.ScriptRef{Account: acct, Namespace: "other", Name: "x"}, true, "a")
	ok(t, db.DeleteNamespace(t.Context(), acct, "other"))
	equal(t, collectable(t, db, "a", "c"), []string{"a"})
}

// What is needed by no version that is kept can be collected, even where an old version is the active one.
func TestAssetFilesOfOldVersions(t *testing.T) {
	db := filled(t)
	putSite(t, db, user("u"), true, "always", "first")
	old := putSite(t, db, user("u"), true, "always", "second")
	for i := range keepVersions {
		putSite(t, db, user("u"), false, "always", fmt.Sprint("n", i))
	}
	equal(t, collectable(t, db, "always", "first", "second", "n0"), []string{"first"})
	_, err := db.Deploy(t.Context(), user("u"), old.ID, "api", nil)
	ok(t, err)
	putSite(t, db, user("u"), false, "always", "new")
	equal(t, collectable(t, db, "always", "first", "second", "n0", "n1"), []string{"first", "n0"})
	rows(t, db, map[string]int{"asset_files": 1 + 1 + keepVersions}) // always, second, and those of the versions kept
}

func TestAssetClaims(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	mine := atoll.AssetClaim{Claim: "c1", Blob: fileHash("1"), Size: 7, Type: "text/css"}
	ours := atoll.AssetClaim{Claim: "c2", Blob: fileHash("2"), Size: 8}
	ok(t, db.PutAssetClaims(ctx, user("u"), []atoll.AssetClaim{mine}, []atoll.AssetClaim{ours}))
	for _, c := range []struct {
		ref         atoll.ScriptRef
		own, shared map[string]atoll.AssetClaim
	}{
		{user("u"), map[string]atoll.AssetClaim{"c1": mine}, map[string]atoll.AssetClaim{"c2": ours}},
		{user("other"), map[string]atoll.AssetClaim{}, map[string]atoll.AssetClaim{"c2": ours}},
		{platform("u"), map[string]atoll.AssetClaim{}, map[string]atoll.AssetClaim{}},
	} {
		own, shared, err := db.AssetClaims(ctx, c.ref, []string{"c1", "c2", "c3"})
		ok(t, err)
		equal(t, own, c.own)
		equal(t, shared, c.shared)
	}
	mine.Blob = fileHash("3")
	ok(t, db.PutAssetClaims(ctx, user("u"), []atoll.AssetClaim{mine}, nil))
	own, _, err := db.AssetClaims(ctx, user("u"), []string{"c1"})
	ok(t, err)
	equal(t, own["c1"], mine)

	// They go with the script, and with the content.
	putSite(t, db, user("u"), true)
	ok(t, db.DeleteScript(ctx, user("u")))
	own, shared, err := db.AssetClaims(ctx, user("u"), []string{"c1", "c2"})
	ok(t, err)
	equal(t, len(own), 0)
	equal(t, len(shared), 1)
	_, err = db.CollectBlobs(ctx, blobs(ours.Blob), time.Now().Add(time.Hour), func(string) (bool, error) { return true, nil })
	ok(t, err)
	rows(t, db, map[string]int{"asset_claims": 0})

	_, _, err = db.AssetClaims(ctx, atoll.ScriptRef{Account: acct, Namespace: "nope", Name: "x"}, nil)
	refused(t, err, fault.NotFound, 100119)
	if err := db.PutAssetClaims(ctx, user("u"), []atoll.AssetClaim{{Claim: "c", Blob: "no hash"}}, nil); err == nil {
		t.Error("took a hash that is none")
	}
}
