package engine

import (
	"strings"
	"testing"
)

func TestStatements(t *testing.T) {
	for sql, want := range map[string]string{
		"":                                "",
		" ; -- x\n ; /* y */":             "",
		"SELECT 1":                        "SELECT 1",
		"SELECT ';'; SELECT 2 ":           "SELECT ';';| SELECT 2 ",
		"SELECT \"a;b\", `c;d`, [e;f]; x": "SELECT \"a;b\", `c;d`, [e;f];| x",
		"SELECT 1 -- a; b\n; SELECT 2":    "SELECT 1 -- a; b\n;| SELECT 2",
		"SELECT 'it''s;' /* ; */;":        "SELECT 'it''s;' /* ; */;",
		"CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; SELECT CASE 1 WHEN 1 THEN 2 END; END; SELECT 3": "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; SELECT CASE 1 WHEN 1 THEN 2 END; END;| SELECT 3",
		"create temp trigger t begin select 1; end; select 2":                                               "create temp trigger t begin select 1; end;| select 2",
		"EXPLAIN CREATE TRIGGER t BEGIN SELECT 1; END; x":                                                   "EXPLAIN CREATE TRIGGER t BEGIN SELECT 1; END;| x",
		"CREATE TABLE trigger_ (a); b":                                                                      "CREATE TABLE trigger_ (a);| b",
	} {
		if got := strings.Join(Statements(sql), "|"); got != want {
			t.Errorf("%q:\n got  %q\n want %q", sql, got, want)
		}
	}
	if got := Trim("SELECT 1 ; -- x\n;"); got != "SELECT 1" {
		t.Errorf("%q", got)
	}
}

// FuzzSplit cuts anything into pieces that make the whole again, however it is cut into chunks before.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{"SELECT 1; SELECT 2", "CREATE TRIGGER t BEGIN SELECT ';'; END; -- x\n", "'", "/*", "[;", "é;", "--;\n;"} {
		f.Add(s, 3)
	}
	f.Fuzz(func(t *testing.T, sql string, cut int) {
		whole := sql
		var pieces []string
		for sql != "" {
			var first string
			if first, sql = Split(sql); first == "" {
				t.Fatal("no progress")
			}
			pieces = append(pieces, first)
		}
		if strings.Join(pieces, "") != whole {
			t.Errorf("%q became %q", whole, pieces)
		}
		if cut < 0 || cut > len(whole) {
			return
		}
		if first, _, ended := SplitEnded(whole[:cut]); ended && len(pieces) > 0 && first != pieces[0] {
			t.Errorf("cut at %d, the first statement of %q is %q, not %q", cut, whole, first, pieces[0])
		}
	})
}

// FuzzSQL prepares and runs anything, with limits: nothing may crash, and the names of the node's own stay unreachable.
func FuzzSQL(f *testing.F) {
	for _, s := range []string{"SELECT 1", "CREATE TABLE t (a); INSERT INTO t VALUES (1)", "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) SELECT * FROM r",
		"PRAGMA table_info(t)", "SELECT * FROM _cf_x", "CREATE VIRTUAL TABLE f USING fts5(a)", "SELECT json_each.value FROM json_each('[1]')"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		m := NewMeter(8<<20, nil)
		c, err := Open(":memory:", false, m)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Exec("CREATE TABLE _cf_x (secret); INSERT INTO _cf_x VALUES ('hush')"); err != nil {
			t.Fatal(err)
		}
		c.Restrict(true)
		ops := 0
		c.Guard(t.Context(), noDeadline, func() error {
			if ops++; ops > 100 {
				return ErrTimeout
			}
			return nil
		})
		for _, one := range Statements(sql) {
			if out, _, err := run(c, one); err == nil && strings.Contains(out, "hush") && !strings.Contains(sql, "hush") {
				t.Errorf("%q read %s", sql, out)
			}
		}
	})
}
