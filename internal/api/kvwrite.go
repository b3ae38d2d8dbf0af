package api

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"

	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/kv"
	"atoll.dev/atoll/internal/wire"
)

// putKVValue stores a value: the body as it is, or the part "value" of a form that may have a part "metadata". The parts
// come in any order and without content types.
func (a *API) putKVValue(q *request) (any, error) {
	if err := a.storeKVValue(q); err != nil {
		io.Copy(io.Discard, q.Body) // most clients read no answer before they have sent all
		return nil, kvFault("put", bodyFault(err))
	}
	return struct{}{}, nil
}

func (a *API) storeKVValue(q *request) error {
	id, key, err := a.kvKey(q)
	if err != nil {
		return err
	}
	query := q.URL.Query()
	expires, err := a.KV.ParseExpiry(query.Get("expiration"), query.Get("expiration_ttl"))
	if err != nil {
		return err
	}
	mediaType, params, err := mime.ParseMediaType(q.Header.Get("Content-Type"))
	if err != nil || mediaType != "multipart/form-data" {
		return a.KV.Put(q.Context(), id, key, q.Body, kv.PutOptions{Expires: expires, Length: max(q.ContentLength, 0)})
	}
	form, err := readKVForm(multipart.NewReader(q.Body, params["boundary"]))
	if err != nil {
		return err
	}
	defer form.value.close()
	return a.KV.Put(q.Context(), id, key, form.value.reader(),
		kv.PutOptions{Expires: expires, Metadata: form.metadata, Length: form.value.size})
}

// kvForm is a value with its metadata.
type kvForm struct {
	value    *spool
	metadata string
}

func readKVForm(parts *multipart.Reader) (form kvForm, err error) {
	defer func() {
		if err != nil && form.value != nil {
			form.value.close()
		}
	}()
	for {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return form, malformed(err, "could not parse multipart form")
		}
		switch name := part.FormName(); {
		case name == "value":
			if form.value != nil {
				return form, malformed(nil, "more than one value")
			}
			if form.value, err = newSpool(part, kv.MaxValue); err != nil {
				return form, malformed(err, "could not parse multipart form")
			}
		case name == "metadata":
			text, err := io.ReadAll(io.LimitReader(part, 1<<16))
			if err != nil {
				return form, malformed(err, "could not parse multipart form")
			}
			if len(text) > 0 {
				if form.metadata, err = kv.ParseMetadata(text); err != nil {
					return form, err
				}
			}
		case strings.HasPrefix(name, "metadata["):
			// SDKs 3, 4 and 7 flatten an object so, and 1 and "1" are the same then.
			return form, malformed(nil, "metadata must be one field of JSON text, but "+strconv.Quote(name)+
				" is a part of it that lost its type: give the SDK a string made by JSON.stringify")
		}
	}
	if form.value == nil {
		return form, malformed(nil, "missing value")
	}
	return form, nil
}

// malformed is the fault of a body that cannot be understood, unless it could not even be read.
func malformed(err error, message string) error {
	if fault.Of(err) != nil || (err != nil && errors.As(err, new(*http.MaxBytesError))) {
		return err
	}
	return fault.New(fault.Invalid, 10012, message)
}

// bodyFault makes a fault of a body that is larger than the API reads.
func bodyFault(err error) error {
	var e *http.MaxBytesError
	if errors.As(err, &e) && fault.Of(err) == nil {
		return fault.Newf(fault.TooLarge, 10024, "the request body is larger than %d bytes", e.Limit)
	}
	return err
}

// putKVPairs stores up to 10,000 pairs. The body is read twice, from a spool: first to refuse it whole where any of it is
// wrong, then to store it piece by piece, so that it is never in memory as a whole.
func (a *API) putKVPairs(q *request) (any, error) {
	const op = "bulk put keys"
	id, err := a.kvSpace(q)
	if err != nil {
		return nil, kvFault(op, err)
	}
	body, err := newSpool(q.Body, a.MaxBody)
	if err != nil {
		return nil, kvFault(op, bodyFault(err))
	}
	defer body.close()
	count := 0
	err = a.readPairs(body.reader(), func(kv.BulkItem) error { count++; return nil })
	if err != nil {
		return nil, kvFault(op, err)
	}
	b := pairs{count: count, put: func(items []kv.BulkItem) ([]kv.Key, error) { return a.KV.PutMany(q.Context(), id, items) }}
	if err := a.readPairs(body.reader(), b.add); err != nil {
		return nil, kvFault(op, err)
	}
	b.flush()
	return bulkResult(op, count, b.failed, b.err)
}

// pairs gathers the pairs of a bulk write into pieces of some megabytes.
type pairs struct {
	put    func([]kv.BulkItem) ([]kv.Key, error)
	items  []kv.BulkItem
	bytes  int
	count  int
	failed []kv.Key
	err    error // why the first of them failed
}

func (b *pairs) add(it kv.BulkItem) error {
	b.items = append(b.items, it)
	if b.bytes += len(it.Value); b.bytes > 8<<20 || len(b.items) == 2000 {
		b.flush()
	}
	return nil
}

func (b *pairs) flush() {
	failed, err := b.put(b.items)
	b.failed = append(b.failed, failed...)
	if b.err == nil {
		b.err = err
	}
	b.items, b.bytes = nil, 0
}

