package s3

import (
	"cmp"
	"io"
	"net/http"
	"slices"
	"strconv"

	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/r2"
)

// layout is how S3 writes a time.
const layout = "2006-01-02T15:04:05.000Z"

func (c *call) listBuckets() error {
	list, err := c.h.store.Buckets(c.Context(), c.account, r2.BucketList{})
	if err != nil {
		return err
	}
	type bucket struct{ Name, CreationDate string }
	out := struct {
		Owner   struct{ ID, DisplayName string }
		Buckets struct{ Bucket []bucket }
	}{}
	out.Owner.ID, out.Owner.DisplayName = string(c.account), string(c.account)
	for _, b := range list {
		out.Buckets.Bucket = append(out.Buckets.Bucket, bucket{b.Name, b.Created.Format(layout)})
	}
	return c.answer("ListAllMyBucketsResult", out)
}

func (c *call) headBucket() error {
	if _, err := c.h.store.Bucket(c.Context(), c.ref()); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// getLocation tells the region, which is one for all: https://developers.cloudflare.com/r2/api/s3/api/#bucket-region
func (c *call) getLocation() error {
	if _, err := c.h.store.Bucket(c.Context(), c.ref()); err != nil {
		return err
	}
	return c.answer("LocationConstraint", "auto")
}

func (c *call) createBucket() error {
	var in struct{ LocationConstraint string }
	text, err := io.ReadAll(io.LimitReader(c.body, maxXML))
	if err != nil {
		return err
	}
	if len(text) > 0 && parseXML(text, &in) != nil {
		return errMalformedXML
	}
	location := in.LocationConstraint
	if location == "auto" || location == "us-east-1" { // "alias to the auto region"
		location = ""
	}
	if r2.CheckLocation(location) != nil {
		return &problem{http.StatusBadRequest, "InvalidLocationConstraint", "The specified location constraint is not valid."}
	}
	if _, err := c.h.store.CreateBucket(c.Context(), c.ref(), location, ""); err != nil {
		return err
	}
	c.w.Header().Set("Location", "/"+c.bucket)
	c.w.WriteHeader(http.StatusOK)
	return nil
}

func (c *call) deleteBucket() error {
	if err := c.h.store.DeleteBucket(c.Context(), c.ref()); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// encoder returns how the names in a list are written.
func (c *call) encoder() (func(string) string, error) {
	switch c.query.Get("encoding-type") {
	case "":
		return func(s string) string { return s }, nil
	case "url":
		return escape, nil
	}
	return nil, errNotImplemented("this encoding-type")
}

// maxKeys is how many entries a list may have, and how many were asked for.
func (c *call) maxKeys(name string) (limit, asked int, err error) {
	asked = r2.MaxList
	if s := c.query.Get(name); s != "" {
		if asked, err = strconv.Atoi(s); err != nil || asked < 0 {
			return 0, 0, &problem{http.StatusBadRequest, "InvalidMaxKeys", "MaxKeys params must be positive integer <= 1000."}
		}
	}
	return min(asked, r2.MaxList), asked, nil
}

type listedObject struct {
	Key          string
	LastModified string
	ETag         string
	Size         int64
	StorageClass string
}

type commonPrefix struct{ Prefix string }

type listResult struct {
	Name                  string
	Prefix                string
	Marker                *string `xml:",omitempty"`
	NextMarker            string  `xml:",omitempty"`
	StartAfter            string  `xml:",omitempty"`
	ContinuationToken     string  `xml:",omitempty"`
	NextContinuationToken string  `xml:",omitempty"`
	Delimiter             string  `xml:",omitempty"`
	MaxKeys               int
	KeyCount              *int   `xml:",omitempty"`
	EncodingType          string `xml:",omitempty"`
	IsTruncated           bool
	Contents              []listedObject
	CommonPrefixes        []commonPrefix
}

// listObjects lists in both versions of the protocol.
func (c *call) listObjects() error {
	encode, err := c.encoder()
	if err != nil {
		return err
	}
	limit, asked, err := c.maxKeys("max-keys")
	if err != nil {
		return err
	}
	two := c.query.Get("list-type") == "2"
	o := r2.ListOptions{Prefix: c.query.Get("prefix"), Delimiter: c.query.Get("delimiter"), Limit: max(limit, 1)}
	if two {
		o.After, o.Cursor = c.query.Get("start-after"), c.query.Get("continuation-token")
	} else {
		o.After = c.query.Get("marker")
		// A marker may be the group that the page before ended with: go on behind all of it.
		if o.Delimiter != "" && len(o.After) > len(o.Prefix) && o.After[max(0, len(o.After)-len(o.Delimiter)):] == o.Delimiter {
			o.Cursor = r2.CursorAfter(o.After)
		}
	}
	page, err := c.h.store.List(c.Context(), c.ref(), o)
	if err != nil {
		return err
	}
	out := listResult{Name: c.bucket, Prefix: encode(o.Prefix), Delimiter: encode(o.Delimiter), MaxKeys: asked, EncodingType: c.query.Get("encoding-type"),
		IsTruncated: page.Cursor != ""}
	if limit == 0 {
		out.IsTruncated = len(page.Objects)+len(page.Prefixes) > 0
		page = r2.Page{}
	}
	last := ""
	for _, obj := range page.Objects {
		out.Contents = append(out.Contents, listedObject{encode(obj.Key), obj.Uploaded.Format(layout), quote(obj.ETag), obj.Size, classOf(obj.Class)})
		last = obj.Key
	}
	for _, p := range page.Prefixes {
		out.CommonPrefixes = append(out.CommonPrefixes, commonPrefix{encode(p)})
		last = max(last, p)
	}
	if two {
		count := len(page.Objects) + len(page.Prefixes)
		out.KeyCount, out.StartAfter, out.ContinuationToken, out.NextContinuationToken = &count, encode(o.After), o.Cursor, page.Cursor
	} else {
		marker := encode(o.After)
		out.Marker = &marker
		if out.IsTruncated {
			out.NextMarker = encode(last)
		}
	}
	return c.answer("ListBucketResult", out)
}

// deleteObjects deletes up to 1000 objects, and tells of each.
func (c *call) deleteObjects() error {
	want, err := c.sums()
	if err != nil {
		return err
	}
	var in struct {
		Object []struct{ Key, VersionId string }
		Quiet  bool
	}
	sum := newSummed(c.body.r, want)
	c.body.r = sum
	if err := c.readXML(&in); err != nil {
		return err
	}
	if late, err := c.late(); err != nil || sum.verify(want, late) != nil {
		return cmp.Or(err, sum.verify(want, late))
	}
	if len(in.Object) == 0 || len(in.Object) > r2.MaxDelete {
		return errMalformedXML
	}
	type deleted struct{ Key string }
	type failed struct{ Key, Code, Message string }
	var out struct {
		Deleted []deleted
		Error   []failed
	}
	var keys []string
	for _, o := range in.Object {
		if err := r2.CheckKey(o.Key); err != nil {
			out.Error = append(out.Error, failed{o.Key, "InvalidObjectName", fault.Of(err).Message})
			continue
		}
		if o.VersionId != "" {
			out.Error = append(out.Error, failed{o.Key, "NotImplemented", "versions are not implemented"})
			continue
		}
		keys = append(keys, o.Key)
	}
	if err := c.h.store.Delete(c.Context(), c.ref(), keys...); err != nil {
		return err
	}
	if !in.Quiet {
		for _, k := range keys {
			out.Deleted = append(out.Deleted, deleted{k})
		}
	}
	return c.answer("DeleteResult", out)
}

func contains(list []string, s string) bool { return slices.Contains(list, s) }

func quote(etag string) string { return `"` + etag + `"` }

// classOf is S3's name of a storage class.
func classOf(class string) string {
	if class == r2.InfrequentAccess {
		return "STANDARD_IA"
	}
	return "STANDARD"
}
