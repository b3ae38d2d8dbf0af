package d1

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	sqlite3 "modernc.org/sqlite/lib"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/d1/engine"
	"atoll.dev/atoll/internal/fault"
)

// ExportOptions say what of a database is exported; the zero value is all.
type ExportOptions struct {
	Tables   []string // empty: all
	NoSchema bool
	NoData   bool
}

// Export writes a database as SQL, as it is when this begins, to a file that Exported opens. The database answers others
// meanwhile.
func (s *Store) Export(ctx context.Context, acct atoll.AccountID, id ID, o ExportOptions) (Progress, error) {
	db, err := s.database(acct, id)
	if err != nil {
		return Progress{}, err
	}
	if o.NoSchema && o.NoData {
		return Progress{}, fault.New(fault.Invalid, codeMalformed, "no_schema and no_data leave nothing to export")
	}
	t := &transfer{account: acct, db: id, from: true}
	if err := s.begin(t); err != nil {
		return Progress{}, err
	}
	if err := db.exclusively(ctx, func() error { return nil }); err != nil {
		s.forget(t)
		return Progress{}, err
	}
	j := s.start(db, t, func(ctx context.Context, _ *job) error { return full(db.export(ctx, s.transferPath(t.token), o)) })
	return s.wait(ctx, id, j), nil
}

// export uses a connection of its own, which sees one state of the database.
func (db *database) export(ctx context.Context, path string, o ExportOptions) (err error) {
	conn, err := engine.Open(db.path, true, engine.NewMeter(db.st.opts.CallMemory, db.owner.memory))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.Exec("PRAGMA busy_timeout = 10000; PRAGMA temp_store = 2; PRAGMA cache_size = -2000; BEGIN"); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	x := &exporter{ctx: ctx, conn: conn, w: w, o: o}
	if err := x.all(); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// exporter writes SQL in the form of Cloudflare's exports, which is that of the sqlite3 shell's .dump with the names of
// columns.
type exporter struct {
	ctx  context.Context
	conn *engine.Conn
	w    io.Writer
	o    ExportOptions
}

// object is a row of sqlite_schema.
type object struct{ name, sql string }

func (x *exporter) all() error {
	fmt.Fprintln(x.w, "PRAGMA defer_foreign_keys=TRUE;")
	tables, err := x.objects(`SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND sql IS NOT NULL ORDER BY tbl_name = 'sqlite_sequence', rowid`)
	if err != nil {
		return err
	}
	for _, t := range tables {
		if err := x.table(t); err != nil {
			return err
		}
	}
	if x.o.NoSchema {
		return nil
	}
	rest, err := x.objects(`SELECT name, sql FROM sqlite_schema WHERE type IN ('index', 'trigger', 'view') AND sql IS NOT NULL ORDER BY type COLLATE NOCASE, rowid`)
	for _, o := range rest {
		if x.wanted(o.name) {
			fmt.Fprintln(x.w, o.sql+";")
		}
	}
	return err
}

func (x *exporter) wanted(name string) bool {
	return len(x.o.Tables) == 0 || slices.Contains(x.o.Tables, name)
}

func (x *exporter) table(t object) error {
	if !x.wanted(t.name) {
		return nil
	}
	var schema string
	switch {
	case t.name == "sqlite_sequence":
		schema = "DELETE FROM sqlite_sequence;"
	case strings.HasPrefix(t.name, "sqlite_stat"):
		schema = "ANALYZE sqlite_schema;"
	case strings.HasPrefix(strings.ToUpper(t.sql), "CREATE VIRTUAL TABLE"):
		return fault.New(fault.Invalid, codeQuery, "D1 Export error: cannot export databases with Virtual Tables (fts5)")
	case strings.HasPrefix(t.name, "_cf_"), strings.HasPrefix(t.name, "sqlite_"):
		return nil
	case strings.HasPrefix(t.sql, `CREATE TABLE "`), strings.HasPrefix(t.sql, "CREATE TABLE '"):
		schema = "CREATE TABLE IF NOT EXISTS " + t.sql[len("CREATE TABLE "):] + ";"
	default:
		schema = t.sql + ";"
	}
	if !x.o.NoSchema {
		fmt.Fprintln(x.w, schema)
	}
	if x.o.NoData {
		return nil
	}
	return x.rows(t.name)
}

// rows writes a table's rows. Its generated columns are not among them, since nothing can be inserted there.
func (x *exporter) rows(table string) error {
	columns, err := x.objects("SELECT name, '' FROM pragma_table_xinfo(" + quoteText([]byte(table)) + ") WHERE hidden = 0")
	if err != nil {
		return err
	}
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = identifier(c.name)
	}
	list := strings.Join(names, ",")
	st, err := x.conn.Prepare("SELECT " + list + " FROM " + identifier(table))
	if err != nil {
		return err
	}
	defer st.Close()
	var line []byte
	for {
		if err := context.Cause(x.ctx); err != nil {
			return err
		}
		more, err := st.Step()
		if err != nil || !more {
			return err
		}
		line = append(line[:0], "INSERT INTO "+identifier(table)+" ("+list+") VALUES("...)
		for i := range names {
			line = comma(line, i)
			v, err := st.Value(i)
			if err != nil {
				return err
			}
			line = literal(line, v)
		}
		if _, err := x.w.Write(append(line, ");\n"...)); err != nil {
			return err
		}
	}
}

