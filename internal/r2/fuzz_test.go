package r2

import (
	"testing"
)

// FuzzMessage parses anything as a request of the binding: an error of it is a fault, and what it makes can be used.
func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"version":1,"method":"get","object":"k","range":{"offset":"3","length":5},"onlyIf":{"etagMatches":[{"value":"x","type":"strong"}],"uploadedAfter":"1","secondsGranularity":true}}`))
	f.Add([]byte(`{"version":1,"method":"put","object":"k","customFields":[{"k":"a","v":"b"}],"httpFields":{"contentType":"x","cacheExpiry":"18446744073709551615"},"md5":"1B2M2Y8AsgTpgAmY7PhCfg==","ssec":{"key":"00"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseMessage(text)
		if err != nil {
			return
		}
		if _, err := m.options(5); err != nil {
			return
		}
		for _, size := range []int64{0, 1, 1000} {
			if r, err := m.rangeRequest().of(size); err == nil && (r.Offset < 0 || r.Length < 0 || r.Offset+r.Length > size) {
				t.Errorf("%+v of %d bytes", r, size)
			}
		}
		encodeJSON(show(&Object{HTTP: HTTPMetadata{CacheExpiry: m.HTTPFields.expiry()}}, true, true, nil))
	})
}

func (h *messageHTTP) expiry() *int64 {
	if h == nil {
		return nil
	}
	return h.CacheExpiry.value()
}

// FuzzRange reads anything as a header of a range.
func FuzzRange(f *testing.F) {
	f.Add("bytes=1-2", int64(10))
	f.Add("bytes=-5", int64(3))
	f.Fuzz(func(t *testing.T, h string, size int64) {
		if size < 0 {
			t.Skip()
		}
		IsRange(h)
		if r, ok := headerRange(h, size); ok && (r.Offset < 0 || r.Length <= 0 || r.Offset > size-r.Length) {
			t.Errorf("%+v of %d bytes", r, size)
		}
	})
}

// FuzzCursor goes on from anything.
func FuzzCursor(f *testing.F) {
	f.Add("YQ", "a", "/")
	f.Fuzz(func(_ *testing.T, cursor, prefix, delimiter string) {
		_, _ = ListOptions{Cursor: cursor, Prefix: prefix, Delimiter: delimiter}.start()
	})
}
