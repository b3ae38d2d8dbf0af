// Package fault is Atoll's kinds of error: what went wrong as a client may know it, apart from the chain that an
// operator reads in the log.
//
// A fault is made once, where the mistake is seen, with a public message and the code Cloudflare's API gives it. On the
// way up it is wrapped with fmt.Errorf("verb noun: %w", err), and it is rendered once, at the border (package api or
// edge). An error that carries no fault is Internal and tells the client nothing.
package fault

import (
	"errors"
	"fmt"
)

// Kind says what sort of failure a fault is; the API derives the HTTP status from it.
type Kind int

// The kinds, in the order of their HTTP statuses: 500, 400, 401, 403, 404, 409, 412, 413, 415, 429, 503, 507.
const (
	Internal Kind = iota
	Invalid
	Unauthenticated
	Forbidden
	NotFound
	Conflict
	Precondition
	TooLarge
	Unsupported
	Limited
	Unavailable
	Full
)

var names = [...]string{"internal", "invalid", "unauthenticated", "forbidden", "not-found", "conflict", "precondition",
	"too-large", "unsupported", "limited", "unavailable", "full"}

func (k Kind) String() string {
	if k < 0 || int(k) >= len(names) {
		return fmt.Sprintf("kind(%d)", int(k))
	}
	return names[k]
}

// Error is a failure whose message may be shown to the client that caused it.
type Error struct {
	Kind    Kind
	Code    int    // the number in Cloudflare's error envelope, such as 10092
	Message string // for the client; never holds another tenant's data
}

func (e *Error) Error() string { return e.Message }

// New returns a fault with a public message.
func New(kind Kind, code int, message string) *Error { return &Error{kind, code, message} }

// Newf is New with a format.
func Newf(kind Kind, code int, format string, args ...any) *Error {
	return &Error{kind, code, fmt.Sprintf(format, args...)}
}

// Of returns the fault in err's chain, or nil where there is none.
func Of(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// KindOf returns the kind of the fault in err's chain, Internal where there is none.
func KindOf(err error) Kind {
	if e := Of(err); e != nil {
		return e.Kind
	}
	return Internal
}
