package s3

import (
	"crypto/md5"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/r2"
)

// unsupported are headers of features that R2 does not have (https://developers.cloudflare.com/r2/api/s3/api/): to ignore
// one would be to do something else than was asked for.
var unsupported = []string{"X-Amz-Expected-Bucket-Owner", "X-Amz-Source-Expected-Bucket-Owner", "X-Amz-Tagging", "X-Amz-Grant-Full-Control", "X-Amz-Grant-Read",
	"X-Amz-Grant-Read-Acp", "X-Amz-Grant-Write", "X-Amz-Grant-Write-Acp", "X-Amz-Website-Redirect-Location", "X-Amz-Object-Lock-Mode",
	"X-Amz-Object-Lock-Retain-Until-Date", "X-Amz-Object-Lock-Legal-Hold", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", "X-Amz-Mfa", "X-Amz-Bypass-Governance-Retention",
	"X-Amz-Server-Side-Encryption", "X-Amz-Write-Offset-Bytes"}

func (c *call) screen() error {
	for _, name := range unsupported {
		if v := c.Header.Get(name); v != "" {
			return errNotImplemented("Header '" + strings.ToLower(name) + "'")
		}
	}
	return nil
}

// customerKey reads a key of the customer's from the three headers that begin so.
func (c *call) customerKey(prefix string) (*r2.CustomerKey, error) {
	prefix += "Server-Side-Encryption-Customer-"
	alg, text, sum := c.Header.Get(prefix+"Algorithm"), c.Header.Get(prefix+"Key"), c.Header.Get(prefix+"Key-Md5")
	if alg == "" && text == "" && sum == "" {
		return nil, nil
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != len(r2.CustomerKey{}) {
		return nil, invalidArgument("Requests specifying Server Side Encryption with Customer provided keys must provide an appropriate secret key.")
	}
	digest := md5.Sum(raw)
	if base64.StdEncoding.EncodeToString(digest[:]) != sum {
		return nil, invalidArgument("Requests specifying Server Side Encryption with Customer provided keys must provide the client calculated MD5 of the secret key.")
	}
	if alg != "AES256" {
		return nil, &problem{http.StatusBadRequest, "InvalidEncryptionAlgorithmError", "The encryption request that you specified is not valid. The valid value is AES256."}
	}
	return (*r2.CustomerKey)(raw), nil
}

// options reads what is to be stored with an object or an upload.
func (c *call) options() (o r2.PutOptions, err error) {
	if err := c.screen(); err != nil {
		return o, err
	}
	o.HTTP, o.Custom, err = c.metadata()
	if err != nil {
		return o, err
	}
	switch class := c.Header.Get("X-Amz-Storage-Class"); class {
	case "":
	case "STANDARD":
		o.Class = r2.Standard
	case "STANDARD_IA":
		o.Class = r2.InfrequentAccess
	default:
		return o, &problem{http.StatusBadRequest, "InvalidStorageClass", "The storage class specified is not valid."}
	}
	if o.Key, err = c.customerKey("X-Amz-"); err != nil {
		return o, err
	}
	if o.Sums, err = c.sums(); err != nil {
		return o, err
	}
	o.If, err = c.condition("")
	o.Length, o.Announced = c.body.length, c.late
	return o, err
}

func (c *call) metadata() (h r2.HTTPMetadata, custom []r2.Field, err error) {
	h = r2.HTTPMetadata{ContentType: c.Header.Get("Content-Type"), ContentLanguage: c.Header.Get("Content-Language"),
		ContentDisposition: c.Header.Get("Content-Disposition"), CacheControl: c.Header.Get("Cache-Control")}
	var encodings []string
	for e := range strings.SplitSeq(c.Header.Get("Content-Encoding"), ",") {
		if e = strings.TrimSpace(e); e != "" && e != "aws-chunked" {
			encodings = append(encodings, e)
		}
	}
	h.ContentEncoding = strings.Join(encodings, ",")
	if s := c.Header.Get("Expires"); s != "" {
		if at, err := http.ParseTime(s); err == nil {
			ms := at.UnixMilli()
			h.CacheExpiry = &ms
		}
	}
	for name, values := range c.Header {
		if name, ok := strings.CutPrefix(strings.ToLower(name), "x-amz-meta-"); ok {
			v := strings.Join(values, ",")
			if !utf8.ValidString(v) {
				return h, nil, invalidArgument("x-amz-meta-%s is not UTF-8", name)
			}
			custom = append(custom, r2.Field{Name: name, Value: v})
		}
	}
	slices.SortFunc(custom, func(a, b r2.Field) int { return strings.Compare(a.Name, b.Name) })
	return h, custom, nil
}

// condition reads the conditional headers that have the prefix; nil where there is none.
func (c *call) condition(prefix string) (*r2.Condition, error) {
	cond := r2.Condition{Seconds: true}
	any := false
	for _, l := range []struct {
		name string
		to   *[]r2.ETag
	}{{"If-Match", &cond.Match}, {"If-None-Match", &cond.NoneMatch}} {
		v := c.Header.Get(prefix + l.name)
		if v == "" {
			continue
		}
		any = true
		for e := range strings.SplitSeq(v, ",") {
			e = strings.TrimSpace(e)
			value, weak := strings.CutPrefix(e, "W/")
			*l.to = append(*l.to, r2.ETag{Value: strings.Trim(value, `"`), Weak: weak, Any: e == "*"})
		}
	}
	for name, to := range map[string]**time.Time{"If-Unmodified-Since": &cond.Before, "If-Modified-Since": &cond.After} {
		v := c.Header.Get(prefix + name)
		if v == "" {
			continue
		}
		at, err := http.ParseTime(v)
		if err != nil {
			continue // RFC 9110, section 13.1.3: "A recipient MUST ignore"
		}
		any = true
		if name == "If-Unmodified-Since" {
			at = at.Add(time.Second) // the header's second belongs to what is not after it
		}
		*to = &at
	}
	if !any {
		return nil, nil
	}
	return &cond, nil
}

func (c *call) getObject() error {
	if err := c.screen(); err != nil {
		return err
	}
	key, err := c.customerKey("X-Amz-")
	if err != nil {
		return err
	}
	cond, err := c.condition("")
	if err != nil {
		return err
	}
	if c.query.Has("partNumber") {
		return errNotImplemented("partNumber")
	}
	ranged := c.Header.Get("Range") != "" && c.Header.Get("If-Range") == ""
	o, body, err := c.h.store.Get(c.Context(), c.ref(), c.key, r2.GetOptions{If: cond, Key: key, Range: r2.RangeRequest{Header: c.rangeHeader(ranged)}})
	if fault.KindOf(err) == fault.Precondition {
		// RFC 9110, section 13.2.2: what is asked for to save a transfer is answered so.
		if (&r2.Condition{Match: cond.Match, Before: cond.Before, Seconds: true}).Holds(&o) {
			c.head(&o)
			return errNotModified
		}
		return errPrecondition
	}
	if err != nil {
		return err
	}
	defer body.Close()
	part := ranged && r2.SatisfiesRange(c.Header.Get("Range"), o.Size)
	if ranged && !part && r2.IsRange(c.Header.Get("Range")) {
		c.w.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(o.Size, 10))
		return errRange
	}
	c.head(&o)
	c.override()
	h, status := c.w.Header(), http.StatusOK
	if part {
		status = http.StatusPartialContent
		h.Set("Content-Range", "bytes "+strconv.FormatInt(body.Range.Offset, 10)+"-"+strconv.FormatInt(body.Range.Offset+body.Range.Length-1, 10)+"/"+strconv.FormatInt(o.Size, 10))
	} else if strings.EqualFold(c.Header.Get("X-Amz-Checksum-Mode"), "ENABLED") {
		c.tellSums(o.Sums)
	}
	h.Set("Content-Length", strconv.FormatInt(body.Range.Length, 10))
	c.w.WriteHeader(status)
	if c.Method == http.MethodHead {
		return nil
	}
	if _, err := body.WriteTo(c.w); err != nil {
		if c.Context().Err() == nil {
			c.h.lg.Debug("send r2 object", "bucket", c.bucket, "err", err)
		}
		panic(http.ErrAbortHandler) // the only way to tell the client that the content is not whole
	}
	return nil
}

