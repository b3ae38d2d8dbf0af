package api

import (
	"encoding/json"

	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/r2"
	"atoll.dev/atoll/internal/wire"
)

// r2Bucket is the bucket that the path names. A node is one place: what asks for a jurisdiction would not get it.
func (a *API) r2Bucket(q *request) (r2.Ref, error) {
	if j := q.Header.Get("Cf-R2-Jurisdiction"); j != "" && j != "default" {
		return r2.Ref{}, fault.Newf(fault.Invalid, r2.CodeArgument, "this node has no jurisdictions, and so none %q", j)
	}
	return r2.Ref{Account: q.account, Name: q.path("bucket")}, nil
}

func showR2Bucket(b r2.Bucket) wire.R2Bucket {
	return wire.R2Bucket{Name: b.Name, Created: wire.Time{Time: b.Created}, Location: b.Location, Jurisdiction: "default", StorageClass: b.Class}
}

// listR2Buckets answers a page of up to a thousand: wrangler asks for one page, without a size.
func (a *API) listR2Buckets(q *request) (any, error) {
	if _, err := a.r2Bucket(q); err != nil {
		return nil, err
	}
	limit, err := q.number("per_page", 1, 1000, 1000)
	if err != nil {
		return nil, err
	}
	query := q.URL.Query()
	o := r2.BucketList{Contains: query.Get("name_contains"), After: query.Get("start_after"), Descending: query.Get("direction") == "desc", Limit: limit + 1}
	if c := query.Get("cursor"); c != "" {
		o.After = c
	}
	list, err := a.R2.Buckets(q.Context(), q.account, o)
	if err != nil {
		return nil, err
	}
	info := &wire.ResultInfo{PerPage: limit}
	if len(list) > limit {
		list = list[:limit]
		info.Cursor = list[limit-1].Name
	}
	info.Count = len(list)
	out := wire.R2Buckets{Buckets: []wire.R2Bucket{}}
	for _, b := range list {
		out.Buckets = append(out.Buckets, showR2Bucket(b))
	}
	return page{out, info}, nil
}

func (a *API) postR2Bucket(q *request) (any, error) {
	ref, err := a.r2Bucket(q)
	if err != nil {
		return nil, err
	}
	var in wire.R2BucketRequest
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	ref.Name = in.Name
	b, err := a.R2.CreateBucket(q.Context(), ref, in.LocationHint, in.StorageClass)
	if err != nil {
		return nil, err
	}
	a.lg.Info("r2 bucket made", "account", q.account, "bucket", ref.Name)
	return showR2Bucket(b), nil
}

func (a *API) getR2Bucket(q *request) (any, error) {
	ref, err := a.r2Bucket(q)
	if err != nil {
		return nil, err
	}
	b, err := a.R2.Bucket(q.Context(), ref)
	if err != nil {
		return nil, err
	}
	return showR2Bucket(b), nil
}

func (a *API) patchR2Bucket(q *request) (any, error) {
	ref, err := a.r2Bucket(q)
	if err == nil {
		err = a.R2.SetBucketClass(q.Context(), ref, q.Header.Get("Cf-R2-Storage-Class"))
	}
	if err != nil {
		return nil, err
	}
	return a.getR2Bucket(q)
}

func (a *API) deleteR2Bucket(q *request) (any, error) {
	ref, err := a.r2Bucket(q)
	if err == nil {
		err = a.R2.DeleteBucket(q.Context(), ref)
	}
	if err != nil {
		return nil, err
	}
	a.lg.Info("r2 bucket deleted", "account", q.account, "bucket", ref.Name)
	return struct{}{}, nil
}

func (a *API) listR2Objects(q *request) (any, error) {
	ref, err := a.r2Bucket(q)
	if err != nil {
		return nil, err
	}
	limit, err := q.number("per_page", 1, r2.MaxList, r2.MaxList)
	if err != nil {
		return nil, fault.Newf(fault.Invalid, r2.CodeMaxKeys, "per_page must be a number from 1 to %d", r2.MaxList)
	}
	query := q.URL.Query()
	p, err := a.R2.List(q.Context(), ref, r2.ListOptions{Prefix: query.Get("prefix"), Delimiter: query.Get("delimiter"),
		After: query.Get("start_after"), Cursor: query.Get("cursor"), Limit: limit})
	if err != nil {
		return nil, err
	}
	out := make([]wire.R2Object, 0, len(p.Objects))
	for _, o := range p.Objects {
		out = append(out, showR2Object(o))
	}
	more := p.Cursor != ""
	return page{out, &wire.ResultInfo{Count: len(out), PerPage: limit, Cursor: p.Cursor, Truncated: &more, Delimited: p.Prefixes}}, nil
}

func showR2Object(o r2.Object) wire.R2Object {
	out := wire.R2Object{Key: o.Key, ETag: o.ETag, Version: o.Version, Size: o.Size, LastModified: wire.Time{Time: o.Uploaded}, StorageClass: o.Class,
		HTTP: &wire.R2HTTPMetadata{ContentType: o.HTTP.ContentType, ContentLanguage: o.HTTP.ContentLanguage, ContentDisposition: o.HTTP.ContentDisposition,
			ContentEncoding: o.HTTP.ContentEncoding, CacheControl: o.HTTP.CacheControl}}
	if at := o.HTTP.Expires(); !at.IsZero() {
		out.HTTP.CacheExpiry = &wire.Time{Time: at}
	}
	for _, f := range o.Custom {
		if out.Custom == nil {
			out.Custom = map[string]string{}
		}
		out.Custom[f.Name] = f.Value
	}
	return out
}

// deleteR2Objects deletes the objects whose keys are the body, a JSON array.
func (a *API) deleteR2Objects(q *request) (any, error) {
	ref, err := a.r2Bucket(q)
	if err != nil {
		return nil, err
	}
	var keys []string
	text, err := q.readUpTo(8 << 20)
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(text, &keys) != nil || len(keys) == 0 {
		return nil, fault.New(fault.Invalid, r2.CodeArgument, "the request body must be a JSON array of keys")
	}
	if err := a.R2.Delete(q.Context(), ref, keys...); err != nil {
		return nil, err
	}
	out := make([]wire.R2Key, len(keys))
	for i, key := range keys {
		out[i].Key = key
	}
	return out, nil
}
