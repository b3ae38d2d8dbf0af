package kv

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"atoll.dev/atoll/internal/fault"
)

// maxBulkGetBytes bounds the values of one answer together; maxBulkGetBody is more than any request for them needs.
const (
	maxBulkGetBytes = 25 << 20
	maxBulkGetBody  = 1 << 20
	// maxBulkAnswer bounds the answer, in which a byte may become six: values are hardly ever made of such bytes alone.
	maxBulkAnswer = 50 << 20
	// bulkGetters is how many answers are made at once. Each holds its values several times over.
	bulkGetters = 4
)

// BulkGet is a request for several values at once, as the binding and the REST API send it.
type BulkGet struct {
	Keys         []Key
	JSON         bool // the values are JSON, not text
	WithMetadata bool
	WithExpires  bool // and metadata; the binding does not ask for it
}

// ParseBulkGet reads the JSON of a request for several values.
func ParseBulkGet(body io.Reader) (BulkGet, error) {
	var in struct {
		Keys         []string        `json:"keys"`
		Type         *string         `json:"type"`
		WithMetadata bool            `json:"withMetadata"`
		CacheTTL     json.RawMessage `json:"cacheTtl"` // a string from the binding
	}
	data, err := io.ReadAll(io.LimitReader(body, maxBulkGetBody+1))
	if err != nil {
		return BulkGet{}, fmt.Errorf("read bulk get: %w", err)
	}
	if len(data) > maxBulkGetBody {
		return BulkGet{}, fault.New(fault.TooLarge, codeTooLarge, "Request body is too large")
	}
	if json.Unmarshal(data, &in) != nil {
		return BulkGet{}, fault.New(fault.Invalid, codeMalformed, "Invalid JSON")
	}
	b := BulkGet{WithMetadata: in.WithMetadata}
	switch {
	case in.Type != nil && *in.Type != "text" && *in.Type != "json":
		return b, fault.Newf(fault.Invalid, codeMalformed, `"%.32s" is not a valid type. Use "json" or "text"`, *in.Type)
	case len(in.Keys) > MaxBulkGet:
		return b, fault.Newf(fault.Invalid, codeLimit, "You can request a maximum of %d keys", MaxBulkGet)
	case len(in.Keys) == 0:
		return b, fault.New(fault.Invalid, codeNoKeys, "You must request a minimum of 1 key")
	}
	b.JSON = in.Type != nil && *in.Type == "json"
	if string(in.CacheTTL) != "null" {
		if err := checkCacheTTL(strings.Trim(string(in.CacheTTL), `"`)); err != nil {
			return b, err
		}
	}
	seen := map[string]bool{}
	for _, s := range in.Keys {
		key, err := ParseKey(s)
		if err != nil {
			return b, err
		}
		if !seen[s] {
			seen[s] = true
			b.Keys = append(b.Keys, key)
		}
	}
	return b, nil
}

// GetMany returns a JSON object of the values asked for, in the order of the keys, null for those that hold nothing.
func (s *Store) GetMany(ctx context.Context, id NamespaceID, get BulkGet) ([]byte, error) {
	select {
	case s.bulk <- struct{}{}:
		defer func() { <-s.bulk }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	var out bytes.Buffer
	total := int64(0)
	for i, key := range get.Keys {
		v, ok, err := s.Get(ctx, id, key)
		if err != nil {
			return nil, err
		}
		if total += v.Size; total > maxBulkGetBytes {
			v.Close()
			return nil, fault.Newf(fault.TooLarge, codeTooLarge, "Total size of request exceeds the limit of %dMB",
				maxBulkGetBytes>>20)
		}
		text := []byte("null")
		if ok {
			text, err = get.render(v)
		}
		v.Close()
		if err != nil {
			return nil, err
		}
		name, err := json.Marshal(key)
		if err != nil {
			return nil, err
		}
		if out.Len()+len(text) > maxBulkAnswer {
			return nil, errBulkAnswer
		}
		out.WriteByte("{,"[min(i, 1)])
		out.Write(name)
		out.WriteByte(':')
		out.Write(text)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

var errBulkAnswer = fault.Newf(fault.TooLarge, codeTooLarge, "Total size of request exceeds the limit of %dMB", maxBulkGetBytes>>20)

// quote writes text as JSON, unless that were more than any answer may be.
func quote(text string) ([]byte, error) {
	n := len(text)
	for i := range len(text) {
		if text[i] < ' ' {
			n += 5
		}
	}
	if n > maxBulkAnswer {
		return nil, errBulkAnswer
	}
	var out bytes.Buffer
	out.Grow(n + n/16 + 3)
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	err := enc.Encode(text)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

// render returns one value as JSON.
func (get BulkGet) render(v Value) ([]byte, error) {
	data, err := v.Bytes()
	if err != nil {
		return nil, err
	}
	if !get.JSON {
		if data, err = quote(decodeText(data)); err != nil {
			return nil, err
		}
	} else if data = bytes.TrimPrefix(data, []byte("\ufeff")); !utf8.Valid(data) || !json.Valid(data) {
		return nil, fault.New(fault.Invalid, codeMalformed,
			"At least one of the requested keys corresponds to a non-json value")
	}
	if !get.WithMetadata {
		return data, nil
	}
	metadata := v.Metadata
	if metadata == "" {
		metadata = "null"
	}
	out := fmt.Appendf(nil, `{"value":%s,"metadata":%s`, data, metadata)
	if get.WithExpires && v.Expires != 0 {
		out = fmt.Appendf(out, `,"expiration":%d`, v.Expires)
	}
	return append(out, '}'), nil
}

// decodeText decodes UTF-8 as JavaScript's TextDecoder does (WHATWG Encoding, 8.1.1): without a byte order mark, and
// with one U+FFFD for each longest prefix of a character that breaks off, where Go would put one for each byte.
func decodeText(data []byte) string {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if utf8.Valid(data) {
		return string(data)
	}
	var out strings.Builder
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		if r == utf8.RuneError && n == 1 {
			n = brokenPrefix(data)
		}
		out.WriteRune(r)
		data = data[n:]
	}
	return out.String()
}

// brokenPrefix returns how many bytes at the start of data, which start no whole character, one U+FFFD stands for.
func brokenPrefix(data []byte) int {
	need, low, high := 0, byte(0x80), byte(0xbf)
	switch c := data[0]; {
	case c >= 0xc2 && c <= 0xdf:
		need = 1
	case c >= 0xe0 && c <= 0xef:
		need = 2
		if c == 0xe0 {
			low = 0xa0
		} else if c == 0xed {
			high = 0x9f
		}
	case c >= 0xf0 && c <= 0xf4:
		need = 3
		if c == 0xf0 {
			low = 0x90
		} else if c == 0xf4 {
			high = 0x8f
		}
	}
	n := 1
	for ; n <= need && n < len(data) && data[n] >= low && data[n] <= high; n++ {
		low, high = 0x80, 0xbf
	}
	return n
}

func (b *binding) getMany(w http.ResponseWriter, r *http.Request) error {
	get, err := ParseBulkGet(r.Body)
	if err != nil {
		return err
	}
	data, err := b.st.GetMany(r.Context(), b.id, get)
	if err == nil {
		writeJSON(w, data)
	}
	return err
}
