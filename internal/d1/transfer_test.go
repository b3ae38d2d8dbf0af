package d1

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/d1/engine"
	"atoll.dev/atoll/internal/fault"
)

// transferIn imports SQL.
func transferIn(t *testing.T, s *Store, id ID, sql string) (Progress, error) {
	t.Helper()
	sum := md5.Sum([]byte(sql))
	etag := hex.EncodeToString(sum[:])
	token, err := s.BeginImport(account, id, etag)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Receive(account, id, token, strings.NewReader(sql)); err != nil {
		t.Fatal(err)
	}
	p, err := s.Import(t.Context(), account, id, token, etag)
	for err == nil && !p.Done {
		p, err = s.Poll(t.Context(), account, id, false, p.Bookmark)
	}
	if err == nil {
		err = p.Err
	}
	return p, err
}

// transferOut exports SQL.
func transferOut(t *testing.T, s *Store, id ID, o ExportOptions) (string, error) {
	t.Helper()
	p, err := s.Export(t.Context(), account, id, o)
	for err == nil && !p.Done {
		p, err = s.Poll(t.Context(), account, id, true, p.Bookmark)
	}
	if err != nil || p.Err != nil {
		return "", fmt.Errorf("%w", firstOf(err, p.Err))
	}
	f, err := s.Exported(account, id, p.Token)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestExportImport(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	one, two := newDatabase(t, s, "one"), newDatabase(t, s, "two")
	want(t, s, one, `CREATE TABLE "a b" (id INTEGER PRIMARY KEY AUTOINCREMENT, v, "q""q" TEXT, g AS (id + 1));
		CREATE TABLE w (k TEXT PRIMARY KEY) WITHOUT ROWID; CREATE INDEX i ON w (k); CREATE VIEW x AS SELECT * FROM w;
		CREATE TRIGGER tr AFTER INSERT ON w BEGIN INSERT INTO "a b" (v) SELECT new.k WHERE 0; SELECT 1; END`, "[]")
	for _, v := range []string{"NULL", "1", "1.0", "-2.5e-300", "1e300", "9e999", "9223372036854775807", "'it''s'", "'a\nb\r\nc'", `'\n' || char(10)`,
		"x'00ff'", "x''", "''", "char(0) || 'z'", "'é😀'", "CAST(x'80' AS TEXT)"} {
		want(t, s, one, `INSERT INTO "a b" (v, "q""q") VALUES (`+v+`, 'x')`, "[]")
	}
	want(t, s, one, "INSERT INTO w VALUES ('k')", "[]")
	out, err := transferOut(t, s, one, ExportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := transferIn(t, s, two, out)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if p.Sum.Queries < 20 || p.Sum.Bookmark == "" || p.Sum.Size == 0 {
		t.Errorf("%+v", p.Sum)
	}
	for _, sql := range []string{`SELECT id, typeof(v), hex(v), quote(v), "q""q", g FROM "a b"`, "SELECT * FROM w", "SELECT name, type FROM sqlite_schema ORDER BY name", "SELECT * FROM sqlite_sequence"} {
		a, err := results(t, s, one, sql)
		b, err2 := results(t, s, two, sql)
		if err != nil || err2 != nil || a != b {
			t.Errorf("%s: %v %v\n%s\n%s", sql, err, err2, a, b)
		}
	}
	again, err := transferOut(t, s, two, ExportOptions{})
	if err != nil || again != out {
		t.Errorf("exported again: %v\n%s\n%s", err, again, out)
	}
	part, err := transferOut(t, s, one, ExportOptions{Tables: []string{"w"}, NoData: true})
	if want := "PRAGMA defer_foreign_keys=TRUE;\nCREATE TABLE w (k TEXT PRIMARY KEY) WITHOUT ROWID;\n"; err != nil || part != want {
		t.Errorf("%q, %v", part, err)
	}
}

func TestImportFails(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	id := newDatabase(t, s, "one")
	want(t, s, id, "CREATE TABLE t (a); INSERT INTO t VALUES (1)", "[]")
	for sql, text := range map[string]string{
		"INSERT INTO t VALUES (2);\nINSERT INTO nope VALUES (3);": "no such table: nope",
		"BEGIN TRANSACTION; INSERT INTO t VALUES (2); COMMIT;":    "BEGIN",
		"-- nothing": "No SQL statements",
		"INSERT INTO t VALUES ('" + strings.Repeat("x", engine.MaxSQL) + "');":                                                     "too long",
		strings.Repeat("INSERT INTO t VALUES (2);\n", 100_000) + "ATTACH '/etc/passwd' AS x":                                       "not authorized",
		"CREATE TABLE u (a REFERENCES t (a))":                                                                                      "",
		"CREATE TABLE p (a PRIMARY KEY); CREATE TABLE c (a REFERENCES p DEFERRABLE INITIALLY DEFERRED); INSERT INTO c VALUES (1);": "FOREIGN KEY",
	} {
		if _, err := transferIn(t, s, id, sql); text != "" && (err == nil || !strings.Contains(err.Error(), text)) || text == "" && err != nil {
			t.Errorf("%.60s: %v, want %s", sql, err, text)
		}
	}
	want(t, s, id, "SELECT count(*) FROM t", "[[1]]")
	want(t, s, id, "SELECT name FROM sqlite_schema WHERE name IN ('p', 'c')", "[]")

	token, err := s.BeginImport(account, id, strings.Repeat("0", 32))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Receive(account, id, token, strings.NewReader("SELECT 1")); fault.KindOf(err) != fault.Invalid {
		t.Errorf("another file than was announced: %v", err)
	}
	other := newDatabase(t, s, "other")
	if _, err := s.Receive(account, other, token, strings.NewReader("SELECT 1")); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("the token of another database: %v", err)
	}
	if _, err := s.Exported(account, id, token); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("an upload fetched: %v", err)
	}
	if _, err := s.Import(t.Context(), account, id, token, strings.Repeat("0", 32)); fault.KindOf(err) != fault.NotFound {
		t.Errorf("nothing was sent: %v", err)
	}
	entries, _ := os.ReadDir(s.dir + "/transfers")
	if len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
}

