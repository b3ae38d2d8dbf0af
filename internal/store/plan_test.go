package store

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/sqlite"
)

// TestNoScans calls every method and asks SQLite how it runs each statement they prepared. A scan of a table or a sort is
// allowed only where the whole list is wanted and short: what grows with the number of scripts is always searched.
func TestNoScans(t *testing.T) {
	db := filled(t)
	callEverything(t, db)
	short := regexp.MustCompile(`^SELECT [^?]* FROM (accounts|tokens|zones|routes|schedules)\b` + // whole lists
		`|FROM tokens WHERE account = \?` + // an account's tokens
		`|FROM schedules WHERE script = \?`) // a script's triggers
	queries := db.file.Statements()
	if len(queries) < 60 {
		t.Errorf("only %d statements", len(queries))
	}
	explained := 0
	for _, q := range queries {
		plan := explain(t, db, q)
		if len(plan) > 0 {
			explained++
		}
		for _, step := range plan {
			scan := strings.HasPrefix(step, "SCAN ") && step != "SCAN CONSTANT ROW" && !strings.HasPrefix(step, "SCAN (")
			if (scan || strings.Contains(step, "TEMP B-TREE")) && !short.MatchString(strings.Join(strings.Fields(q), " ")) {
				t.Errorf("%s\n\t%s", q, strings.Join(plan, "\n\t"))
			}
		}
	}
	if explained < 40 {
		t.Errorf("only %d plans", explained)
	}
}

func TestFilterPlans(t *testing.T) {
	db := filled(t)
	for filter, want := range map[string]string{
		"":                  "SEARCH s USING INDEX sqlite_autoindex_scripts_1 (namespace=? AND name>?)",
		"a:no":              "SEARCH s USING INDEX sqlite_autoindex_scripts_1 (namespace=? AND name>?)",
		"a:yes":             "SEARCH t USING PRIMARY KEY (namespace=? AND tag=? AND name>?)",
		"a:yes,b:no":        "SEARCH t USING PRIMARY KEY (namespace=? AND tag=? AND name>?)",
		"a:yes,b:yes,c:no":  "SEARCH t USING PRIMARY KEY (namespace=? AND tag=? AND name>?)",
		"a:no,b:no,c:yes":   "SEARCH t USING PRIMARY KEY (namespace=? AND tag=? AND name>?)",
		"a:yes,b:yes,c:yes": "SEARCH t USING PRIMARY KEY (namespace=? AND tag=? AND name>?)",
	} {
		terms, err := ParseTagFilter(filter)
		ok(t, err)
		q, err := newTagQuery(terms)
		ok(t, err)
		query, _ := q.scripts(scriptColumns, 1, "", 10)
		plan := explain(t, db, query)
		if plan[0] != want {
			t.Errorf("%q\n\t%s", filter, strings.Join(plan, "\n\t"))
		}
		for _, step := range plan {
			if strings.Contains(step, " x ") && !strings.HasSuffix(step, " USING PRIMARY KEY (namespace=? AND tag=? AND name=?)") {
				t.Errorf("%q probes by %s", filter, step)
			}
		}
	}
}

// TestForeignKeysHaveIndexes keeps deletions from scanning the tables that refer to what is deleted.
func TestForeignKeysHaveIndexes(t *testing.T) {
	db := open(t, t.TempDir())
	keys, err := sqlite.All(t.Context(), db.reads, func(row sqlite.Row) (k [2]string, err error) { return k, row.Scan(&k[0], &k[1]) },
		`SELECT m.name, f."from" FROM sqlite_schema m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table'`)
	ok(t, err)
	if len(keys) < 10 {
		t.Errorf("only %d foreign keys", len(keys))
	}
	for _, k := range keys {
		plan := explain(t, db, fmt.Sprintf("SELECT 1 FROM %s WHERE %s = ?", k[0], k[1]))
		if !strings.HasPrefix(plan[0], "SEARCH") {
			t.Errorf("%s.%s: %s", k[0], k[1], plan[0])
		}
	}
}

