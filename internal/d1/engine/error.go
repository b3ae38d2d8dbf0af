package engine

import (
	"errors"
	"fmt"

	sqlite3 "modernc.org/sqlite/lib"
)

// Error is what SQLite, or the rules around it, have against a statement. Its text is D1's: programs compare it.
type Error struct {
	Code     int // SQLite's, the extended one where there is one; 0: none of SQLite's
	Message  string
	Sentence bool // Message is the whole text, without a code
}

func (e *Error) Error() string {
	name := codeNames[e.Code&0xff]
	if e.Sentence || name == "" {
		return e.Message
	}
	text := e.Message + ": " + name
	if extended := extendedNames[e.Code]; extended != "" {
		text += " (extended: " + extended + ")"
	}
	return text
}

// Is makes every error of an interrupted statement, a full disk and the like comparable by its primary code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Message == "" && e.Code&0xff == t.Code
}

// What callers tell apart; errors.Is matches any Error of that code.
var (
	ErrInterrupt = &Error{Code: sqlite3.SQLITE_INTERRUPT}
	ErrMemory    = &Error{Code: sqlite3.SQLITE_NOMEM}
	ErrFull      = &Error{Code: sqlite3.SQLITE_FULL}
	ErrIO        = &Error{Code: sqlite3.SQLITE_IOERR}
	ErrCorrupt   = &Error{Code: sqlite3.SQLITE_CORRUPT}
)

var errMemory = &Error{Code: sqlite3.SQLITE_NOMEM, Message: "out of memory"}

// The complaints that are not SQLite's own.
func sentence(s string) *Error { return &Error{Message: s, Sentence: true} }

// ErrManyStatements is the error of parameters for more than one statement.
var ErrManyStatements = sentence("When executing multiple SQL statements in a single call, only the last statement can have parameters.")

// fail makes an error of the connection's last one. A statement that was stopped has its reason as the cause.
func (c *Conn) fail(rc int32) error {
	e := &Error{Code: int(rc)}
	if c.db == 0 {
		e.Message = goString(sqlite3.Xsqlite3_errstr(c.tls, rc))
		return e
	}
	e.Message = goString(sqlite3.Xsqlite3_errmsg(c.tls, c.db))
	if at := sqlite3.Xsqlite3_error_offset(c.tls, c.db); at >= 0 {
		e.Message += fmt.Sprintf(" at offset %d", at)
	}
	if ext := sqlite3.Xsqlite3_extended_errcode(c.tls, c.db); ext&0xff == rc&0xff {
		e.Code = int(ext)
	}
	if c.stopped != nil && rc&0xff == sqlite3.SQLITE_INTERRUPT {
		return errors.Join(e, c.stopped)
	}
	return e
}

var codeNames = map[int]string{
	sqlite3.SQLITE_ERROR: "SQLITE_ERROR", sqlite3.SQLITE_INTERNAL: "SQLITE_INTERNAL", sqlite3.SQLITE_PERM: "SQLITE_PERM",
	sqlite3.SQLITE_ABORT: "SQLITE_ABORT", sqlite3.SQLITE_BUSY: "SQLITE_BUSY", sqlite3.SQLITE_LOCKED: "SQLITE_LOCKED",
	sqlite3.SQLITE_NOMEM: "SQLITE_NOMEM", sqlite3.SQLITE_READONLY: "SQLITE_READONLY", sqlite3.SQLITE_INTERRUPT: "SQLITE_INTERRUPT",
	sqlite3.SQLITE_IOERR: "SQLITE_IOERR", sqlite3.SQLITE_CORRUPT: "SQLITE_CORRUPT", sqlite3.SQLITE_NOTFOUND: "SQLITE_NOTFOUND",
	sqlite3.SQLITE_FULL: "SQLITE_FULL", sqlite3.SQLITE_CANTOPEN: "SQLITE_CANTOPEN", sqlite3.SQLITE_PROTOCOL: "SQLITE_PROTOCOL",
	sqlite3.SQLITE_SCHEMA: "SQLITE_SCHEMA", sqlite3.SQLITE_TOOBIG: "SQLITE_TOOBIG", sqlite3.SQLITE_CONSTRAINT: "SQLITE_CONSTRAINT",
	sqlite3.SQLITE_MISMATCH: "SQLITE_MISMATCH", sqlite3.SQLITE_MISUSE: "SQLITE_MISUSE", sqlite3.SQLITE_AUTH: "SQLITE_AUTH",
	sqlite3.SQLITE_RANGE: "SQLITE_RANGE", sqlite3.SQLITE_NOTADB: "SQLITE_NOTADB",
}

// extendedNames has those that a statement can cause.
var extendedNames = map[int]string{
	sqlite3.SQLITE_CONSTRAINT_CHECK:      "SQLITE_CONSTRAINT_CHECK",
	sqlite3.SQLITE_CONSTRAINT_COMMITHOOK: "SQLITE_CONSTRAINT_COMMITHOOK",
	sqlite3.SQLITE_CONSTRAINT_DATATYPE:   "SQLITE_CONSTRAINT_DATATYPE",
	sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY: "SQLITE_CONSTRAINT_FOREIGNKEY",
	sqlite3.SQLITE_CONSTRAINT_FUNCTION:   "SQLITE_CONSTRAINT_FUNCTION",
	sqlite3.SQLITE_CONSTRAINT_NOTNULL:    "SQLITE_CONSTRAINT_NOTNULL",
	sqlite3.SQLITE_CONSTRAINT_PINNED:     "SQLITE_CONSTRAINT_PINNED",
	sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: "SQLITE_CONSTRAINT_PRIMARYKEY",
	sqlite3.SQLITE_CONSTRAINT_ROWID:      "SQLITE_CONSTRAINT_ROWID",
	sqlite3.SQLITE_CONSTRAINT_TRIGGER:    "SQLITE_CONSTRAINT_TRIGGER",
	sqlite3.SQLITE_CONSTRAINT_UNIQUE:     "SQLITE_CONSTRAINT_UNIQUE",
	sqlite3.SQLITE_CONSTRAINT_VTAB:       "SQLITE_CONSTRAINT_VTAB",
	sqlite3.SQLITE_ABORT_ROLLBACK:        "SQLITE_ABORT_ROLLBACK",
	sqlite3.SQLITE_CORRUPT_INDEX:         "SQLITE_CORRUPT_INDEX",
	sqlite3.SQLITE_CORRUPT_VTAB:          "SQLITE_CORRUPT_VTAB",
	sqlite3.SQLITE_ERROR_MISSING_COLLSEQ: "SQLITE_ERROR_MISSING_COLLSEQ",
	sqlite3.SQLITE_IOERR_NOMEM:           "SQLITE_IOERR_NOMEM",
	sqlite3.SQLITE_IOERR_WRITE:           "SQLITE_IOERR_WRITE",
}

// ErrForeignKey is the error of a commit that a foreign key forbids.
var ErrForeignKey = &Error{Code: sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY, Message: "FOREIGN KEY constraint failed"}