func (x *exporter) objects(sql string) ([]object, error) {
	st, err := x.conn.Prepare(sql)
	if err != nil {
		return nil, err
	}
	defer st.Close()
	var list []object
	for {
		more, err := st.Step()
		if err != nil || !more {
			return list, err
		}
		name, err := st.Value(0)
		if err != nil {
			return nil, err
		}
		text, err := st.Value(1)
		if err != nil {
			return nil, err
		}
		list = append(list, object{string(name.Memory), string(text.Memory)})
	}
}

func identifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// literal writes a value as SQL that makes the same value again.
func literal(b []byte, v engine.Value) []byte {
	switch v.Type {
	case sqlite3.SQLITE_INTEGER:
		return strconv.AppendInt(b, v.Int, 10)
	case sqlite3.SQLITE_FLOAT:
		switch {
		case math.IsInf(v.Float, 1):
			return append(b, "9e999"...)
		case math.IsInf(v.Float, -1):
			return append(b, "-9e999"...)
		}
		from := len(b)
		b = strconv.AppendFloat(b, v.Float, 'g', -1, 64)
		if !bytes.ContainsAny(b[from:], ".e") {
			b = append(b, ".0"...) // not an integer
		}
		return b
	case sqlite3.SQLITE_TEXT:
		return append(b, quoteText(v.Memory)...)
	case sqlite3.SQLITE_BLOB:
		return append(hex.AppendEncode(append(b, "X'"...), v.Memory), '\'')
	}
	return append(b, "NULL"...)
}

// quoteText writes text as SQL in one line, as the shell does: a newline is put in by replace().
func quoteText(text []byte) string {
	s := string(text)
	if strings.IndexByte(s, 0) >= 0 {
		return "CAST(X'" + hex.EncodeToString(text) + "' AS TEXT)"
	}
	lf, cr := strings.Contains(s, "\n"), strings.Contains(s, "\r")
	if (lf && strings.Contains(s, `\n`)) || (cr && strings.Contains(s, `\r`)) { // which replace() would take for a newline
		return "CAST(X'" + hex.EncodeToString(text) + "' AS TEXT)"
	}
	out := "'" + strings.NewReplacer("'", "''", "\n", `\n`, "\r", `\r`).Replace(s) + "'"
	if !lf && !cr {
		return out
	}
	if cr {
		out = "replace(" + out + `,'\r',char(13))`
	}
	if lf {
		out = "replace(" + out + `,'\n',char(10))`
	}
	return out
}
