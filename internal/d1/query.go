package d1

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/d1/engine"
	"atoll.dev/atoll/internal/fault"
)

// Query is SQL and what is bound to its last statement.
type Query struct {
	SQL    string
	Params []engine.Param
}

// Format is the form of a query's rows.
type Format int

// The forms: an array of objects, or columns' names beside an array of arrays.
const (
	Objects Format = iota
	Columns
)

// Answer is the results of a call, an array of JSON with one element a query, or a whole file. Its memory is counted until
// Release.
type Answer struct {
	Body     []byte
	Bookmark string

	pool    *engine.Pool
	counted int64
}

// Release says that the answer has been sent.
func (a *Answer) Release() {
	a.pool.Give(a.counted)
	a.counted, a.Body = 0, nil
}

// Query runs queries in one transaction.
func (s *Store) Query(ctx context.Context, acct atoll.AccountID, id ID, queries []Query, f Format) (*Answer, error) {
	db, err := s.database(acct, id)
	if err != nil {
		return nil, err
	}
	c := &call{queries: queries, format: f, answer: Answer{pool: db.owner.memory}}
	if err := db.do(ctx, c); err != nil {
		c.answer.Release()
		return nil, err
	}
	c.answer.Bookmark = c.mark.text(id)
	return &c.answer, nil
}

// queryFault is the fault of a statement that SQLite refuses.
func queryFault(err *engine.Error) error { return fault.New(fault.Invalid, codeQuery, err.Error()) }

// freeAnswer is how large an answer may be without counting.
const freeAnswer = 64 << 10

// grown counts what the answer has grown by.
func (db *database) grown(a *Answer) error {
	more := int64(cap(a.Body)) - freeAnswer - a.counted
	if more <= 0 {
		return nil
	}
	if int64(cap(a.Body)) > db.st.opts.CallMemory || !a.pool.Take(more) {
		return errMemory
	}
	a.counted += more
	return nil
}

// readOnly tells whether a call is one statement that changes nothing, not even the connection.
func (db *database) readOnly(c *call) bool {
	if len(c.queries) != 1 {
		return false
	}
	sql := engine.Trim(c.queries[0].SQL)
	if first, _ := engine.Split(sql); len(first) != len(sql) || sql == "" {
		return false
	}
	st, err := db.stmts.get(db.conn, sql)
	return err == nil && st != nil && st.ReadOnly && !st.Pragma
}

func (db *database) runQueries(ctx context.Context, c *call) error {
	a := &c.answer
	a.Body = append(a.Body[:0], '[')
	for _, q := range c.queries {
		sql := engine.Trim(q.SQL)
		if sql == "" {
			continue
		}
		if len(a.Body) > 1 {
			a.Body = append(a.Body, ',')
		}
		if err := db.runQuery(ctx, c, sql, q.Params); err != nil {
			return err
		}
	}
	if len(a.Body) == 1 {
		return errNothing
	}
	a.Body = append(a.Body, ']')
	return db.grown(a)
}

// runQuery runs the statements of one query. The last one's rows are its result.
func (db *database) runQuery(ctx context.Context, c *call, sql string, params []engine.Param) error {
	m := measure{start: time.Now(), total: db.conn.TotalChanges(), last: db.conn.LastRowID(), live: db.live}
	c.answer.Body = append(c.answer.Body, `{"results":`...)
	for sql != "" {
		var first string
		if first, sql = engine.Split(sql); engine.Blank(first) {
			continue
		}
		bound, out := params, c
		if !engine.Blank(sql) {
			if bound, out = nil, nil; len(params) > 0 {
				n, err := db.parameters(first)
				if err != nil {
					return err
				}
				if n > 0 {
					return engine.ErrManyStatements
				}
			}
		}
		rows, err := db.runStatement(ctx, first, bound, out)
		if err != nil {
			return err
		}
		m.rows = rows
	}
	c.answer.Body = m.append(append(c.answer.Body, `,"success":true,"meta":`...), db)
	c.answer.Body = append(c.answer.Body, '}')
	return nil
}

// parameters says how many a statement has.
func (db *database) parameters(sql string) (int, error) {
	st, err := db.stmts.get(db.conn, sql)
	if err != nil || st == nil {
		return 0, err
	}
	return st.Params(), nil
}

