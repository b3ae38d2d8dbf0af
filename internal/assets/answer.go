package assets

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
)

// Answer is a Site's response. Its header is in the map that was given for it. Whoever gets one must Send or Close it.
type Answer struct {
	Status int
	Size   int64 // of the body

	data   []byte   // the body, where file is nil
	file   *os.File // the body is Size bytes of it from start on
	start  int64
	noBody bool // of HEAD: Size tells what GET has
}

// Answer decides about a request to the script, and where that comes to the site itself answers it. It fills header, which
// may hold the server's own headers already.
func (s *Site) Answer(r *Request, header http.Header) (*Answer, Route, error) {
	p := r.parse()
	route, d := s.route(p)
	switch route {
	case ToAssets:
	case toNobody:
		header["Content-Type"] = []string{"text/plain;charset=UTF-8"}
		return &Answer{Status: http.StatusForbidden, Size: int64(len(blocked)), data: blocked, noBody: p.Method == http.MethodHead}, ToAssets, nil
	default:
		return nil, route, nil
	}
	a, err := s.answer(p, d, header)
	return a, route, err
}

var blocked = []byte("Blocked")

// Fetch answers a request that is to the assets and not to the script: a Worker's env.ASSETS.fetch().
func (s *Site) Fetch(r *Request, header http.Header) (*Answer, error) {
	p := r.parse()
	return s.answer(p, s.whole(p), header)
}

// browserCaching lets a browser keep an asset and makes it ask whether it has changed.
var browserCaching = []string{"public, max-age=0, must-revalidate"}

func (s *Site) answer(p *parsed, d decision, h http.Header) (*Answer, error) {
	switch {
	case d.nothing():
		d.status = http.StatusNotFound
	case d.location != "":
		h["Location"] = []string{d.location}
	}
	if d.file == nil {
		if d.status != http.StatusInternalServerError {
			applyHeaders(s.headers, h, p.hostname, p.path)
		}
		return &Answer{Status: d.status, noBody: p.Method == http.MethodHead}, nil
	}
	f := d.file
	body, hit, err := s.store.open(f)
	if err != nil {
		return nil, err
	}
	h["Etag"], h["Content-Type"] = f.etag, f.mime // nil: net/http is not to guess
	if !has(p.Header, "Authorization") && !has(p.Header, "Range") {
		h["Cache-Control"] = browserCaching
	}
	h["Cf-Cache-Status"] = cacheStatus[hit]
	applyHeaders(s.headers, h, p.hostname, p.path)
	if match := p.Header["If-None-Match"]; len(match) == 1 && strings.TrimPrefix(match[0], "W/") == f.etag[0] {
		body.Close()
		return &Answer{Status: http.StatusNotModified, noBody: true}, nil
	}
	body.Status, body.noBody = d.status, p.Method == http.MethodHead
	if d.status == http.StatusOK {
		h["Accept-Ranges"] = byteRanges
		if has(p.Header, "Range") && p.Method == http.MethodGet {
			return body.cut(p.Header, f, h), nil
		}
	}
	return s.store.encode(body, f, p, h)
}

var (
	cacheStatus = map[bool][]string{true: {"HIT"}, false: {"MISS"}}
	byteRanges  = []string{"bytes"}
)

func has(h http.Header, name string) bool { return len(h[name]) > 0 }

// cut answers a request for a part of a file (RFC 9110, section 14). More parts than one get the whole, as is allowed.
func (a *Answer) cut(req http.Header, f *file, h http.Header) *Answer {
	if match := req["If-Range"]; len(match) > 0 && match[0] != f.etag[0] {
		return a
	}
	start, n, ok := parseRange(req["Range"], f.size)
	if !ok {
		return a
	}
	if n == 0 {
		a.Close()
		h["Content-Range"] = []string{"bytes */" + strconv.FormatInt(f.size, 10)}
		h["Content-Type"] = nil
		return &Answer{Status: http.StatusRequestedRangeNotSatisfiable}
	}
	h["Content-Range"] = []string{fmt.Sprintf("bytes %d-%d/%d", start, start+n-1, f.size)}
	a.Status, a.start, a.Size = http.StatusPartialContent, start, n
	if a.file == nil {
		a.data = a.data[start : start+n]
	}
	return a
}

// parseRange reads a Range header of one range. ok is false where there is none that counts; n is 0 where nothing of the
// file is in it.
func parseRange(header []string, size int64) (start, n int64, ok bool) {
	if len(header) != 1 {
		return 0, 0, false
	}
	spec, ok := strings.CutPrefix(header[0], "bytes=")
	first, last, dash := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok || !dash {
		return 0, 0, false
	}
	from, errFrom := strconv.ParseUint(first, 10, 63)
	to, errTo := strconv.ParseUint(last, 10, 63)
	switch {
	case first == "" && errTo == nil: // the last bytes
		n = min(int64(to), size)
		return size - n, n, true
	case errFrom != nil || last != "" && (errTo != nil || to < from):
		return 0, 0, false
	case int64(from) >= size:
		return 0, 0, true
	case last == "" || int64(to) >= size:
		to = uint64(size) - 1
	}
	return int64(from), int64(to-from) + 1, true
}

// Close lets go of an answer that is not sent.
func (a *Answer) Close() error {
	if a.file != nil {
		return a.file.Close()
	}
	return nil
}

// Send answers w's client. The header was w's own. An error means that the client has gone, or that the body broke off:
// then the connection must be closed.
func (a *Answer) Send(w http.ResponseWriter) error {
	defer a.Close()
	if a.Status != http.StatusNotModified {
		w.Header()["Content-Length"] = []string{strconv.FormatInt(a.Size, 10)}
	}
	w.WriteHeader(a.Status)
	if a.noBody || a.Size == 0 {
		return nil
	}
	if a.file == nil {
		_, err := w.Write(a.data)
		return err
	}
	if a.start > 0 {
		if _, err := a.file.Seek(a.start, io.SeekStart); err != nil {
			return err
		}
	}
	// A ResponseWriter over TCP reads from a file by sendfile(2).
	n, err := io.Copy(w, io.LimitReader(a.file, a.Size))
	if err == nil && n < a.Size {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// Response returns the answer as one of net/http, for those who have no ResponseWriter. Its body closes the answer.
func (a *Answer) Response(header http.Header) *http.Response {
	res := &http.Response{StatusCode: a.Status, Status: strconv.Itoa(a.Status) + " " + http.StatusText(a.Status),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header, ContentLength: a.Size, Body: http.NoBody}
	if a.Status == http.StatusNotModified {
		res.ContentLength = -1
	} else {
		header["Content-Length"] = []string{strconv.FormatInt(a.Size, 10)}
	}
	switch {
	case a.noBody || a.Size == 0:
		a.Close()
	case a.file == nil:
		res.Body = io.NopCloser(bytes.NewReader(a.data))
	default:
		res.Body = section{io.NewSectionReader(a.file, a.start, a.Size), a.file}
	}
	return res
}

type section struct {
	*io.SectionReader
	io.Closer
}
