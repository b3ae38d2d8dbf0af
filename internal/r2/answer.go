package r2

import (
	"bytes"
	"encoding/json"
	"strings"
)

// head is workerd's R2HeadResponse.
type head struct {
	Name         string            `json:"name"`
	Version      string            `json:"version"`
	Size         int64             `json:"size"`
	ETag         string            `json:"etag"`
	Uploaded     int64             `json:"uploaded"`
	HTTPFields   *HTTPMetadata     `json:"httpFields,omitempty"`
	CustomFields *[]Field          `json:"customFields,omitempty"`
	Range        *headRange        `json:"range,omitempty"`
	Checksums    map[string]string `json:"checksums"`
	StorageClass string            `json:"storageClass"`
	SSEC         *headSSEC         `json:"ssec,omitempty"`
}

type headRange struct {
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
}

type headSSEC struct {
	Algorithm string `json:"algorithm"`
	KeyMD5    string `json:"keyMd5"`
}

// bindingSums are the checksums that the binding knows, by the numbers it has for them.
var bindingSums = map[string]string{"md5": "0", "sha1": "1", "sha256": "2", "sha384": "3", "sha512": "4"}

// show makes the answer about an object; r may be nil.
func show(o *Object, http, custom bool, r *Range) head {
	h := head{Name: o.Key, Version: o.Version, Size: o.Size, ETag: o.ETag, Uploaded: millis(o.Uploaded), StorageClass: o.Class, Checksums: map[string]string{}}
	if http {
		h.HTTPFields = &o.HTTP
	}
	if custom {
		h.CustomFields = &o.Custom
		if o.Custom == nil {
			h.CustomFields = &[]Field{}
		}
	}
	if r != nil {
		h.Range = &headRange{r.Offset, r.Length}
	}
	for name, sum := range o.Sums {
		// That of a multipart object is not of its content: the binding has no name for it.
		if number, ok := bindingSums[name]; ok && !strings.Contains(sum, "-") {
			h.Checksums[number] = sum
		}
	}
	if o.KeySum != "" {
		h.SSEC = &headSSEC{"AES256", o.KeySum}
	}
	return h
}

// encodeJSON writes v, which is made of plain values, as JSON without escapes for HTML.
func encodeJSON(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSpace(b.Bytes())
}