// runStatement runs one statement, and adds its rows to the call's answer; c may be nil.
func (db *database) runStatement(ctx context.Context, sql string, params []engine.Param, c *call) (r engine.Rows, err error) {
	st, err := db.stmts.get(db.conn, sql)
	if err != nil {
		return r, err
	}
	if st == nil {
		return r, errNothing
	}
	defer func() {
		st.Reset()
		if st.Schema {
			db.schema = true
			db.stmts.clear()
		}
	}()
	if !st.ReadOnly {
		db.writes++
	}
	db.pragmas = db.pragmas || st.Pragma
	if err := st.Bind(params); err != nil {
		return r, err
	}
	before := db.conn.TotalChanges()
	db.guard(ctx)
	if err := db.rows(st, c); err != nil {
		return r, err
	}
	all := db.conn.TotalChanges() - before
	own := min(all, db.conn.Changes())
	r = st.Rows(own, all-own)
	if !st.ReadOnly {
		err = db.measure()
	}
	return r, err
}

// rows runs a statement to its end.
func (db *database) rows(st *engine.Stmt, c *call) error {
	if c == nil {
		for {
			if more, err := st.Step(); err != nil || !more {
				return err
			}
		}
	}
	a := &c.answer
	columns := st.Columns()
	names := make([]string, len(columns))
	for i, name := range columns {
		names[i] = string(engine.AppendString(nil, name))
	}
	if c.format == Columns {
		a.Body = append(a.Body, `{"columns":[`...)
		for i, name := range names {
			a.Body = append(comma(a.Body, i), name...)
		}
		a.Body = append(a.Body, `],"rows":`...)
	}
	a.Body = append(a.Body, '[')
	for n := 0; ; n++ {
		more, err := st.Step()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		a.Body = comma(a.Body, n)
		if err := db.row(st, c.format, names, a); err != nil {
			return err
		}
	}
	a.Body = append(a.Body, ']')
	if c.format == Columns {
		a.Body = append(a.Body, '}')
	}
	return db.grown(a)
}

func comma(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return b
}

// row adds the statement's current row.
func (db *database) row(st *engine.Stmt, f Format, names []string, a *Answer) error {
	open, end := byte('{'), byte('}')
	if f == Columns {
		open, end = '[', ']'
	}
	a.Body = append(a.Body, open)
	for i, name := range names {
		a.Body = comma(a.Body, i)
		if f == Objects {
			a.Body = append(append(a.Body, name...), ':')
		}
		v, err := st.Value(i)
		if err != nil {
			return err
		}
		a.Body = v.AppendJSON(a.Body)
		if err := db.grown(a); err != nil {
			return err
		}
	}
	a.Body = append(a.Body, end)
	return nil
}

// measure is what a query's meta is about.
type measure struct {
	start             time.Time
	total, last, live int64
	rows              engine.Rows
}

// append adds the meta of a query that has ended. https://developers.cloudflare.com/d1/worker-api/return-object/
func (m measure) append(b []byte, db *database) []byte {
	changes := db.conn.TotalChanges() - m.total
	last := db.conn.LastRowID()
	took := strconv.FormatFloat(float64(time.Since(m.start).Microseconds())/1000, 'f', -1, 64)
	return fmt.Appendf(b, `{"served_by":"atoll","served_by_primary":true,"timings":{"sql_duration_ms":%s},"duration":%s,"changes":%d,"last_row_id":%d,`+
		`"changed_db":%t,"size_after":%d,"rows_read":%d,"rows_written":%d,"total_attempts":1}`,
		took, took, changes, last, changes != 0 || last != m.last || db.live != m.live, db.live, m.rows.Read, m.rows.Written)
}

// Tables is how many tables a database has.
func (s *Store) Tables(ctx context.Context, acct atoll.AccountID, id ID) (n int64, err error) {
	db, err := s.database(acct, id)
	if err != nil {
		return 0, err
	}
	err = db.exclusively(ctx, func() error {
		n, err = db.conn.Int(`SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name NOT LIKE '\_cf\_%' ESCAPE '\'`)
		return err
	})
	return n, err
}
