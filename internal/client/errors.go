package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/wire"
)

// Error is the API's refusal of a call.
type Error struct {
	Method, Path string
	Status       int
	Code         int    // the first error's, such as 10092; 0 where the answer had none
	Message      string // the first error's
	More         []wire.Error
}

// Error says what the API said, as wrangler prints it.
func (e *Error) Error() string {
	s := withCode(e.Message, e.Code)
	for _, m := range e.More {
		s += "\n" + withCode(m.Message, m.Code)
	}
	return s
}

func withCode(message string, code int) string {
	if code == 0 {
		return message
	}
	return fmt.Sprintf("%s [code: %d]", message, code)
}

// Unwrap returns the refusal as the fault that the server made of it, as far as its status tells.
func (e *Error) Unwrap() error { return fault.New(kindOf(e.Status), e.Code, e.Message) }

// kindOf is the reverse of what the API does with a fault's kind.
func kindOf(status int) fault.Kind {
	switch status {
	case http.StatusBadRequest:
		return fault.Invalid
	case http.StatusUnauthorized:
		return fault.Unauthenticated
	case http.StatusForbidden:
		return fault.Forbidden
	case http.StatusNotFound:
		return fault.NotFound
	case http.StatusConflict:
		return fault.Conflict
	case http.StatusPreconditionFailed:
		return fault.Precondition
	case http.StatusRequestEntityTooLarge:
		return fault.TooLarge
	case http.StatusUnsupportedMediaType:
		return fault.Unsupported
	case http.StatusTooManyRequests:
		return fault.Limited
	case http.StatusServiceUnavailable:
		return fault.Unavailable
	case http.StatusInsufficientStorage:
		return fault.Full
	}
	return fault.Internal
}

// Unreachable is a call that got no answer: no node listens there, or the connection broke.
type Unreachable struct {
	API string
	err error
}

// Error leaves out what net/url puts around the cause: the address is said once.
func (e *Unreachable) Error() string {
	cause := e.err
	var u *url.Error
	if errors.As(cause, &u) {
		cause = u.Err
	}
	return fmt.Sprintf("no answer from %s: %v", e.API, cause)
}

// Unwrap returns the cause.
func (e *Unreachable) Unwrap() error { return e.err }

// Foreign is an answer that is not of this API: something else listens at the address.
type Foreign struct {
	API    string
	Status int
	Type   string
	err    error
}

// Error says what came instead.
func (e *Foreign) Error() string {
	return fmt.Sprintf("%s answered status %d with %q, which is not Atoll's API", e.API, e.Status, e.Type)
}

// Unwrap returns the cause.
func (e *Foreign) Unwrap() error { return e.err }

func foreign(base string, r request, res *http.Response, err error) error {
	return &Foreign{API: base, Status: res.StatusCode, Type: res.Header.Get("Content-Type"),
		err: fmt.Errorf("decode %s %s: %w", r.method, r.path, err)}
}

// errorOf reads the answer of a call that failed.
func errorOf(base string, r request, res *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return &Unreachable{API: base, err: err}
	}
	var env wire.Response[json.RawMessage]
	if err := json.Unmarshal(body, &env); err != nil {
		return foreign(base, r, res, err)
	}
	return newError(r, res.StatusCode, env.Errors)
}

func newError(r request, status int, errs []wire.Error) error {
	e := &Error{Method: r.method, Path: r.path, Status: status, Message: fmt.Sprintf("the API answered status %d without a reason", status)}
	if len(errs) > 0 {
		e.Code, e.Message, e.More = errs[0].Code, errs[0].Message, errs[1:]
	}
	return e
}
