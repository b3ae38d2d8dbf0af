package s3

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"hash"
	"hash/crc32"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"atoll.dev/atoll/internal/r2"
)

func (c *call) createUpload() error {
	o, err := c.options()
	if err != nil {
		return err
	}
	if name := strings.ToLower(c.Header.Get("X-Amz-Checksum-Algorithm")); name != "" {
		if !contains(checksums, name) {
			return invalidArgument("x-amz-checksum-algorithm")
		}
		o.Sums = map[string][]byte{name: nil}
		c.w.Header().Set("X-Amz-Checksum-Algorithm", strings.ToUpper(name))
	}
	u, err := c.h.store.CreateUpload(c.Context(), c.ref(), c.key, o)
	if err != nil {
		return err
	}
	c.tellKey(u.KeySum)
	return c.answer("InitiateMultipartUploadResult", struct{ Bucket, Key, UploadId string }{c.bucket, c.key, u.ID})
}

func (c *call) partNumber() (int, error) {
	n, err := strconv.Atoi(c.query.Get("partNumber"))
	if err != nil || n < 1 || n > r2.MaxParts {
		return 0, invalidArgument("Part number must be an integer between 1 and %d, inclusive.", r2.MaxParts)
	}
	return n, nil
}

func (c *call) uploadPart() error {
	number, err := c.partNumber()
	if err != nil {
		return err
	}
	if err := c.screen(); err != nil {
		return err
	}
	o := r2.PutOptions{Length: c.body.length, Announced: c.late}
	if o.Key, err = c.customerKey("X-Amz-"); err != nil {
		return err
	}
	if c.Header.Get("X-Amz-Copy-Source") != "" {
		return c.copyPart(number, o)
	}
	if o.Sums, err = c.sums(); err != nil {
		return err
	}
	if o.Length < 0 {
		return &problem{http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header."}
	}
	p, err := c.h.store.UploadPart(c.Context(), c.ref(), c.key, c.query.Get("uploadId"), number, c.body, o)
	if err != nil {
		return err
	}
	c.w.Header().Set("ETag", quote(p.ETag))
	c.tellSums(p.Sums)
	c.w.WriteHeader(http.StatusOK)
	return nil
}

var copyRange = regexp.MustCompile(`^bytes=(\d{1,15})-(\d{1,15})$`)

func (c *call) copyPart(number int, o r2.PutOptions) error {
	var rng r2.RangeRequest
	if h := c.Header.Get("X-Amz-Copy-Source-Range"); h != "" {
		m := copyRange.FindStringSubmatch(h)
		if m == nil {
			return invalidArgument("Invalid x-amz-copy-source-range: %.64s", h)
		}
		first, _ := strconv.ParseInt(m[1], 10, 64)
		last, _ := strconv.ParseInt(m[2], 10, 64)
		if last < first {
			return invalidArgument("x-amz-copy-source-range must be positive.")
		}
		length := last - first + 1
		rng = r2.RangeRequest{Offset: &first, Length: &length}
	}
	_, body, err := c.source(rng)
	if err != nil {
		return err
	}
	r, stop := streamed(body)
	defer stop()
	o.Length, o.Announced = body.Range.Length, nil
	p, err := c.h.store.UploadPart(c.Context(), c.ref(), c.key, c.query.Get("uploadId"), number, r, o)
	if err != nil {
		return err
	}
	return c.answer("CopyPartResult", struct{ ETag, LastModified string }{quote(p.ETag), p.Uploaded.Format(layout)})
}

func (c *call) completeUpload() error {
	var in struct {
		Part []struct {
			PartNumber int
			ETag       string
		}
	}
	if err := c.readXML(&in); err != nil {
		return err
	}
	if len(in.Part) == 0 {
		return errMalformedXML
	}
	var parts []r2.Chosen
	for i, p := range in.Part {
		if i > 0 && p.PartNumber <= in.Part[i-1].PartNumber {
			return &problem{http.StatusBadRequest, "InvalidPartOrder", "The list of parts was not in ascending order."}
		}
		parts = append(parts, r2.Chosen{Number: p.PartNumber, ETag: strings.Trim(p.ETag, `"`)})
	}
	cond, err := c.condition("")
	if err != nil {
		return err
	}
	o, err := c.h.store.CompleteUpload(c.Context(), c.ref(), c.key, c.query.Get("uploadId"), parts, cond)
	if err != nil {
		return err
	}
	out := struct {
		Location, Bucket, Key, ETag                                                    string
		ChecksumCRC32, ChecksumCRC32C, ChecksumCRC64NVME, ChecksumSHA1, ChecksumSHA256 string `xml:",omitempty"`
	}{"/" + c.bucket + "/" + escape(c.key), c.bucket, c.key, quote(o.ETag),
		r2.Base64(o.Sums["crc32"]), r2.Base64(o.Sums["crc32c"]), r2.Base64(o.Sums["crc64nvme"]), r2.Base64(o.Sums["sha1"]), r2.Base64(o.Sums["sha256"])}
	return c.answer("CompleteMultipartUploadResult", out)
}

func (c *call) abortUpload() error {
	if err := c.h.store.AbortUpload(c.Context(), c.ref(), c.key, c.query.Get("uploadId")); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *call) listUploads() error {
	encode, err := c.encoder()
	if err != nil {
		return err
	}
	limit, asked, err := c.maxKeys("max-uploads")
	if err != nil {
		return err
	}
	if c.query.Get("delimiter") != "" {
		return errNotImplemented("a delimiter of uploads")
	}
	o := r2.UploadList{Prefix: c.query.Get("prefix"), AfterKey: c.query.Get("key-marker"), AfterID: c.query.Get("upload-id-marker"), Limit: max(limit, 1)}
	if o.AfterKey != "" && o.AfterID == "" {
		o.AfterID = "\U0010ffff" // behind all uploads of the key
	}
	list, more, err := c.h.store.Uploads(c.Context(), c.ref(), o)
	if err != nil {
		return err
	}
	type upload struct{ Key, UploadId, StorageClass, Initiated string }
	out := struct {
		Bucket, KeyMarker, UploadIdMarker, Prefix string
		NextKeyMarker, NextUploadIdMarker         string `xml:",omitempty"`
		EncodingType                              string `xml:",omitempty"`
		MaxUploads                                int
		IsTruncated                               bool
		Upload                                    []upload
	}{Bucket: c.bucket, KeyMarker: encode(o.AfterKey), UploadIdMarker: c.query.Get("upload-id-marker"), Prefix: encode(o.Prefix),
		EncodingType: c.query.Get("encoding-type"), MaxUploads: asked, IsTruncated: more}
	for _, u := range list {
		out.Upload = append(out.Upload, upload{encode(u.Key), u.ID, classOf(u.Class), u.Created.Format(layout)})
		if more {
			out.NextKeyMarker, out.NextUploadIdMarker = encode(u.Key), u.ID
		}
	}
	return c.answer("ListMultipartUploadsResult", out)
}

func (c *call) listParts() error {
	limit, asked, err := c.maxKeys("max-parts")
	if err != nil {
		return err
	}
	after, _ := strconv.Atoi(c.query.Get("part-number-marker"))
	u, list, more, err := c.h.store.Parts(c.Context(), c.ref(), c.key, c.query.Get("uploadId"), max(after, 0), max(limit, 1))
	if err != nil {
		return err
	}
	type part struct {
		PartNumber         int
		LastModified, ETag string
		Size               int64
	}
	out := struct {
		Bucket, Key, UploadId, StorageClass    string
		PartNumberMarker, NextPartNumberMarker int
		MaxParts                               int
		IsTruncated                            bool
		Part                                   []part
	}{Bucket: c.bucket, Key: c.key, UploadId: u.ID, StorageClass: classOf(u.Class), PartNumberMarker: after, MaxParts: asked, IsTruncated: more}
	for _, p := range list {
		out.Part = append(out.Part, part{p.Number, p.Uploaded.Format(layout), quote(p.ETag), p.Size})
		out.NextPartNumberMarker = p.Number
	}
	return c.answer("ListPartsResult", out)
}

// summed sums up a small body that is read here and not by the store.
type summed struct {
	io.Reader
	hashes map[string]hash.Hash
}

func newSummed(r io.Reader, want map[string][]byte) *summed {
	s := &summed{hashes: map[string]hash.Hash{}}
	var all []io.Writer
	for name := range want {
		var h hash.Hash
		switch name {
		case "md5":
			h = md5.New()
		case "sha1":
			h = sha1.New()
		case "sha256":
			h = sha256.New()
		case "crc32":
			h = crc32.NewIEEE()
		case "crc32c":
			h = crc32.New(crc32.MakeTable(crc32.Castagnoli))
		default:
			continue
		}
		s.hashes[name] = h
		all = append(all, h)
	}
	s.Reader = io.TeeReader(r, io.MultiWriter(all...))
	return s
}

func (s *summed) verify(want, late map[string][]byte) error {
	for name, h := range s.hashes {
		sum := want[name]
		if sum == nil {
			sum = late[name]
		}
		if sum != nil && !bytes.Equal(sum, h.Sum(nil)) {
			return &problem{http.StatusBadRequest, "BadDigest", "The checksum you specified did not match what we received."}
		}
	}
	return nil
}