func (c *call) rangeHeader(ranged bool) string {
	if ranged {
		return c.Header.Get("Range")
	}
	return ""
}

// head writes what is known of an object.
func (c *call) head(o *r2.Object) {
	h := c.w.Header()
	set := func(name, value string) {
		if value != "" {
			h.Set(name, value)
		}
	}
	set("ETag", quote(o.ETag))
	set("Last-Modified", o.Uploaded.Format(http.TimeFormat))
	set("Accept-Ranges", "bytes")
	set("Content-Type", o.HTTP.ContentType)
	if o.HTTP.ContentType == "" {
		set("Content-Type", "binary/octet-stream")
	}
	set("Content-Language", o.HTTP.ContentLanguage)
	set("Content-Disposition", o.HTTP.ContentDisposition)
	set("Content-Encoding", o.HTTP.ContentEncoding)
	set("Cache-Control", o.HTTP.CacheControl)
	if at := o.HTTP.Expires(); !at.IsZero() {
		set("Expires", at.Format(http.TimeFormat))
	}
	if o.Class != r2.Standard {
		set("X-Amz-Storage-Class", classOf(o.Class))
	}
	for _, f := range o.Custom {
		h["x-amz-meta-"+f.Name] = []string{f.Value} // a name's case is kept, and headers have none
	}
	c.tellKey(o.KeySum)
	// These bytes are customers', and the API has the same origin.
	set("X-Content-Type-Options", "nosniff")
	set("Content-Security-Policy", "sandbox; default-src 'none'")
}

