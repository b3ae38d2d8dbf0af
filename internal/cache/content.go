package cache

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// serveContent answers with the whole, or with the ranges or the 304 that the request asks for. The documented conditions
// are If-None-Match and If-Modified-Since alone.
func (s *Store) serveContent(w http.ResponseWriter, r *http.Request, e *entry, body io.ReadSeeker) {
	for _, name := range []string{"If-Match", "If-Unmodified-Since"} {
		delete(r.Header, name)
	}
	setRange(r.Header, e.length)
	h := w.Header()
	modified, err := http.ParseTime(h.Get("Last-Modified"))
	if err != nil {
		modified = time.Time{}
	}
	if len(h["Content-Encoding"]) > 0 {
		h["Content-Length"] = []string{strconv.FormatInt(e.length, 10)} // ServeContent leaves it out then
	}
	http.ServeContent(&faithful{ResponseWriter: w, entry: e}, r, "", modified, body)
}

// setRange takes those ranges out of a request that http.ServeContent answers with a Content-Range that is none: the last 0
// bytes, and any of a body that is empty, of which the whole is the answer (RFC 9110, 14.1.2 and 14.2).
func setRange(request http.Header, length int64) {
	ranges, ok := strings.CutPrefix(request.Get("Range"), "bytes=")
	if !ok {
		return
	}
	if length == 0 {
		request.Del("Range")
		return
	}
	var kept []string
	for spec := range strings.SplitSeq(ranges, ",") {
		if spec = strings.TrimSpace(spec); spec == "" || !strings.HasPrefix(spec, "-0") || strings.Trim(spec[1:], "0") != "" {
			kept = append(kept, spec)
		}
	}
	if len(kept) == 0 {
		kept = []string{strconv.FormatInt(length, 10) + "-"} // as little to be had
	}
	request.Set("Range", "bytes="+strings.Join(kept, ","))
}

// faithful writes a response without what http.ServeContent adds to it: Accept-Ranges, which is for the Worker to say that
// hands the response on, and a text where no range can be had.
type faithful struct {
	http.ResponseWriter
	entry *entry
	mute  bool
}

// WriteHeader implements [http.ResponseWriter].
func (f *faithful) WriteHeader(status int) {
	h := f.Header()
	delete(h, "Accept-Ranges")
	if v, ok := f.entry.header["Accept-Ranges"]; ok {
		h["Accept-Ranges"] = v
	}
	if status == http.StatusRequestedRangeNotSatisfiable {
		f.mute = true
		delete(h, "Content-Type")
		delete(h, "X-Content-Type-Options")
		h["Content-Length"] = []string{"0"}
		h["Content-Range"] = []string{"bytes */" + strconv.FormatInt(f.entry.length, 10)}
	}
	f.ResponseWriter.WriteHeader(status)
}

// Write implements [io.Writer].
func (f *faithful) Write(p []byte) (int, error) {
	if f.mute {
		return len(p), nil
	}
	return f.ResponseWriter.Write(p)
}
