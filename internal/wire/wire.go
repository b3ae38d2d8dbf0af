// Package wire holds the JSON shapes of the REST API under /client/v4, as Cloudflare's API has them: what package api
// writes and packages client, cli and dash read.
//
// It holds shapes and nothing else: no I/O, no validation, no defaults. It is never stored, and no package below the faces
// imports it, so a change of the API is a change of this package and not of the data. A field is here because a real
// client reads it or because Cloudflare's API reference lists it.
package wire

import (
	"encoding/json"
	"time"
)

// Response is the envelope of every answer that is not raw bytes. Clients look at Success and Errors[0].Code before they
// look at the HTTP status.
type Response[T any] struct {
	Success      bool        `json:"success"`
	Errors       []Error     `json:"errors"`
	Messages     []Message   `json:"messages"`
	Result       T           `json:"result"`
	ResultInfo   *ResultInfo `json:"result_info,omitempty"`
	AssetsUpload             // once more, where it is the result: some clients look for it here
}

// Error is one entry of Response.Errors.
type Error struct {
	Code    int     `json:"code"`
	Message string  `json:"message"`
	Chain   []Error `json:"error_chain,omitempty"`
}

// Message is one entry of Response.Messages: something to tell that is not an error.
type Message struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// ResultInfo tells which part of a list an answer is. Lists that are paged by number fill Page, PerPage, Count, TotalCount
// and TotalPages; lists that are paged by cursor fill Count and Cursor, which is absent on the last page. Cursors says the
// same in the place where version 5 of the TypeScript SDK looks for it in a list of KV keys.
type ResultInfo struct {
	Page       int      `json:"page,omitempty"`
	PerPage    int      `json:"per_page,omitempty"`
	Count      int      `json:"count"`
	TotalCount *int     `json:"total_count,omitempty"`
	TotalPages *int     `json:"total_pages,omitempty"`
	Cursor     string   `json:"cursor,omitempty"`
	Cursors    *Cursors `json:"cursors,omitempty"`

	Truncated *bool    `json:"is_truncated,omitempty"` // of a list of R2 objects
	Delimited []string `json:"delimited,omitempty"`    // its groups of keys
}

// Cursors holds where the next page begins.
type Cursors struct {
	After string `json:"after"`
}

// Time is a moment in the API's form: UTC, RFC 3339, always six digits after the second, because clients sort these
// strings as text.
type Time struct{ time.Time }

// TimeLayout is the form of Time.
const TimeLayout = "2006-01-02T15:04:05.000000Z"

// MarshalJSON implements json.Marshaler. The zero time is null.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(t.UTC().Format(TimeLayout))
}

// Optional is a field that may be missing, null, or a T. With the option omitzero a missing one is not sent.
type Optional[T any] struct {
	Sent  bool
	Value *T // nil: null
}

// Some is an Optional that is there: v, or null where v is nil.
func Some[T any](v *T) Optional[T] { return Optional[T]{Sent: true, Value: v} }

// MarshalJSON implements json.Marshaler.
func (o Optional[T]) MarshalJSON() ([]byte, error) { return json.Marshal(o.Value) }

// UnmarshalJSON implements json.Unmarshaler.
func (o *Optional[T]) UnmarshalJSON(b []byte) error {
	o.Sent, o.Value = true, nil
	return json.Unmarshal(b, &o.Value)
}