// bulkResult is an error where nothing was done, else it tells which keys were not.
func bulkResult(op string, count int, failed []kv.Key, err error) (any, error) {
	if err != nil && len(failed) >= count {
		return nil, kvFault(op, err)
	}
	out := wire.KVBulk{SuccessfulKeyCount: count - len(failed), UnsuccessfulKeys: make([]string, 0, len(failed))}
	for _, k := range failed {
		out.UnsuccessfulKeys = append(out.UnsuccessfulKeys, string(k))
	}
	return out, nil
}

// readPairs calls do for each pair of a JSON array of them.
func (a *API) readPairs(r io.Reader, do func(kv.BulkItem) error) error {
	dec := json.NewDecoder(r)
	if tok, err := dec.Token(); err != nil || tok != json.Delim('[') {
		return fault.New(fault.Invalid, 10012, "the request body must be a JSON array of key-value pairs")
	}
	total := 0
	for i := 0; dec.More(); i++ {
		if i == kv.MaxBulkKeys {
			return fault.Newf(fault.Invalid, 10028, "more than %d key-value pairs", kv.MaxBulkKeys)
		}
		var p wire.KVPair
		if err := dec.Decode(&p); err != nil {
			return fault.Newf(fault.Invalid, 10012, "could not parse pair %d: %v", i, err)
		}
		it, err := a.pair(p)
		if err != nil {
			f := fault.Of(err)
			return fault.Newf(f.Kind, f.Code, "pair %d: %s", i, f.Message)
		}
		if total += len(it.Key) + len(it.Value) + len(it.Metadata); total > kv.MaxBulkBytes {
			return fault.Newf(fault.TooLarge, 10024, "the pairs are larger than %d bytes", kv.MaxBulkBytes)
		}
		if err := do(it); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return fault.Newf(fault.Invalid, 10012, "could not parse the request body as JSON: %v", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fault.New(fault.Invalid, 10012, "there is more than one JSON value in the request body")
	}
	return nil
}

// pair checks one pair of a bulk write. Its errors are faults.
func (a *API) pair(p wire.KVPair) (it kv.BulkItem, err error) {
	if it.Key, err = kv.ParseKey(p.Key); err != nil {
		return it, err
	}
	if p.Value == nil {
		return it, fault.New(fault.Invalid, 10012, "missing value")
	}
	it.Value = []byte(*p.Value)
	if p.Base64 {
		if it.Value, err = base64.StdEncoding.DecodeString(*p.Value); err != nil {
			return it, fault.New(fault.Invalid, 10012, "could not base64-decode value")
		}
	}
	if len(it.Value) > kv.MaxValue {
		return it, fault.Newf(fault.TooLarge, 10024, "Value length of %d exceeds limit of %d.", len(it.Value), kv.MaxValue)
	}
	if it.Expires, err = a.KV.ParseExpiry(p.Expiration.String(), p.ExpirationTTL.String()); err != nil {
		return it, err
	}
	if len(p.Metadata) > 0 {
		it.Metadata, err = kv.ParseMetadata(p.Metadata)
	}
	return it, err
}

// deleteKVKeys deletes up to 10,000 keys, which are the body of a DELETE (wrangler, SDKs) or of a POST.
func (a *API) deleteKVKeys(q *request) (any, error) {
	const op = "bulk delete keys"
	id, err := a.kvSpace(q)
	if err != nil {
		return nil, kvFault(op, err)
	}
	keys, err := readKeys(q.Body)
	if err != nil {
		return nil, kvFault(op, bodyFault(err))
	}
	failed, err := a.KV.DeleteMany(q.Context(), id, keys)
	return bulkResult(op, len(keys), failed, err)
}

// readKeys reads a JSON array of keys; maxKeysBody is more than any has.
func readKeys(r io.Reader) ([]kv.Key, error) {
	const maxKeysBody = 2 + kv.MaxBulkKeys*(6*kv.MaxKey+3)
	text, err := io.ReadAll(io.LimitReader(r, maxKeysBody+1))
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	if len(text) > maxKeysBody {
		return nil, fault.New(fault.TooLarge, 10024, "Request body is too large")
	}
	var names []string
	if err := json.Unmarshal(text, &names); err != nil {
		return nil, fault.New(fault.Invalid, 10012, "the request body must be a JSON array of keys")
	}
	if len(names) > kv.MaxBulkKeys {
		return nil, fault.New(fault.Invalid, 10028, "more than "+strconv.Itoa(kv.MaxBulkKeys)+" keys")
	}
	keys := make([]kv.Key, len(names))
	for i, name := range names {
		if keys[i], err = kv.ParseKey(name); err != nil {
			f := fault.Of(err)
			return nil, fault.Newf(f.Kind, f.Code, "key %d: %s", i, f.Message)
		}
	}
	return keys, nil
}

func (a *API) getKVValues(q *request) (any, error) {
	const op = "bulk get keys"
	id, err := a.kvSpace(q)
	if err != nil {
		return nil, kvFault(op, err)
	}
	get, err := kv.ParseBulkGet(q.Body)
	if err != nil {
		return nil, kvFault(op, bodyFault(err))
	}
	get.WithExpires = get.WithMetadata
	values, err := a.KV.GetMany(q.Context(), id, get)
	if err != nil {
		return nil, kvFault(op, err)
	}
	return wire.KVValues{Values: values}, nil
}
