package d1

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestBindingOracle does random operations on both databases: 400, and as many more as D1_TEST_STEPS says.
func TestBindingOracle(t *testing.T) {
	seed := rand.Uint64()
	if n, err := strconv.ParseUint(os.Getenv("D1_TEST_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("seed %d", seed)
	rounds := 8
	if n, err := strconv.Atoi(os.Getenv("D1_TEST_STEPS")); err == nil {
		rounds += n / 50
	}
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0))}
	o := startOracle(t)
	o.compare([]step{
		all("CREATE TABLE t0 (id INTEGER PRIMARY KEY, a, b TEXT, c REAL)"),
		all("CREATE TABLE t1 (id INTEGER PRIMARY KEY AUTOINCREMENT, a INT UNIQUE, b BLOB NOT NULL DEFAULT x'01', c CHECK (c IS NULL OR c < 1000))"),
		all("CREATE TABLE t2 (a, b, c, PRIMARY KEY (a, b)) STRICT, WITHOUT ROWID"),
		{Op: "all", SQL: "CREATE TABLE t2 (a ANY, b ANY, c ANY, PRIMARY KEY (a, b)) STRICT, WITHOUT ROWID", About: true},
		{Op: "all", SQL: "CREATE INDEX i0 ON t0 (a)", About: true},
	})
	for range rounds {
		steps := make([]step, 50)
		for i := range steps {
			steps[i] = g.step()
		}
		o.compare(steps)
		if t.Failed() {
			return // what comes after would differ for this alone
		}
	}
}

// generator makes random operations.
type generator struct {
	*rand.Rand
	extra int // objects made besides the first tables
}

func pick[T any](g *generator, list ...T) T { return list[g.IntN(len(list))] }

func (g *generator) step() step {
	switch op := pick(g, "all", "all", "all", "run", "first", "raw", "names", "batch", "exec", "session", "column"); op {
	case "batch", "session":
		s := step{Op: op, Constraint: pick(g, "", "first-primary", "first-unconstrained")}
		for range 1 + g.IntN(4) {
			s.Batch = append(s.Batch, g.statement())
		}
		return s
	case "exec":
		var lines []string
		for range 1 + g.IntN(3) {
			lines = append(lines, "INSERT INTO t0 (a, b) VALUES ("+g.literal()+", "+g.literal()+")"+pick(g, "", ";", "; SELECT 1"))
		}
		if g.IntN(5) == 0 {
			lines = append(lines, "nonsense")
		}
		return step{Op: op, SQL: strings.Join(lines, "\n"), About: true}
	case "column":
		s := g.query()
		s.Op, s.Column = op, pick(g, "a", "b", "n", "nope")
		return s
	default:
		s := g.statement()
		s.Op = op
		return s
	}
}

func (g *generator) statement() step {
	if g.IntN(2) == 0 {
		return g.query()
	}
	return g.write()
}

