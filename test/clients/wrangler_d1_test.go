package clients_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Every wrangler d1 command against the API, with the project of examples/bindings/d1.
func TestWranglerD1(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	w := n.wrangler("")
	if err := os.CopyFS(w.dir, os.DirFS("../../examples/bindings/d1")); err != nil {
		t.Fatal(err)
	}
	out := w.ok("d1", "create", "guestbook", "--location", "weur")
	id := regexp.MustCompile(uuidPattern).FindString(out)
	if id == "" {
		t.Fatalf("no id in\n%s", out)
	}
	matches(t, w.fails("d1", "create", "guestbook"), `already exists`)
	w.edit("wrangler.jsonc", "DATABASE_ID", id)
	for i := range 11 { // wrangler lists by pages of ten
		n.call("POST", n.acct()+"/d1/database", "application/json", `{"name":"other-`+string(rune('a'+i))+`"}`)
	}
	var list []struct{ UUID, Name string }
	if err := json.Unmarshal([]byte(jsonIn(w.ok("d1", "list", "--json"))), &list); err != nil || len(list) != 12 || list[0].Name != "guestbook" {
		t.Errorf("list: %v %+v", err, list)
	}

	matches(t, w.ok("d1", "migrations", "list", "guestbook", "--remote"), `0001_entries\.sql`)
	matches(t, w.ok("d1", "migrations", "apply", "guestbook", "--remote"), `0001_entries\.sql *│ *✅`)
	matches(t, w.ok("d1", "migrations", "apply", "guestbook", "--remote"), `No migrations to apply`)
	w.ok("d1", "migrations", "create", "guestbook", "add an index")
	w.write("migrations/0002_add_an_index.sql", "CREATE INDEX by_name ON entries (name);\nCREATE TRIGGER hello AFTER INSERT ON entries BEGIN SELECT 1; SELECT 2; END;\n")
	w.ok("d1", "migrations", "apply", "guestbook", "--remote")
	w.write("migrations/0003_bad.sql", "CREATE TABLE good (a);\nCREATE TABLE good (a);\n")
	matches(t, w.fails("d1", "migrations", "apply", "guestbook", "--remote"), `table .?good.? already exists`)
	if err := os.Remove(filepath.Join(w.dir, "migrations/0003_bad.sql")); err != nil {
		t.Fatal(err)
	}

	d1 := func(args ...string) string {
		t.Helper()
		return w.ok(append([]string{"d1", "execute", "guestbook", "--remote", "--yes"}, args...)...)
	}
	out = d1("--json", "--command", "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name; SELECT 1 AS one, NULL AS none")
	matches(t, out, `"name": "d1_migrations"`)
	matches(t, out, `"one": 1,\s+"none": null`)
	if strings.Contains(out, "good") {
		t.Errorf("a failed migration left something:\n%s", out)
	}
	matches(t, w.fails("d1", "execute", "guestbook", "--remote", "--yes", "--command", "SELECT * FROM nope"), `no such table: nope`)
	matches(t, w.fails("d1", "execute", "nope", "--remote", "--yes", "--command", "SELECT 1"), `Couldn't find a D1 DB`)
	w.write("seed.sql", strings.Repeat("INSERT INTO entries (name, message) VALUES ('alice', 'it''s; -- fine\n');\n", 500))
	out = d1("--file", "seed.sql")
	matches(t, out, `Executed 500 queries|"Total queries executed": 500`)
	w.write("bad.sql", "INSERT INTO entries (name, message) VALUES ('lost', 'x');\nINSERT INTO nope VALUES (1);")
	matches(t, w.fails("d1", "execute", "guestbook", "--remote", "--yes", "--file", "bad.sql"), `no such table: nope`)
	matches(t, d1("--json", "--command", "SELECT count(*) AS n, sum(name = 'lost') AS lost FROM entries"), `"n": 500,\s+"lost": 0`)

	w.ok("d1", "export", "guestbook", "--remote", "--skip-confirmation", "--output", "dump.sql")
	dump, err := os.ReadFile(filepath.Join(w.dir, "dump.sql"))
	if err != nil {
		t.Fatal(err)
	}
	matches(t, string(dump), `(?m)^INSERT INTO "entries" \("id","name","message","written"\) VALUES\(1,'alice',replace\(`)
	w.ok("d1", "export", "guestbook", "--remote", "--skip-confirmation", "--output", "schema.sql", "--no-data", "--table", "visits")
	if schema, err := os.ReadFile(filepath.Join(w.dir, "schema.sql")); err != nil || strings.Contains(string(schema), "entries") || !strings.Contains(string(schema), "visits") {
		t.Errorf("schema of one table: %v\n%s", err, schema)
	}
	w.ok("d1", "execute", "other-a", "--remote", "--yes", "--file", "dump.sql")
	matches(t, w.ok("d1", "execute", "other-a", "--remote", "--yes", "--json", "--command", "SELECT count(*) AS n FROM entries"), `"n": 500`)

	info := w.ok("d1", "info", "guestbook", "--json")
	matches(t, info, `"name": "guestbook"`)
	matches(t, info, `"num_tables": 3`)
	matches(t, info, `"database_size": \d+`)

	mark := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{32}`)
	before := mark.FindString(w.ok("d1", "time-travel", "info", "guestbook", "--json"))
	d1("--command", "DELETE FROM entries WHERE id > 20; DROP TABLE visits")
	out = w.ok("d1", "time-travel", "restore", "guestbook", "--json", "--bookmark", before)
	matches(t, out, `"message": "Database restored to what it was at bookmark `+before+`"`)
	undo := regexp.MustCompile(`"previous_bookmark": "([^"]+)"`).FindStringSubmatch(out)
	matches(t, d1("--json", "--command", "SELECT count(*) AS n, (SELECT count(*) FROM visits) AS v FROM entries"), `"n": 500,\s+"v": \d`)
	w.ok("d1", "time-travel", "restore", "guestbook", "--json", "--bookmark", undo[1])
	matches(t, w.fails("d1", "execute", "guestbook", "--remote", "--yes", "--command", "SELECT * FROM visits"), `no such table: visits`)
	w.ok("d1", "time-travel", "restore", "guestbook", "--json", "--bookmark", before)
	matches(t, w.ok("d1", "time-travel", "info", "guestbook", "--timestamp", time.Now().UTC().Format(time.RFC3339)), `corresponds with bookmark '`)
	matches(t, w.fails("d1", "time-travel", "restore", "guestbook", "--json", "--bookmark", "nonsense"), `is not a bookmark of this database`)
	matches(t, w.fails("d1", "time-travel", "info", "guestbook", "--timestamp", time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)), `The database was made after that`)

	// The example itself, as an account's Worker.
	w.edit("wrangler.jsonc", `"workers_dev": false,`, `"workers_dev": false, "routes": [{ "pattern": "guests.atoll.localhost/*", "zone_name": "atoll.localhost" }],`)
	w.ok("deploy")
	if got := n.get("guests."+zone, "/"); got.Status != 200 || strings.Count(got.Body, "alice") != 20 {
		t.Errorf("the guestbook: %d %s", got.Status, got.Body)
	}
	w.ok("deploy") // once more: the binding is kept
	n.get("guests."+zone, "/")
	matches(t, w.ok("d1", "delete", "guestbook", "--skip-confirmation"), `Deleted 'guestbook' successfully`)
	if got := n.get("guests."+zone, "/"); got.Status != 500 {
		t.Errorf("a deleted database answers: %d %s", got.Status, got.Body)
	}
}
