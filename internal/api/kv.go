package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/kv"
	"atoll.dev/atoll/internal/wire"
)

// kvFault puts the operation before a fault's message, as Cloudflare does: get: 'key not found'.
func kvFault(op string, err error) error {
	f := fault.Of(err)
	if f == nil || f.Kind == fault.Internal {
		return fmt.Errorf("%s: %w", op, err)
	}
	return fault.New(f.Kind, f.Code, op+": '"+f.Message+"'")
}

// kvSpace returns the KV namespace of the path, which is the account's.
func (a *API) kvSpace(q *request) (kv.NamespaceID, error) {
	id, err := kv.ParseNamespaceID(q.path("kv"))
	if err != nil {
		return "", err
	}
	if ok, err := a.KV.KVNamespaceExists(q.Context(), q.account, string(id)); err != nil || ok {
		return id, err
	}
	return "", fault.New(fault.NotFound, 10013, "namespace not found")
}

// kvKey returns the KV namespace and the key of the path.
func (a *API) kvKey(q *request) (kv.NamespaceID, kv.Key, error) {
	id, err := a.kvSpace(q)
	if err != nil {
		return "", "", err
	}
	key, err := kv.ParseKey(q.path("*"))
	return id, key, err
}

func showKVNamespace(n kv.Namespace) wire.KVNamespace {
	return wire.KVNamespace{ID: string(n.ID), Title: n.Title, SupportsURLEncoding: true}
}

// listKVNamespaces answers an empty page past the end: wrangler and the SDKs ask on until they get one.
func (a *API) listKVNamespaces(q *request) (any, error) {
	var o kv.NamespaceOrder
	var err error
	if o.PerPage, err = q.number("per_page", 1, 1000, 20); err != nil {
		return nil, err
	}
	if o.Page, err = q.number("page", 1, 1<<30, 1); err != nil {
		return nil, err
	}
	query := q.URL.Query()
	o.ByTitle, o.Descending = query.Get("order") == "title", query.Get("direction") == "desc"
	list, total, err := a.KV.Namespaces(q.Context(), q.account, o)
	if err != nil {
		return nil, err
	}
	out := make([]wire.KVNamespace, 0, len(list))
	for _, n := range list {
		out = append(out, showKVNamespace(n))
	}
	pages := (total + o.PerPage - 1) / o.PerPage
	return page{out, &wire.ResultInfo{Page: o.Page, PerPage: o.PerPage, Count: len(out), TotalCount: &total, TotalPages: &pages}}, nil
}

func (a *API) postKVNamespace(q *request) (any, error) {
	var in wire.KVTitle
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	n, err := a.KV.CreateNamespace(q.Context(), q.account, in.Title)
	if err != nil {
		return nil, err
	}
	return showKVNamespace(n), nil
}

func (a *API) getKVNamespace(q *request) (any, error) {
	id, err := a.kvSpace(q)
	if err != nil {
		return nil, kvFault("get", err)
	}
	n, err := a.KV.Namespace(q.Context(), q.account, id)
	if err != nil {
		return nil, kvFault("get", err)
	}
	return showKVNamespace(n), nil
}

func (a *API) putKVNamespace(q *request) (any, error) {
	id, err := a.kvSpace(q)
	if err != nil {
		return nil, kvFault("rename", err)
	}
	var in wire.KVTitle
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if err := a.KV.RenameNamespace(q.Context(), q.account, id, in.Title); err != nil {
		return nil, err
	}
	return wire.KVNamespace{ID: string(id), Title: in.Title, SupportsURLEncoding: true}, nil
}

func (a *API) deleteKVNamespace(q *request) (any, error) {
	id, err := a.kvSpace(q)
	if err == nil {
		err = a.KV.DeleteNamespace(q.Context(), q.account, id)
	}
	if err != nil {
		return nil, kvFault("remove", err)
	}
	return struct{}{}, nil
}

func (a *API) listKVKeys(q *request) (any, error) {
	const op = "list keys"
	id, err := a.kvSpace(q)
	if err != nil {
		return nil, kvFault(op, err)
	}
	query := q.URL.Query()
	limit, err := q.number("limit", 1, kv.MaxList, kv.MaxList)
	if err != nil {
		return nil, fault.New(fault.Invalid, 10028, op+": 'limit must be a number from 1 to 1000'")
	}
	p, err := a.KV.List(q.Context(), id, kv.ListOptions{Prefix: query.Get("prefix"), Limit: limit, Cursor: query.Get("cursor")})
	if err != nil {
		return nil, kvFault(op, err)
	}
	out := make([]wire.KVKey, 0, len(p.Keys))
	for _, k := range p.Keys {
		out = append(out, wire.KVKey{Name: string(k.Name), Expiration: k.Expires, Metadata: []byte(k.Metadata)})
	}
	info := &wire.ResultInfo{Count: len(out), Cursor: p.Cursor}
	if p.Cursor != "" {
		info.Cursors = &wire.Cursors{After: p.Cursor}
	}
	return page{out, info}, nil
}

// kvValue looks the path's key up. The value must be closed.
func (a *API) kvValue(q *request) (kv.Value, error) {
	id, key, err := a.kvKey(q)
	if err != nil {
		return kv.Value{}, kvFault("get", err)
	}
	v, ok, err := a.KV.Get(q.Context(), id, key)
	if err == nil && !ok {
		err = fault.New(fault.NotFound, 10009, "key not found")
	}
	if err != nil {
		return kv.Value{}, kvFault("get", err)
	}
	return v, nil
}

func (a *API) getKVValue(q *request) (any, error) {
	v, err := a.kvValue(q)
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	if v.Expires != 0 {
		header.Set("Expiration", strconv.FormatInt(v.Expires, 10))
	}
	if q.Method == http.MethodHead { // write is not called
		v.Close()
	}
	return raw{contentType: "application/octet-stream", header: header, size: v.Size, write: func(w io.Writer) error {
		defer v.Close()
		_, err := v.WriteTo(w)
		return err
	}}, nil
}

func (a *API) getKVMetadata(q *request) (any, error) {
	v, err := a.kvValue(q)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	if v.Metadata == "" {
		return nil, nil
	}
	return json.RawMessage(v.Metadata), nil
}

func (a *API) deleteKVValue(q *request) (any, error) {
	id, key, err := a.kvKey(q)
	if err == nil {
		err = a.KV.Delete(q.Context(), id, key)
	}
	if err != nil {
		return nil, kvFault("remove key", err)
	}
	return struct{}{}, nil
}
