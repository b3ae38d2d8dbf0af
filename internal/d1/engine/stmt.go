package engine

import (
	"strings"
	"unsafe"

	sqlite3 "modernc.org/sqlite/lib"
)

// Stmt is one prepared statement.
type Stmt struct {
	c       *Conn
	p       uintptr
	params  buffer
	names   []string
	program program

	restricted bool // SQLite prepares it again where the schema has changed

	ReadOnly bool // it changes neither data nor schema
	Schema   bool // it changes the schema
	Pragma   bool // it sets a pragma of the connection
}

// transient has SQLite copy what is bound.
const transient = ^uintptr(0)

// Prepare compiles one statement. It returns nil for a text of nothing but space and comments.
func (c *Conn) Prepare(sql string) (*Stmt, error) {
	if strings.IndexByte(sql, 0) >= 0 {
		sql = sql[:strings.IndexByte(sql, 0)] // as C strings do, and Cloudflare's engine
	}
	text := c.text.of(c.tls, append(make([]byte, 16, 16+len(sql)+1), append([]byte(sql), 0)...))
	out, zsql := text, text+16
	*at[uintptr](out) = 0
	c.denied, c.pragmas = nil, false
	rc := sqlite3.Xsqlite3_prepare_v3(c.tls, c.db, zsql, int32(len(sql)), sqlite3.SQLITE_PREPARE_PERSISTENT, out, out+8)
	p := *at[uintptr](out)
	if rc != sqlite3.SQLITE_OK {
		if c.denied != nil && rc&0xff == sqlite3.SQLITE_AUTH {
			return nil, c.denied
		}
		return nil, c.fail(rc)
	}
	if p == 0 {
		return nil, nil
	}
	s := &Stmt{c: c, p: p, restricted: c.restricted, ReadOnly: sqlite3.Xsqlite3_stmt_readonly(c.tls, p) != 0}
	if rest := sql[*at[uintptr](out + 8)-zsql:]; strings.TrimLeft(rest, " \t\r\n\v\f") != "" {
		s.Close()
		return nil, sentence("A prepared SQL statement must contain only one statement.")
	}
	s.program.read(s)
	s.Schema, s.Pragma = s.program.schema, c.pragmas
	return s, nil
}

// Close frees the statement.
func (s *Stmt) Close() {
	sqlite3.Xsqlite3_finalize(s.c.tls, s.p)
	s.params.free(s.c.tls)
	s.p = 0
}

// Reset ends the run under way, so that the statement may run again.
func (s *Stmt) Reset() {
	sqlite3.Xsqlite3_reset(s.c.tls, s.p)
	sqlite3.Xsqlite3_clear_bindings(s.c.tls, s.p)
	if s.params.size > 1<<16 {
		s.params.free(s.c.tls)
	}
}

// Columns returns the names of the result's columns; none where the statement returns no rows.
func (s *Stmt) Columns() []string {
	n := sqlite3.Xsqlite3_column_count(s.c.tls, s.p)
	if len(s.names) != int(n) {
		s.names = make([]string, n)
		for i := range s.names {
			s.names[i] = goString(sqlite3.Xsqlite3_column_name(s.c.tls, s.p, int32(i)))
		}
	}
	return s.names
}

// Param is a value to bind: a number, a text, a blob, or nothing.
type Param struct {
	Kind   Kind
	Number float64
	Text   string
	Blob   []byte
}

// Kind is the type of a Param.
type Kind int

// The kinds of Param.
const (
	Null Kind = iota
	Number
	Text
	Blob
)

// Params says how many parameters the statement has.
func (s *Stmt) Params() int { return int(sqlite3.Xsqlite3_bind_parameter_count(s.c.tls, s.p)) }

// Bind sets all parameters. There must be as many as the statement has.
func (s *Stmt) Bind(params []Param) error {
	if s.Params() != len(params) {
		return sentence("Wrong number of parameter bindings for SQL query.")
	}
	for i, p := range params {
		if rc := s.bind(int32(i+1), p); rc != sqlite3.SQLITE_OK {
			return s.c.fail(rc)
		}
	}
	return nil
}

func (s *Stmt) bind(i int32, p Param) int32 {
	tls := s.c.tls
	switch p.Kind {
	case Number:
		return sqlite3.Xsqlite3_bind_double(tls, s.p, i, p.Number)
	case Text:
		at := s.params.of(tls, []byte(p.Text))
		return sqlite3.Xsqlite3_bind_text64(tls, s.p, i, at, uint64(len(p.Text)), transient, sqlite3.SQLITE_UTF8)
	case Blob:
		at := s.params.of(tls, p.Blob)
		return sqlite3.Xsqlite3_bind_blob64(tls, s.p, i, at, uint64(len(p.Blob)), transient)
	}
	return sqlite3.Xsqlite3_bind_null(tls, s.p, i)
}

// Step runs the statement to its next row, and tells whether there is one.
func (s *Stmt) Step() (bool, error) {
	was := s.c.restricted
	s.c.restricted = s.restricted
	defer func() { s.c.restricted = was }()
	switch rc := sqlite3.Xsqlite3_step(s.c.tls, s.p); rc {
	case sqlite3.SQLITE_ROW:
		s.program.atRow(s)
		return true, nil
	case sqlite3.SQLITE_DONE:
		return false, nil
	default:
		return false, s.c.fail(rc)
	}
}

// Value is a column of the current row. Its text and blob are SQLite's memory, valid until the next step.
type Value struct {
	Type   int // one of sqlite3.SQLITE_INTEGER and its like
	Int    int64
	Float  float64
	Memory []byte
}

// Value returns column i of the current row.
func (s *Stmt) Value(i int) (v Value, err error) {
	tls, col := s.c.tls, int32(i)
	v.Type = int(sqlite3.Xsqlite3_column_type(tls, s.p, col))
	var p uintptr
	switch v.Type {
	case sqlite3.SQLITE_INTEGER:
		v.Int = sqlite3.Xsqlite3_column_int64(tls, s.p, col)
		return v, nil
	case sqlite3.SQLITE_FLOAT:
		v.Float = sqlite3.Xsqlite3_column_double(tls, s.p, col)
		return v, nil
	case sqlite3.SQLITE_TEXT:
		p = sqlite3.Xsqlite3_column_text(tls, s.p, col)
	case sqlite3.SQLITE_BLOB:
		p = sqlite3.Xsqlite3_column_blob(tls, s.p, col)
	default:
		return v, nil
	}
	if n := sqlite3.Xsqlite3_column_bytes(tls, s.p, col); n > 0 {
		if p == 0 {
			return v, errMemory
		}
		v.Memory = unsafe.Slice(at[byte](p), n)
	}
	return v, nil
}

func goString(p uintptr) string {
	if p == 0 {
		return ""
	}
	n := 0
	for *at[byte](p + uintptr(n)) != 0 {
		n++
	}
	return string(unsafe.Slice(at[byte](p), n))
}
