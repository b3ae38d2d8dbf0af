package r2

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"atoll.dev/atoll/internal/sqlite"
)

// Object is what is known of an object beside its content.
type Object struct {
	Key      string
	Version  string // 32 hexadecimal digits, new with each put
	Size     int64
	ETag     string // without quotes: MD5 of the content, or MD5 of the parts' MD5s with their number behind
	Uploaded time.Time
	Class    string
	HTTP     HTTPMetadata
	Custom   []Field
	Sums     Sums
	KeySum   string // base64 of the MD5 of the customer's key; empty: not encrypted with one
	Parts    int    // of which it was put together; 0: it was put in one
}

// HTTPMetadata are the headers that go with an object.
type HTTPMetadata struct {
	ContentType        string `json:"contentType,omitempty"`
	ContentLanguage    string `json:"contentLanguage,omitempty"`
	ContentDisposition string `json:"contentDisposition,omitempty"`
	ContentEncoding    string `json:"contentEncoding,omitempty"`
	CacheControl       string `json:"cacheControl,omitempty"`
	CacheExpiry        *int64 `json:"cacheExpiry,omitempty"` // milliseconds since 1970
}

func (m HTTPMetadata) size() int {
	return len(m.ContentType) + len(m.ContentLanguage) + len(m.ContentDisposition) + len(m.ContentEncoding) + len(m.CacheControl)
}

// Expires is CacheExpiry, the zero time where there is none.
func (m HTTPMetadata) Expires() time.Time {
	if m.CacheExpiry == nil {
		return time.Time{}
	}
	return fromMillis(*m.CacheExpiry)
}

// Field is one entry of an object's own metadata.
type Field struct {
	Name  string `json:"k"`
	Value string `json:"v"`
}

// checkMetadata bounds what comes with an object.
func checkMetadata(h HTTPMetadata, custom []Field) error {
	n := 0
	for _, f := range custom {
		n += serialized(f.Name) + serialized(f.Value)
	}
	if n > MaxMetadata || h.size() > MaxMetadata {
		return errMetadata()
	}
	return nil
}

// serialized is how long R2 counts a text: in UTF-16, or in single bytes where those suffice for all of it.
func serialized(s string) int {
	n, wide := 0, false
	for _, r := range s {
		n += max(utf16.RuneLen(r), 1)
		wide = wide || r > 0xff
	}
	if wide {
		n *= 2
	}
	return n
}

// CheckKey refuses what is no key of an object. U+007F is none here: the binding sends the key of a head or get in a header,
// as it is, and net/http takes no such header.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKey || !utf8.ValidString(key) || strings.Contains(key, "\x7f") {
		return errObjectName()
	}
	return nil
}

// row is an object as it is stored.
type row struct {
	Object
	num    int64
	head   int64
	upload int64 // 0: none
	file   string
	salt   []byte
	data   []byte
}

const (
	objectColumns = `num, key, version, size, etag, uploaded, class, http, custom, sums, keysum, head, coalesce(upload, 0), coalesce(file, '')`
	objectBody    = `, salt, data`
)

// scanObject scans objectColumns, and objectBody where body is true.
func scanObject(body bool) func(sqlite.Row) (row, error) {
	return func(r sqlite.Row) (o row, err error) {
		var key, http, custom, sums []byte
		var uploaded int64
		dest := []any{&o.num, &key, &o.Version, &o.Size, &o.ETag, &uploaded, &o.Class, &http, &custom, &sums, &o.KeySum, &o.head, &o.upload, &o.file}
		if body {
			dest = append(dest, &o.salt, &o.data)
		}
		if err := r.Scan(dest...); err != nil {
			return o, err
		}
		o.Key, o.Uploaded = string(key), fromMillis(uploaded)
		if o.upload != 0 {
			if _, n, ok := strings.Cut(o.ETag, "-"); ok {
				fmt.Sscanf(n, "%d", &o.Parts)
			}
		}
		return o, o.decode(http, custom, sums)
	}
}

func (o *row) decode(http, custom, sums []byte) error {
	for _, p := range []struct {
		text []byte
		into any
	}{{http, &o.HTTP}, {custom, &o.Custom}, {sums, &o.Sums}} {
		if err := json.Unmarshal(p.text, p.into); err != nil {
			return fmt.Errorf("object %d: metadata cannot be read: %w", o.num, err)
		}
	}
	return nil
}

// encode returns v, a value of this file's types, as it is stored.
func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts and numbers always marshal
	}
	return string(b)
}

// headSize is what an object's or an upload's row counts for: so that a million empty objects are not free.
func headSize(key string, h HTTPMetadata, custom []Field) int64 {
	n := len(key) + h.size() + 200
	for _, f := range custom {
		n += len(f.Name) + len(f.Value)
	}
	return int64(n)
}
