package api

import (
	"encoding/json"
	"io"
	"net/http"
	"sort"

	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/r2"
	"atoll.dev/atoll/internal/wire"
)

// getR2Object answers an object's content, and with the header cf-metadata-only what is known of it.
func (a *API) getR2Object(q *request) (any, error) {
	ref, err := a.r2Bucket(q)
	if err != nil {
		return nil, err
	}
	if q.Header.Get("Cf-Metadata-Only") == "true" {
		o, err := a.R2.Head(q.Context(), ref, q.path("*"))
		if err != nil {
			return nil, err
		}
		return showR2Object(o), nil
	}
	o, body, err := a.R2.Get(q.Context(), ref, q.path("*"), r2.GetOptions{})
	if err != nil {
		return nil, err
	}
	h := http.Header{}
	set := func(name, value string) {
		if value != "" {
			h.Set(name, value)
		}
	}
	set("ETag", `"`+o.ETag+`"`)
	set("Last-Modified", o.Uploaded.Format(http.TimeFormat))
	set("Content-Language", o.HTTP.ContentLanguage)
	set("Content-Disposition", o.HTTP.ContentDisposition)
	set("Cf-R2-Storage-Class", o.Class)
	// Not Content-Encoding: a client that undoes it would not get the bytes that were put.
	for _, f := range o.Custom {
		set("X-R2-Custom-Metadata-"+f.Name, f.Value)
	}
	contentType := o.HTTP.ContentType
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	if q.Method == http.MethodHead { // write is not called
		body.Close()
	}
	return raw{contentType: contentType, header: h, size: o.Size, write: func(w io.Writer) error {
		defer body.Close()
		_, err := body.WriteTo(w)
		return err
	}}, nil
}

// putR2Object stores the body, with the headers that belong to an object.
func (a *API) putR2Object(q *request) (any, error) {
	ref, err := a.r2Bucket(q)
	var o r2.Object
	if err == nil {
		var opts r2.PutOptions
		if opts, err = r2Options(q); err == nil {
			o, err = a.R2.Put(q.Context(), ref, q.path("*"), q.Body, opts)
		}
	}
	if err != nil {
		io.Copy(io.Discard, q.Body) // most clients read no answer before they have sent all
		return nil, err
	}
	return showR2Object(o), nil
}

// r2Options reads what is to be stored beside an object.
func r2Options(q *request) (r2.PutOptions, error) {
	o := r2.PutOptions{Length: q.ContentLength, Class: q.Header.Get("Cf-R2-Storage-Class"), HTTP: r2.HTTPMetadata{
		ContentType:        q.Header.Get("Content-Type"),
		ContentLanguage:    q.Header.Get("Content-Language"),
		ContentDisposition: q.Header.Get("Content-Disposition"),
		ContentEncoding:    q.Header.Get("Content-Encoding"),
		CacheControl:       q.Header.Get("Cache-Control"),
	}}
	if s := q.Header.Get("Expires"); s != "" {
		at, err := http.ParseTime(s)
		if err != nil {
			return o, fault.New(fault.Invalid, r2.CodeArgument, "Expires must be a time of HTTP, such as Fri, 01 Jan 2027 00:00:00 GMT")
		}
		ms := at.UnixMilli()
		o.HTTP.CacheExpiry = &ms
	}
	if s := q.Header.Get("Cf-R2-Custom-Metadata"); s != "" {
		var fields map[string]string
		if json.Unmarshal([]byte(s), &fields) != nil {
			return o, fault.New(fault.Invalid, r2.CodeArgument, "Cf-R2-Custom-Metadata must be a JSON object of strings")
		}
		for name, value := range fields {
			o.Custom = append(o.Custom, r2.Field{Name: name, Value: value})
		}
		sort.Slice(o.Custom, func(i, j int) bool { return o.Custom[i].Name < o.Custom[j].Name })
	}
	return o, nil
}

func (a *API) deleteR2Object(q *request) (any, error) {
	ref, err := a.r2Bucket(q)
	if err == nil {
		err = a.R2.Delete(q.Context(), ref, q.path("*"))
	}
	if err != nil {
		return nil, err
	}
	return wire.R2Key{Key: q.path("*")}, nil
}