// params are values of all types, and as many placeholders.
func (g *generator) value() any {
	switch g.IntN(9) {
	case 0:
		return nil
	case 1:
		return g.IntN(20)
	case 2:
		return -g.IntN(20)
	case 3:
		return float64(g.IntN(1000)) / 8
	case 4:
		return pick[any](g, 9007199254740993.0, -9007199254740992.0, 4294967296.0, 1e21, 1e300, 1e-7, true, false)
	case 5:
		return map[string]any{"bytes": []int{g.IntN(256), g.IntN(256), 0}}
	case 6:
		return pick(g, "", "'", "é😀", "a\x00b", "line\nline", `"\`, "0", "1e3", "-0", " 7 ", strings.Repeat("x", g.IntN(3000)))
	}
	return pick(g, "a", "b", "c", "ab") + strconv.Itoa(g.IntN(10))
}

func (g *generator) literal() string {
	return pick(g, "NULL", "1", "-7", "2.5", "'x'", "'it''s'", "x'00ff'", "1e10", "9223372036854775807", "''", strconv.Itoa(g.IntN(50)))
}

func (g *generator) table() string { return pick(g, "t0", "t1", "t2") }

func (g *generator) condition() (sql string, params []any) {
	column := pick(g, "a", "b", "c")
	switch g.IntN(6) {
	case 0:
		return column + " = ?", []any{g.value()}
	case 1:
		return column + " > ?", []any{g.value()}
	case 2:
		return column + " IS NULL", nil
	case 3:
		return "typeof(" + column + ") <> 'blob' AND " + column + " LIKE ?", []any{pick(g, "%", "a%", "_", "%1", strings.Repeat("%", 51))}
	case 4:
		return column + " IN (?, ?)", []any{g.value(), g.value()}
	}
	return column + " BETWEEN ? AND ?", []any{g.value(), g.value()}
}

// order makes the order of rows the same in both, whatever the plans.
func order(table string) string {
	if table == "t2" {
		return " ORDER BY a, b"
	}
	return " ORDER BY id"
}

func (g *generator) query() step {
	table := g.table()
	switch g.IntN(12) {
	case 0:
		return all("SELECT * FROM " + table + order(table))
	case 1:
		return all("SELECT count(*) AS n FROM " + table)
	case 2:
		v, w := g.value(), g.value()
		return all("SELECT ? AS a, ? AS b, typeof(?1) AS ta, typeof(?2) AS tb, quote(?1) AS n", v, w)
	case 3:
		return step{Op: "all", SQL: "SELECT a, count(*) AS n, group_concat(typeof(b)) AS b FROM " + table + " GROUP BY a ORDER BY a", About: true}
	case 4:
		return step{Op: "all", SQL: fmt.Sprintf("SELECT x.a, y.b FROM %s x JOIN %s y ON x.a = y.a ORDER BY x.a, quote(y.b), quote(x.b), quote(y.c), quote(x.c) LIMIT 30", table, g.table()), About: true}
	case 5:
		return step{Op: "all", SQL: pick(g,
			"SELECT json_object('a', ?, 'b', json_array(1, 2.5, NULL)) AS a", "SELECT upper(?) AS a, length(?1) AS b, hex(?1) AS n", "SELECT replace(?, 'a', 'bb') AS a, instr(?1, 'b') AS b, trim(?1) AS n",
			"SELECT abs(?) AS a", "SELECT CAST(? AS INTEGER) AS a, CAST(?1 AS TEXT) AS b, CAST(?1 AS REAL) AS n", "SELECT coalesce(?, 'none') AS a", "SELECT substr(?, 2, 3) AS a, unicode(?1) AS b",
			"SELECT date('2024-02-29', '+' || ? || ' days') AS a", "SELECT printf('%5d|%-5s|%x', ?1, ?1, ?1) AS a", "SELECT round(?, 2) AS a", "SELECT ? + 1 AS a, ?1 * 1.5 AS b, ?1 || 'x' AS n"),
			Params: []any{g.value()}}
	case 6:
		return step{Op: "all", SQL: pick(g, "SELECT * FROM nope", "SELECT nope FROM t0", "SELEC 1", "SELECT 1 +", "SELECT (", "SELECT 'open", "SELECT * FROM t0 WHERE", "SELECT f(1)", "SELECT max()",
			"SELECT 1; SELECT 2", "; ;", "-- x", "SELECT 1 -- x", "/* a", "PRAGMA user_version", "PRAGMA table_info(t1)", "PRAGMA index_list(t1)", "ATTACH 'a' AS b", "DETACH main", "SELECT sqlite_version()",
			"SELECT * FROM sqlite_schema WHERE name = 't0'", "SELECT * FROM pragma_table_info('t2')", "SELECT * FROM pragma_database_list", "EXPLAIN QUERY PLAN SELECT * FROM t0", "VALUES (1, 2), (3, 4)",
			"SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6"), About: true}
	case 7:
		return step{Op: "all", SQL: "SELECT *, row_number() OVER (ORDER BY b, a) AS n FROM " + table + order(table) + " LIMIT ?", Params: []any{g.IntN(5)}, About: true}
	case 8:
		return step{Op: "all", SQL: "SELECT ?, ? AS b", Params: []any{g.value(), g.value(), g.value()}[:1+g.IntN(3)]}
	}
	cond, params := g.condition()
	return step{Op: "all", SQL: "SELECT * FROM " + table + " WHERE " + cond + order(table), Params: params, About: true}
}

func (g *generator) write() step {
	table := g.table()
	switch g.IntN(10) {
	case 0:
		cond, params := g.condition()
		return step{Op: "all", SQL: "DELETE FROM " + table + " WHERE " + cond, Params: params, About: true}
	case 1:
		cond, params := g.condition()
		return step{Op: "all", SQL: "UPDATE " + table + " SET c = ? WHERE " + cond, Params: append([]any{g.value()}, params...), About: true}
	case 2:
		return step{Op: "all", SQL: pick(g, "INSERT OR IGNORE", "REPLACE", "INSERT OR ABORT") + " INTO " + table + " (a, b, c) VALUES (?, ?, ?)", Params: []any{g.value(), g.value(), g.value()}, About: true}
	case 3:
		return step{Op: "all", SQL: "INSERT INTO " + table + " (a, b) VALUES (?, ?) ON CONFLICT DO UPDATE SET c = coalesce(c, 0) + 1 RETURNING *", Params: []any{g.value(), g.value()}, About: true}
	case 4:
		g.extra++
		return step{Op: "all", SQL: fmt.Sprintf(pick(g, "CREATE TABLE x%d (a, b)", "CREATE VIEW x%d AS SELECT a FROM t0", "CREATE INDEX x%d ON t0 (c)", "CREATE TABLE t0 (a%d)", "DROP TABLE x%d", "ALTER TABLE x%d ADD COLUMN z"), g.extra), About: true}
	case 5:
		return all(fmt.Sprintf("INSERT INTO t0 (a) VALUES (%s)", g.literal()))
	}
	return step{Op: "all", SQL: "INSERT INTO " + table + " (a, b, c) VALUES (?, ?, ?)", Params: []any{g.value(), g.value(), g.value()}, About: table == "t1"}
}
