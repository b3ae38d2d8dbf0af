package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"

	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/wire"
)

// What a handler may return apart from a plain value, which becomes the result of the envelope.
type (
	// page is a result with its result_info.
	page struct {
		items any
		info  *wire.ResultInfo
	}
	// told is a result with a message beside it.
	told struct {
		result  any
		code    int
		message string
	}
	// warned is a result with what was ignored to get it.
	warned struct {
		result   any
		messages []wire.Message
	}
	// created is a result with status 201, and accepted one with 202.
	created  struct{ result any }
	accepted struct{ result any }
	// raw is an answer without an envelope: a script's code, a KV value.
	raw struct {
		contentType string
		header      http.Header // may be nil
		size        int64       // -1: not known
		write       func(io.Writer) error
	}
)

// render writes what a handler returned, and returns the status.
func (a *API) render(w http.ResponseWriter, r *http.Request, result any, err error) int {
	if err != nil {
		return a.renderError(w, r, err)
	}
	answer := wire.Response[any]{Success: true, Errors: []wire.Error{}, Messages: []wire.Message{}}
	status := http.StatusOK
	switch v := result.(type) {
	case raw:
		return a.renderRaw(w, r, v)
	case page:
		answer.Result, answer.ResultInfo = v.items, v.info
	case told:
		answer.Result = v.result
		answer.Messages = append(answer.Messages, wire.Message{Code: v.code, Message: v.message})
	case warned:
		answer.Result, answer.Messages = v.result, v.messages
	case created:
		status, answer.Result = http.StatusCreated, v.result
	case accepted:
		status, answer.Result = http.StatusAccepted, v.result
	default:
		answer.Result = v
	}
	if v, ok := answer.Result.(wire.AssetsUpload); ok {
		answer.AssetsUpload = v // for clients that look for it beside the result
	}
	return a.write(w, status, answer)
}

// renderError writes err's fault. What carries none, or is Internal, is logged and not shown.
func (a *API) renderError(w http.ResponseWriter, r *http.Request, err error) int {
	if r.Context().Err() != nil && fault.Of(err) == nil {
		a.lg.Debug("api client gone", "method", r.Method, "path", r.URL.Path, "err", err)
		return 499 // nginx's number for a client that went away; nobody reads it
	}
	var tooBig *http.MaxBytesError
	if errors.As(err, &tooBig) && fault.Of(err) == nil {
		err = fault.Newf(fault.TooLarge, 10026, "the request body is larger than %d bytes", tooBig.Limit)
	}
	if fault.KindOf(err) == fault.Internal {
		a.lg.Error("api request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	status := statuses[fault.KindOf(err)]
	switch status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="atoll"`) // RFC 9110, section 11.6.1
	case http.StatusConflict:
		w.Header().Set("X-Should-Retry", "false") // the SDKs repeat a 409 otherwise, and nothing would have changed
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}
	return a.renderErrors(w, status, err)
}

// renderErrors writes an envelope of errors.
func (a *API) renderErrors(w http.ResponseWriter, status int, list ...error) int {
	answer := wire.Response[any]{Messages: []wire.Message{}}
	for _, err := range list {
		e := wire.Error{Code: 10013, Message: "An unknown error has occurred. The node's log has its cause."}
		if f := fault.Of(err); f != nil && f.Kind != fault.Internal {
			e = wire.Error{Code: f.Code, Message: f.Message}
		}
		answer.Errors = append(answer.Errors, e)
	}
	return a.write(w, status, answer)
}

// writeAll is the write of a raw answer that is at hand.
func writeAll(b []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	}
}

// statuses are the HTTP statuses of the kinds of fault.
var statuses = [...]int{
	fault.Internal:        http.StatusInternalServerError,
	fault.Invalid:         http.StatusBadRequest,
	fault.Unauthenticated: http.StatusUnauthorized,
	fault.Forbidden:       http.StatusForbidden,
	fault.NotFound:        http.StatusNotFound,
	fault.Conflict:        http.StatusConflict,
	fault.Precondition:    http.StatusPreconditionFailed,
	fault.TooLarge:        http.StatusRequestEntityTooLarge,
	fault.Unsupported:     http.StatusUnsupportedMediaType,
	fault.Limited:         http.StatusTooManyRequests,
	fault.Unavailable:     http.StatusServiceUnavailable,
	fault.Full:            http.StatusInsufficientStorage,
}

// write sends an envelope.
func (a *API) write(w http.ResponseWriter, status int, answer wire.Response[any]) int {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(answer); err != nil {
		a.lg.Error("api answer cannot be written as JSON", "err", err)
		status = http.StatusInternalServerError
		b.Reset()
		b.WriteString(`{"success":false,"errors":[{"code":10013,"message":"An unknown error has occurred."}],"messages":[],"result":null}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(b.Bytes()) // a client that went away is no concern of ours
	return status
}

// renderRaw sends an answer without an envelope. Where it breaks off, so does the connection: the client must not take a
// part for the whole.
func (a *API) renderRaw(w http.ResponseWriter, r *http.Request, v raw) int {
	h := w.Header()
	for name, values := range v.header {
		h[name] = values
	}
	h.Set("Content-Type", v.contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff") // these bytes are customers', and the dashboard has the same origin
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	if v.size >= 0 {
		h.Set("Content-Length", strconv.FormatInt(v.size, 10))
	}
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return http.StatusOK
	}
	if err := v.write(w); err != nil {
		if r.Context().Err() == nil {
			a.lg.Error("api answer broke off", "path", r.URL.Path, "err", err)
		}
		panic(http.ErrAbortHandler)
	}
	return http.StatusOK
}
