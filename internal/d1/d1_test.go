package d1

import (
	"strings"
	"sync"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/d1/engine"
	"atoll.dev/atoll/internal/fault"
)

const account = atoll.AccountID("0123456789abcdef0123456789abcdef")

func openStore(t *testing.T, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(nil, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newDatabase(t *testing.T, s *Store, name string) ID {
	t.Helper()
	d, err := s.Create(t.Context(), Database{Account: account, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return d.ID
}

// results runs SQL and returns the rows of its last statement.
func results(t *testing.T, s *Store, id ID, sql string, params ...engine.Param) (string, error) {
	t.Helper()
	a, err := s.Query(t.Context(), account, id, []Query{{SQL: sql, Params: params}}, Columns)
	if err != nil {
		return "", err
	}
	defer a.Release()
	_, rows, _ := strings.Cut(string(a.Body), `"rows":`)
	rows, _, _ = strings.Cut(rows, `},"success"`)
	return rows, nil
}

func want(t *testing.T, s *Store, id ID, sql, want string, params ...engine.Param) {
	t.Helper()
	if got, err := results(t, s, id, sql, params...); err != nil || got != want {
		t.Errorf("%s: %s, %v; want %s", sql, got, err, want)
	}
}

func fails(t *testing.T, s *Store, id ID, sql, want string) {
	t.Helper()
	if got, err := results(t, s, id, sql); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %s, %v; want %s", sql, got, err, want)
	}
}

func TestQuery(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	id := newDatabase(t, s, "one")
	want(t, s, id, "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT UNIQUE); INSERT INTO t VALUES (1, 'x'), (2, 'y')", "[]")
	want(t, s, id, "SELECT * FROM t WHERE a = ?", `[[2,"y"]]`, engine.Param{Kind: engine.Number, Number: 2})
	fails(t, s, id, "INSERT INTO t VALUES (3, 'z'); INSERT INTO t VALUES (4, 'x')", "UNIQUE constraint failed: t.b: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_UNIQUE)")
	fails(t, s, id, "SELEC 1", `near "SELEC": syntax error at offset 0: SQLITE_ERROR`)
	fails(t, s, id, " -- nothing\n;", "No SQL statements detected.")
	want(t, s, id, "SELECT count(*) FROM t", "[[2]]")
	want(t, s, id, "ALTER TABLE t ADD COLUMN c; SELECT * FROM t; -- the end", `[[1,"x",null],[2,"y",null]]`)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir, Options{})
	want(t, s, id, "SELECT * FROM t ORDER BY 1 DESC LIMIT 1", `[[2,"y",null]]`)
	if err := s.Delete(t.Context(), account, id); err != nil {
		t.Fatal(err)
	}
	fails(t, s, id, "SELECT 1", "could not be found")
}

func TestManyAtOnce(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	id := newDatabase(t, s, "one")
	want(t, s, id, "CREATE TABLE t (a UNIQUE); CREATE TABLE u (a REFERENCES t (a) DEFERRABLE INITIALLY DEFERRED)", "[]")
	var wg sync.WaitGroup
	for i := range 50 {
		n := engine.Param{Kind: engine.Number, Number: float64(i)}
		wg.Go(func() { want(t, s, id, "INSERT INTO t VALUES (?)", "[]", n) })
		wg.Go(func() { fails(t, s, id, "INSERT INTO t VALUES ('lost'); INSERT INTO t SELECT 'lost'", "UNIQUE") })
		wg.Go(func() { fails(t, s, id, "INSERT INTO u VALUES ('lost')", "FOREIGN KEY constraint failed") })
		wg.Go(func() {
			if got, err := results(t, s, id, "SELECT count(*) FROM t WHERE a = 'lost'"); err != nil || got != "[[0]]" {
				t.Error(got, err)
			}
		})
	}
	wg.Wait()
	want(t, s, id, "SELECT count(*), sum(a) FROM t", "[[50,1225]]")
	want(t, s, id, "SELECT count(*) FROM u", "[[0]]")
}

func TestQuota(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{AccountBytes: 200 << 10, DatabaseBytes: 150 << 10})
	one, two := newDatabase(t, s, "one"), newDatabase(t, s, "two")
	want(t, s, one, "CREATE TABLE t (a); INSERT INTO t VALUES (randomblob(100000))", "[]")
	want(t, s, two, "CREATE TABLE t (a)", "[]")
	if _, err := results(t, s, two, "INSERT INTO t VALUES (randomblob(100000))"); fault.KindOf(err) != fault.Full {
		t.Error(err)
	}
	fails(t, s, one, "INSERT INTO t VALUES (randomblob(100000))", "Exceeded maximum DB size.")
	want(t, s, two, "SELECT count(*) FROM t", "[[0]]")
	if err := s.Delete(t.Context(), account, one); err != nil {
		t.Fatal(err)
	}
	want(t, s, two, "INSERT INTO t VALUES (randomblob(100000))", "[]")
}
