package r2

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"
)

// message is a request of the binding: workerd's R2BindingRequest (its src/workerd/api/r2-api.capnp) as JSON, in which a
// UInt64 is a string.
type message struct {
	Version int    `json:"version"`
	Method  string `json:"method"`

	Object  string     `json:"object"`
	Objects objectList `json:"objects"` // of a delete

	Range       *messageRange     `json:"range"`
	RangeHeader string            `json:"rangeHeader"`
	OnlyIf      *messageCondition `json:"onlyIf"`

	CustomFields fieldList    `json:"customFields"`
	HTTPFields   *messageHTTP `json:"httpFields"`
	StorageClass string       `json:"storageClass"`
	SSEC         *struct {
		Key string `json:"key"`
	} `json:"ssec"`
	MD5    *string `json:"md5"` // base64; the others are hexadecimal
	SHA1   *string `json:"sha1"`
	SHA256 *string `json:"sha256"`
	SHA384 *string `json:"sha384"`
	SHA512 *string `json:"sha512"`

	UploadID   string   `json:"uploadId"`
	PartNumber int      `json:"partNumber"`
	Parts      partList `json:"parts"`

	Limit      *uint32     `json:"limit"`
	Prefix     string      `json:"prefix"`
	Cursor     string      `json:"cursor"`
	Delimiter  string      `json:"delimiter"`
	StartAfter string      `json:"startAfter"`
	Include    includeList `json:"include"` // 0: HTTP metadata, 1: the object's own
	NewRuntime bool        `json:"newRuntime"`
}

type messageRange struct {
	Offset *uint64Text `json:"offset"`
	Length *uint64Text `json:"length"`
	Suffix *uint64Text `json:"suffix"`
}

type messageHTTP struct {
	ContentType        string      `json:"contentType,omitempty"`
	ContentLanguage    string      `json:"contentLanguage,omitempty"`
	ContentDisposition string      `json:"contentDisposition,omitempty"`
	ContentEncoding    string      `json:"contentEncoding,omitempty"`
	CacheControl       string      `json:"cacheControl,omitempty"`
	CacheExpiry        *uint64Text `json:"cacheExpiry,omitempty"`
}

type messageCondition struct {
	EtagMatches        etagList    `json:"etagMatches"`
	EtagDoesNotMatch   etagList    `json:"etagDoesNotMatch"`
	UploadedBefore     *uint64Text `json:"uploadedBefore"`
	UploadedAfter      *uint64Text `json:"uploadedAfter"`
	SecondsGranularity bool        `json:"secondsGranularity"`
}

type messageETag struct {
	Value string `json:"value"`
	Type  string `json:"type"`
}

// uint64Text is a number as a string or a number; all ones mean that there is none, and so does what JavaScript's negative
// times become.
type uint64Text struct{ v *int64 }

func (u *uint64Text) UnmarshalJSON(b []byte) error {
	n, err := strconv.ParseUint(string(bytes.Trim(b, `"`)), 10, 64)
	if err != nil {
		return errArgument("%s is not a number", strconv.Quote(string(b)))
	}
	if n != 1<<64-1 {
		v := int64(min(n, 1<<62))
		if n > 1<<63 {
			v = int64(n) // a time before 1970
		}
		u.v = &v
	}
	return nil
}

func (u uint64Text) MarshalJSON() ([]byte, error) {
	return strconv.AppendInt(nil, *u.v, 10), nil
}

func (u *uint64Text) value() *int64 {
	if u == nil {
		return nil
	}
	return u.v
}

func (u *uint64Text) time() *time.Time {
	if v := u.value(); v != nil {
		t := fromMillis(*v)
		return &t
	}
	return nil
}

// parseMessage reads a request. Its errors are faults.
func parseMessage(text []byte) (*message, error) {
	var m message
	if err := json.Unmarshal(text, &m); err != nil || m.Version != 1 {
		if f := refusal(err); f != nil {
			return nil, f
		}
		return nil, errArgument("Metadata missing or invalid")
	}
	return &m, nil
}

func (m *message) rangeRequest() RangeRequest {
	r := RangeRequest{Header: m.RangeHeader}
	if m.Range != nil {
		r.Offset, r.Length, r.Suffix = m.Range.Offset.value(), m.Range.Length.value(), m.Range.Suffix.value()
		if r == (RangeRequest{Header: r.Header}) {
			r.Offset = new(int64) // an empty range asks for one all the same, which an empty object does not have
		}
	}
	return r
}

func (m *message) condition() (*Condition, error) {
	if m.OnlyIf == nil {
		return nil, nil
	}
	c := &Condition{Before: m.OnlyIf.UploadedBefore.time(), After: m.OnlyIf.UploadedAfter.time(), Seconds: m.OnlyIf.SecondsGranularity}
	for _, l := range []struct {
		from []messageETag
		to   *[]ETag
	}{{m.OnlyIf.EtagMatches, &c.Match}, {m.OnlyIf.EtagDoesNotMatch, &c.NoneMatch}} {
		for _, e := range l.from {
			if e.Type != "strong" && e.Type != "weak" && e.Type != "wildcard" {
				return nil, errArgument("Metadata missing or invalid")
			}
			*l.to = append(*l.to, ETag{Value: e.Value, Weak: e.Type == "weak", Any: e.Type == "wildcard"})
		}
	}
	return c, nil
}

func (m *message) key() (*CustomerKey, error) {
	if m.SSEC == nil {
		return nil, nil
	}
	raw, err := hex.DecodeString(m.SSEC.Key)
	if err != nil || len(raw) != len(CustomerKey{}) {
		return nil, errArgument("The SSE-C key must have 32 bytes in hexadecimal.")
	}
	return (*CustomerKey)(raw), nil
}

// options are those of a put, or of a multipart upload, which has no sums of its own.
func (m *message) options(length int64) (o PutOptions, err error) {
	o = PutOptions{Custom: m.CustomFields, Class: m.StorageClass, Length: length, Sums: map[string][]byte{}}
	if h := m.HTTPFields; h != nil {
		o.HTTP = HTTPMetadata{ContentType: h.ContentType, ContentLanguage: h.ContentLanguage, ContentDisposition: h.ContentDisposition,
			ContentEncoding: h.ContentEncoding, CacheControl: h.CacheControl, CacheExpiry: h.CacheExpiry.value()}
	}
	if o.If, err = m.condition(); err != nil {
		return o, err
	}
	if o.Key, err = m.key(); err != nil {
		return o, err
	}
	for _, sum := range []struct {
		name   string
		text   *string
		decode func(string) ([]byte, error)
	}{{"md5", m.MD5, base64.StdEncoding.DecodeString}, {"sha1", m.SHA1, hex.DecodeString}, {"sha256", m.SHA256, hex.DecodeString},
		{"sha384", m.SHA384, hex.DecodeString}, {"sha512", m.SHA512, hex.DecodeString}} {
		if sum.text == nil {
			continue
		}
		raw, err := sum.decode(*sum.text)
		if err != nil {
			return o, errArgument("Metadata missing or invalid")
		}
		if err := CheckSum(sum.name, raw); err != nil {
			return o, err
		}
		o.Sums[sum.name] = raw
	}
	return o, nil
}