func (c *call) tellKey(keysum string) {
	if keysum != "" {
		c.w.Header().Set("X-Amz-Server-Side-Encryption-Customer-Algorithm", "AES256")
		c.w.Header().Set("X-Amz-Server-Side-Encryption-Customer-Key-Md5", keysum)
	}
}

func (c *call) tellSums(sums r2.Sums) {
	for _, name := range checksums {
		if s := sums[name]; s != "" {
			c.w.Header().Set("X-Amz-Checksum-"+name, r2.Base64(s))
			kind := "FULL_OBJECT"
			if strings.Contains(s, "-") {
				kind = "COMPOSITE"
			}
			c.w.Header().Set("X-Amz-Checksum-Type", kind)
		}
	}
}

// override sets the headers that a query asks for in place of the object's, as presigned links do.
func (c *call) override() {
	for parameter, name := range map[string]string{"response-content-type": "Content-Type", "response-content-language": "Content-Language",
		"response-expires": "Expires", "response-cache-control": "Cache-Control", "response-content-disposition": "Content-Disposition",
		"response-content-encoding": "Content-Encoding"} {
		if v := c.query.Get(parameter); v != "" {
			c.w.Header().Set(name, v)
		}
	}
}

func (c *call) putObject() error {
	if c.Header.Get("X-Amz-Copy-Source") != "" {
		return c.copyObject()
	}
	o, err := c.options()
	if err != nil {
		return err
	}
	if o.Length < 0 {
		return &problem{http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header."}
	}
	obj, err := c.h.store.Put(c.Context(), c.ref(), c.key, c.body, o)
	if err != nil {
		return err
	}
	c.w.Header().Set("ETag", quote(obj.ETag))
	c.tellSums(obj.Sums)
	c.tellKey(obj.KeySum)
	c.w.WriteHeader(http.StatusOK)
	return nil
}

func (c *call) deleteObject() error {
	if err := c.screen(); err != nil {
		return err
	}
	if err := c.h.store.Delete(c.Context(), c.ref(), c.key); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// source opens the object that a copy is of, in a bucket of the same account.
func (c *call) source(rng r2.RangeRequest) (r2.Object, *r2.Body, error) {
	text, version, _ := strings.Cut(c.Header.Get("X-Amz-Copy-Source"), "?")
	if version != "" {
		return r2.Object{}, nil, errNotImplemented("versionId")
	}
	clear, err := url.PathUnescape(text)
	bucket, key, ok := strings.Cut(strings.TrimPrefix(clear, "/"), "/")
	if err != nil || !ok {
		return r2.Object{}, nil, invalidArgument("copy source bucket name")
	}
	cond, err := c.condition("X-Amz-Copy-Source-")
	if err != nil {
		return r2.Object{}, nil, err
	}
	from, err := c.customerKey("X-Amz-Copy-Source-")
	if err != nil {
		return r2.Object{}, nil, err
	}
	return c.h.store.Get(c.Context(), r2.Ref{Account: c.account, Name: bucket}, key, r2.GetOptions{If: cond, Key: from, Range: rng})
}

// streamed reads what a body of another object writes. stop must be called.
func streamed(b *r2.Body) (r io.Reader, stop func()) {
	pr, pw := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := b.WriteTo(pw)
		pw.CloseWithError(err) // nil is the end
	}()
	return pr, func() {
		pr.CloseWithError(errors.New("the copy ended"))
		<-done
		b.Close()
	}
}

func (c *call) copyObject() error {
	o, err := c.options()
	if err != nil {
		return err
	}
	obj, body, err := c.source(r2.RangeRequest{})
	if err != nil {
		return err
	}
	r, stop := streamed(body)
	defer stop()
	switch d := c.Header.Get("X-Amz-Metadata-Directive"); d {
	case "", "COPY":
		o.HTTP, o.Custom = obj.HTTP, obj.Custom
	case "REPLACE":
	default:
		return invalidArgument("metadata directive %.64s.", d)
	}
	o.Sums, o.Announced, o.Length = map[string][]byte{}, nil, obj.Size
	for name := range obj.Sums {
		if contains(checksums, name) {
			o.Sums[name] = nil
		}
	}
	copied, err := c.h.store.Put(c.Context(), c.ref(), c.key, r, o)
	if err != nil {
		return err
	}
	c.tellKey(copied.KeySum)
	return c.answer("CopyObjectResult", struct{ ETag, LastModified string }{quote(copied.ETag), copied.Uploaded.Format(layout)})
}
