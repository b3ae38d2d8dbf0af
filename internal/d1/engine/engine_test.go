package engine

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var noDeadline time.Time

func open(t *testing.T, m *Meter) *Conn {
	t.Helper()
	c, err := Open(filepath.Join(t.TempDir(), "x.sqlite"), false, m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// run runs statements and returns the last one's rows as JSON, and its counts.
func run(c *Conn, sql string, params ...Param) (string, Rows, error) {
	var out string
	var r Rows
	for _, s := range Statements(sql) {
		st, err := c.Prepare(s)
		if err != nil {
			return "", r, err
		}
		if st == nil { // a NUL ended the text before anything was said
			continue
		}
		before := c.TotalChanges()
		out, err = rows(st, params)
		all := c.TotalChanges() - before
		own := min(all, c.Changes())
		r = st.Rows(own, all-own)
		st.Close()
		if err != nil {
			return "", r, err
		}
	}
	return out, r, nil
}

func rows(st *Stmt, params []Param) (string, error) {
	if err := st.Bind(params); err != nil {
		return "", err
	}
	var b []byte
	for {
		more, err := st.Step()
		if err != nil || !more {
			return string(b), err
		}
		b = append(b, '[')
		for i := range st.Columns() {
			if i > 0 {
				b = append(b, ',')
			}
			v, err := st.Value(i)
			if err != nil {
				return "", err
			}
			b = v.AppendJSON(b)
		}
		b = append(b, ']')
	}
}

func TestRun(t *testing.T) {
	c := open(t, nil)
	c.Restrict(true)
	for sql, want := range map[string]string{
		`SELECT 1, 'a"b', x'0102', NULL, 1.5, 9007199254740993, 1e400, -0.0, 1e21, 1e-7`:                                                                          `[1,"a\"b",[1,2],null,1.5,9007199254740992,null,0,1e+21,1e-7]`,
		`SELECT instr('aéb', 'b'), instr('abc', ''), instr(x'010203', x'03'), instr('abc', 'd'), instr(NULL, 'a'), instr(123, 3), instr('', ''), instr('é', 'é')`: `[3,1,3,0,null,3,1,1]`,
		`SELECT replace('aXbX', 'X', 'yy'), replace('a', '', 'b'), replace(1, 1, 2), replace('a', NULL, 'b'), replace('a','a',NULL)`:                              `["ayybyy","a","2",null,null]`,
		`SELECT trim('  a '), ltrim('xya', 'yx'), rtrim('aéü', 'üé'), trim(NULL), trim('a', NULL), trim(11, 1)`:                                                   `["a","a","a",null,null,""]`,
	} {
		got, _, err := run(c, sql)
		if err != nil || got != want {
			t.Errorf("%s:\n %s, %v\n want %s", sql, got, err, want)
		}
	}
}

func TestDenied(t *testing.T) {
	c := open(t, nil)
	if err := c.Exec(`CREATE TABLE t (a); CREATE TABLE _cf_x (a)`); err != nil {
		t.Fatal(err)
	}
	c.Restrict(true)
	for _, sql := range []string{
		`ATTACH '/etc/passwd' AS x`, `ATTACH ':memory:' AS x`, `DETACH main`, `PRAGMA writable_schema = 1`, `PRAGMA journal_mode = DELETE`,
		`PRAGMA user_version = 1`, `PRAGMA temp_store_directory = '/'`, `PRAGMA page_size = 1024`, `PRAGMA function_list`,
		`SELECT load_extension('x.so')`, `SELECT sqlite_version()`, `SELECT sqlite_compileoption_get(1)`, `SELECT readfile('/etc/passwd')`,
		`SELECT fts3_tokenizer('x')`, `CREATE VIRTUAL TABLE d USING dbstat`, `CREATE VIRTUAL TABLE d USING sqlite_dbpage`,
		`SELECT * FROM sqlite_dbpage`, `SELECT * FROM dbstat`, `SELECT * FROM pragma_database_list`, `VACUUM`, `VACUUM INTO '/tmp/x'`,
		`SELECT * FROM _cf_x`, `SELECT * FROM _CF_x`, `INSERT INTO _cf_x VALUES (1)`, `DROP TABLE _cf_x`, `CREATE TABLE _cf_y (a)`,
		`BEGIN`, `COMMIT`, `ROLLBACK`, `SAVEPOINT a`, `CREATE TEMP TABLE x (a)`, `CREATE TABLE temp.x (a)`, `UPDATE sqlite_schema SET sql = 'x'`,
		`DELETE FROM sqlite_schema`, `PRAGMA table_info(_cf_x)`, `SELECT 1; SELECT 2`, `SELECT geopoly_area('x')`, `EXPLAIN ATTACH 'x' AS y`,
	} {
		st, err := c.Prepare(sql)
		if err == nil {
			if _, err = st.Step(); err == nil {
				t.Errorf("allowed: %s", sql)
			}
			st.Close()
		}
		t.Log(sql, ": ", err)
	}
}

func TestStop(t *testing.T) {
	c := open(t, nil)
	c.Restrict(true)
	const forever = `WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r`
	c.Guard(t.Context(), time.Now().Add(20*time.Millisecond), nil)
	if _, _, err := run(c, forever); !errors.Is(err, ErrTimeout) || !errors.Is(err, ErrInterrupt) {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	c.Guard(ctx, time.Time{}, nil)
	if _, _, err := run(c, forever); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	c.Guard(t.Context(), time.Time{}, nil)
	if _, _, err := run(c, "SELECT 1"); err != nil {
		t.Error(err)
	}
}

func TestMemory(t *testing.T) {
	m := NewMeter(8<<20, nil)
	c := open(t, m)
	if err := c.Exec(`PRAGMA temp_store = 2; PRAGMA cache_size = -2000`); err != nil {
		t.Fatal(err)
	}
	c.Restrict(true)
	for _, sql := range []string{
		`WITH RECURSIVE r(n, b) AS (SELECT 1, randomblob(1900000) UNION SELECT n + 1, randomblob(1900000) FROM r) SELECT count(*) FROM r`,
		`WITH RECURSIVE r(n, b) AS (SELECT 1, randomblob(10000) UNION ALL SELECT n + 1, randomblob(10000) FROM r LIMIT 5000) SELECT * FROM r ORDER BY b`,
		`WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT DISTINCT group_concat(hex(randomblob(900000))) FROM r GROUP BY n`,
		`SELECT ` + strings.Repeat(`hex(zeroblob(999999)) = 1 + `, 90) + `1`,
		`SELECT zeroblob(1000000000)`, `SELECT printf('%.*c', 1000000000, 'x')`, `SELECT printf('%1000000000d', 1)`, `SELECT randomblob(1 << 30)`,
	} {
		c.Guard(t.Context(), time.Now().Add(30*time.Second), nil)
		start := time.Now()
		_, _, err := run(c, sql)
		if err == nil {
			t.Errorf("allowed: %.100s", sql)
		}
		t.Logf("%.60s: %v, used %d, failed %v, %v", sql, err, m.Used(), m.Settle(), time.Since(start))
	}
	if _, _, err := run(c, "CREATE TABLE t (a); INSERT INTO t VALUES (1); SELECT * FROM t"); err != nil {
		t.Error(err)
	}
}

// A connection gives back to the pool what it took, when it is closed and opened again too.
func TestPool(t *testing.T) {
	pool := &Pool{Limit: 64 << 20}
	m := NewMeter(64<<20, pool)
	path := filepath.Join(t.TempDir(), "x.sqlite")
	for range 5 {
		c, err := Open(path, false, m)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Exec("PRAGMA temp_store = 2"); err != nil {
			t.Fatal(err)
		}
		c.Guard(t.Context(), noDeadline, nil)
		if _, _, err := run(c, `WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 12) SELECT count(*) FROM (SELECT DISTINCT n, hex(zeroblob(900000)) FROM r)`); err != nil {
			t.Error(err)
		}
		if pool.used.Load() == 0 {
			t.Error("nothing was taken")
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if n := pool.used.Load(); n != 0 || m.Used() != 0 {
			t.Errorf("%d of the pool and %d of the meter left", n, m.Used())
		}
	}
}
