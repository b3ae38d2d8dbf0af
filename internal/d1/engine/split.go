package engine

import "strings"

// Split cuts the first statement off sql: up to and with its semicolon, or all of it. A trigger's body is part of its
// statement, https://sqlite.org/c3ref/complete.html.
func Split(sql string) (first, rest string) {
	first, rest, _ = SplitEnded(sql)
	return first, rest
}

// SplitEnded is Split, and tells whether the statement ends with a semicolon: whatever follows sql is not of it.
func SplitEnded(sql string) (first, rest string, ended bool) {
	var s splitter
	for i := 0; i < len(sql); {
		n, end := s.next(sql[i:])
		i += n
		if end {
			return sql[:i], sql[i:], true
		}
	}
	return sql, "", false
}

// Statements cuts sql into its statements, without those that are nothing but space, comments and semicolons.
func Statements(sql string) []string {
	var all []string
	for sql != "" {
		var first string
		if first, sql = Split(sql); !Blank(first) {
			all = append(all, first)
		}
	}
	return all
}

// Blank tells whether sql has no statement: nothing but space, comments and semicolons.
func Blank(sql string) bool {
	for sql != "" {
		k, n := token(sql)
		if k != space && k != semicolon {
			return false
		}
		sql = sql[n:]
	}
	return true
}

// Trim takes space, comments and semicolons off the end of sql.
func Trim(sql string) string {
	last := 0
	for i := 0; i < len(sql); {
		k, n := token(sql[i:])
		i += n
		if k != space && k != semicolon {
			last = i
		}
	}
	return sql[:last]
}

// kindOfToken is what a piece of SQL is to the splitter.
type kindOfToken int

const (
	space kindOfToken = iota // and comments
	semicolon
	word
	other
)

// token measures the first token of sql, which is not empty.
func token(sql string) (kindOfToken, int) {
	switch c := sql[0]; {
	case c == ';':
		return semicolon, 1
	case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f':
		return space, 1
	case c == '-' && strings.HasPrefix(sql, "--"):
		if i := strings.IndexByte(sql, '\n'); i >= 0 {
			return space, i + 1
		}
		return space, len(sql)
	case c == '/' && strings.HasPrefix(sql, "/*"):
		if i := strings.Index(sql[2:], "*/"); i >= 0 {
			return space, i + 4
		}
		return space, len(sql)
	case c == '\'' || c == '"' || c == '`':
		return other, quoted(sql, c)
	case c == '[':
		return other, quoted(sql, ']')
	case letter(c):
		n := 1
		for n < len(sql) && letter(sql[n]) {
			n++
		}
		return word, n
	}
	return other, 1
}

func quoted(sql string, end byte) int {
	if i := strings.IndexByte(sql[1:], end); i >= 0 {
		return i + 2 // a doubled quote is two strings side by side, which ends at the same place
	}
	return len(sql)
}

func letter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '$' || c >= 0x80
}

// splitter knows whether a semicolon ends the statement. In a trigger's body only the one after END does.
type splitter struct {
	state state
}

type state int

const (
	begin    state = iota // of a statement
	explain               // after EXPLAIN
	create                // after CREATE, perhaps with TEMP
	normal                // inside an ordinary statement
	trigger               // inside CREATE TRIGGER
	afterSub              // inside it, after a semicolon
	afterEnd              // inside it, after a semicolon and END
)

// next reads one token, and tells whether the statement ends with it.
func (s *splitter) next(sql string) (n int, end bool) {
	k, n := token(sql)
	switch k {
	case space:
	case semicolon:
		switch s.state {
		case trigger, afterSub:
			s.state = afterSub
		default:
			s.state = begin
			return n, true
		}
	case word:
		s.word(sql[:n])
	default:
		s.word("")
	}
	return n, false
}

func (s *splitter) word(w string) {
	is := func(names ...string) bool {
		for _, name := range names {
			if strings.EqualFold(w, name) {
				return true
			}
		}
		return false
	}
	switch s.state {
	case begin:
		switch {
		case is("explain"):
			s.state = explain
		case is("create"):
			s.state = create
		default:
			s.state = normal
		}
	case explain:
		if is("create") {
			s.state = create
		} else if !is("query", "plan") {
			s.state = normal
		}
	case create:
		switch {
		case is("trigger"):
			s.state = trigger
		case !is("temp", "temporary"):
			s.state = normal
		}
	case afterSub:
		if is("end") {
			s.state = afterEnd
		} else {
			s.state = trigger
		}
	case afterEnd:
		s.state = trigger
	}
}