// explain returns the steps of a statement's plan, https://sqlite.org/eqp.html.
func explain(t *testing.T, db *DB, query string) []string {
	t.Helper()
	switch strings.Fields(query)[0] {
	case "SELECT", "INSERT", "UPDATE", "DELETE":
	default:
		return nil
	}
	steps, err := sqlite.All(t.Context(), db.reads, func(row sqlite.Row) (step string, err error) {
		var id, parent, unused int
		err = row.Scan(&id, &parent, &unused, &step)
		return step, err
	}, "EXPLAIN QUERY PLAN "+query, make([]any, maxTerms+10)...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return steps
}

func callEverything(t *testing.T, db *DB) {
	t.Helper()
	ctx := t.Context()
	must := func(_ any, err error) { t.Helper(); ok(t, err) }
	_, err := db.PutVersion(ctx, platform("p"), sample(), ScriptChange{Deploy: true, Source: "api"})
	ok(t, err)
	v := put(t, db, user("u"), "a", "b")
	for range keepVersions {
		put(t, db, user("u"), "b")
	}
	for _, filter := range []string{"", "a:yes", "a:no", "a:yes,b:yes", "a:yes,b:no", "a:no,b:no", "a:yes,b:yes,c:no,d:no"} {
		terms, err := ParseTagFilter(filter)
		ok(t, err)
		for _, ns := range []atoll.NamespaceName{"", prod} {
			_, _, err = db.Scripts(ctx, acct, ns, ScriptFilter{Tags: terms})
			ok(t, err)
		}
		if filter != "" && filter != "a:no" && filter != "a:no,b:no" {
			_, _, err = db.DeleteScripts(ctx, acct, prod, append(terms, TagTerm{"never", true}), 0)
			ok(t, err)
		}
	}
	must(db.Account(ctx, acct))
	must(db.Accounts(ctx))
	ok(t, db.SetSubdomain(ctx, acct, "acme"))
	must(db.Subdomain(ctx, acct))
	ok(t, db.PutToken(ctx, Token{ID: "t", Account: acct}))
	must(db.TokenByHash(ctx, [32]byte{}))
	must(db.Tokens(ctx, ""))
	must(db.Tokens(ctx, acct))
	ok(t, db.DeleteToken(ctx, "t"))
	secrets, err := db.CreateSecretStore(ctx, acct, "s")
	ok(t, err)
	must(db.SecretStores(ctx, acct))
	stored, err := db.CreateStoredSecrets(ctx, acct, secrets.ID, []SecretChange{{Name: "a", Value: text("x"), Scopes: []string{WorkersScope}}})
	ok(t, err)
	must(db.UpdateStoredSecret(ctx, acct, secrets.ID, stored[0].ID, SecretChange{Value: text("y")}))
	must(db.StoredSecretValue(ctx, acct, secrets.ID, "a"))
	must(db.StoredSecrets(ctx, acct, secrets.ID))
	must(db.DeleteStoredSecrets(ctx, acct, secrets.ID, []string{stored[0].ID}))
	must(db.DeleteSecretStore(ctx, acct, secrets.ID, false))
	must(db.Namespace(ctx, acct, prod))
	must(db.Namespaces(ctx, acct))
	must(db.UpdateNamespace(ctx, acct, prod, NamespaceChange{}))
	rules := atoll.EgressRules{Deny: []string{"*"}}
	_, err = db.SetEgressRules(ctx, user("u"), rules)
	ok(t, err)
	_, _, err = db.EgressRules(ctx, user("u"))
	ok(t, err)
	must(db.EgressScripts(ctx, acct, prod, 10))
	ok(t, db.DeleteEgressRules(ctx, user("u")))
	must(db.Script(ctx, user("u")))
	must(db.UpdateScript(ctx, user("u"), ScriptChange{}))
	_, _, err = db.Versions(ctx, user("u"), 10, 10)
	ok(t, err)
	must(db.Version(ctx, platform("p"), mustScript(t, db, platform("p")).Active))
	must(db.Deploy(ctx, platform("p"), mustScript(t, db, platform("p")).Active, "api", nil))
	must(db.Deployments(ctx, user("u")))
	must(db.SetTags(ctx, user("u"), []string{"z"}))
	must(db.Tags(ctx, user("u")))
	must(db.SetSchedules(ctx, user("u"), []string{"* * * * *"}))
	must(db.Schedules(ctx, user("u")))
	must(db.AllSchedules(ctx))
	ok(t, db.SetScriptSubdomain(ctx, user("u"), true, true))
	_, _, err = db.ScriptSubdomain(ctx, user("u"))
	ok(t, err)
	ok(t, db.MarkValidated(ctx, "k", json.RawMessage("{}")))
	_, _, err = db.Validated(ctx, "k")
	ok(t, err)
	z, err := db.EnsureZone(ctx, acct, "example.com")
	ok(t, err)
	must(db.Zone(ctx, z.ID))
	must(db.ZoneByName(ctx, acct, z.Name))
	must(db.Zones(ctx, ""))
	must(db.Zones(ctx, acct))
	r, err := db.PutRoute(ctx, Route{Zone: z.ID, Pattern: "*/*", Script: "p"})
	ok(t, err)
	must(db.Route(ctx, z.ID, r.ID))
	must(db.Routes(ctx, z.ID))
	must(db.AllRoutes(ctx))
	must(db.ScriptRoutes(ctx, acct, "p"))
	must(db.ReplaceScriptRoutes(ctx, acct, "p", []RouteSpec{{z.ID, "a/*"}}))
	r, err = db.PutRoute(ctx, Route{Zone: z.ID, Pattern: "*/*", Script: "p"})
	ok(t, err)
	ok(t, db.DeleteRoute(ctx, z.ID, r.ID))
	must(db.CollectBlobs(ctx, blobs(v.Modules[0].Hash), time.Now(), func(string) (bool, error) { return true, nil }))
	putSite(t, db, user("u"), true, "a", "b")
	putSite(t, db, user("u"), true, "b", "c")
	ok(t, db.PutAssetClaims(ctx, user("u"), []atoll.AssetClaim{{Claim: "c", Blob: fileHash("c")}}, nil))
	_, _, err = db.AssetClaims(ctx, user("u"), []string{"c"})
	ok(t, err)
	ok(t, db.DeleteScript(ctx, user("u")))
	ok(t, db.DeleteNamespace(ctx, acct, prod))
}

func mustScript(t *testing.T, db *DB, ref atoll.ScriptRef) *atoll.Script {
	t.Helper()
	s, err := db.Script(t.Context(), ref)
	ok(t, err)
	return s
}