// endless is a body of so many bytes, whose first it has told of when it has been read.
type endless struct {
	left  int64
	begun chan struct{}
	goOn  chan struct{}
}

func (e *endless) Read(b []byte) (int, error) {
	if e.begun != nil {
		close(e.begun)
		e.begun = nil
	} else if e.goOn != nil {
		<-e.goOn
	}
	if e.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(b)), e.left)
	e.left -= n
	return int(n), nil
}

// Whoever has a token cannot fill the disk with it: not by sending its file many times at once, and not by sending more than
// the account may store.
func TestImportsAreBounded(t *testing.T) {
	const most = 1 << 20
	s := openStore(t, t.TempDir(), Options{AccountBytes: most})
	id := newDatabase(t, s, "one")
	sql := "CREATE TABLE t (a); -- " + strings.Repeat("x", most*2/5)
	sum := md5.Sum([]byte(sql))
	etag := hex.EncodeToString(sum[:])
	begin := func() string {
		t.Helper()
		token, err := s.BeginImport(account, id, etag)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	files := func() int {
		t.Helper()
		list, err := os.ReadDir(s.dir + "/transfers")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	token := begin()
	body := &endless{left: most * 2, begun: make(chan struct{}), goOn: make(chan struct{})}
	begun, ended := body.begun, make(chan error)
	go func() {
		_, err := s.Receive(account, id, token, body)
		ended <- err
	}()
	<-begun
	for range 10 {
		if _, err := s.Receive(account, id, token, strings.NewReader(sql)); fault.KindOf(err) != fault.Conflict {
			t.Errorf("sent at the same time: %v", err)
		}
	}
	if n := files(); n != 1 {
		t.Errorf("%d files are there, want the first", n)
	}
	close(body.goOn)
	if err := <-ended; fault.KindOf(err) != fault.Full {
		t.Errorf("more than the account may store: %v", err)
	}
	if n, all := files(), s.accounts[account].staged.Load(); n != 0 || all != 0 {
		t.Errorf("%d files of %d bytes are left of what was refused", n, all)
	}
	for range 3 { // again is no more
		if _, err := s.Receive(account, id, token, strings.NewReader(sql)); err != nil {
			t.Fatal(err)
		}
	}
	other := begin()
	if _, err := s.Receive(account, id, other, strings.NewReader(sql)); err != nil {
		t.Fatal(err)
	}
	third := begin()
	if _, err := s.Receive(account, id, third, strings.NewReader(sql)); fault.KindOf(err) != fault.Full {
		t.Errorf("all files are more than the account may store: %v", err)
	}
	p, err := s.Import(t.Context(), account, id, token, etag)
	for err == nil && !p.Done {
		p, err = s.Poll(t.Context(), account, id, false, p.Bookmark)
	}
	if err != nil || p.Err != nil {
		t.Fatal(err, p.Err)
	}
	if _, err := s.Receive(account, id, token, strings.NewReader(sql)); fault.KindOf(err) != fault.Conflict {
		t.Errorf("sent after its import: %v", err)
	}
	if _, err := s.Receive(account, id, third, strings.NewReader(sql)); err != nil {
		t.Errorf("an import made no room: %v", err)
	}
}
