package d1

import (
	"container/list"

	"atoll.dev/atoll/internal/d1/engine"
)

// statements keeps prepared statements of a connection by their text, the latest used ones. A change of the schema makes all
// of them stale.
type statements struct {
	byText map[string]*list.Element
	latest list.List // of *prepared, the latest first
	bytes  int
}

type prepared struct {
	sql  string
	stmt *engine.Stmt
}

// Bounds of what is kept.
const (
	maxStatements     = 64
	maxStatementBytes = 256 << 10
)

// get returns the statement, nil where sql has none. It is the caller's until it calls get again.
func (s *statements) get(c *engine.Conn, sql string) (*engine.Stmt, error) {
	if e := s.byText[sql]; e != nil {
		s.latest.MoveToFront(e)
		return e.Value.(*prepared).stmt, nil
	}
	st, err := c.Prepare(sql)
	if err != nil || st == nil {
		return nil, err
	}
	if s.byText == nil {
		s.byText = map[string]*list.Element{}
	}
	s.byText[sql] = s.latest.PushFront(&prepared{sql, st})
	s.bytes += len(sql)
	for s.latest.Len() > 1 && (s.latest.Len() > maxStatements || s.bytes > maxStatementBytes) {
		s.remove(s.latest.Back())
	}
	return st, nil
}

func (s *statements) remove(e *list.Element) {
	p := s.latest.Remove(e).(*prepared)
	delete(s.byText, p.sql)
	s.bytes -= len(p.sql)
	p.stmt.Close()
}

// clear forgets all statements.
func (s *statements) clear() {
	for s.latest.Len() > 0 {
		s.remove(s.latest.Back())
	}
}
