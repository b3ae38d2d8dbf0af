package r2

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	"atoll.dev/atoll/internal/fault"
)

// Handler serves one bucket to workerd's r2Bucket binding (its src/workerd/api/r2-rpc.c++ is the description):
//
//	GET /  CF-R2-Request: a head, get or list as JSON
//	PUT /  CF-R2-Metadata-Size: how many bytes of JSON the body begins with: a put, delete, or step of a multipart upload
//
// The answer to a GET begins with JSON of CF-R2-Metadata-Size bytes, behind which an object's content follows. An error's
// code and message are in CF-R2-Error, and become those of the exception.
func (s *Store) Handler(ref Ref) http.Handler { return &binding{s, ref} }

type binding struct {
	st  *Store
	ref Ref
}

const (
	headerRequest = "CF-R2-Request"
	headerSize    = "CF-R2-Metadata-Size"
	headerError   = "CF-R2-Error"
)

// The bounds of messages: a delete of 1000 keys and a completion of 10,000 parts fit, whatever their escapes. workerd reads no
// answer with more than 1 MiB of JSON.
const (
	maxMessage = 8 << 20
	maxAnswer  = 1000 << 10

	// largeMessage is how large one is which is read beside so many others of its bucket only: most have some hundred bytes,
	// and a Worker may send hundreds at once.
	largeMessage = 64 << 10
	maxLarge     = 4
)

func (b *binding) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var err error
	switch r.Method {
	case http.MethodGet:
		err = b.read(w, r)
	case http.MethodPut:
		err = b.write(w, r)
	default:
		err = errArgument("Metadata missing or invalid")
	}
	if err != nil {
		b.fail(w, r, err, nil)
	}
}

func (b *binding) read(w http.ResponseWriter, r *http.Request) error {
	m, err := parseMessage([]byte(r.Header.Get(headerRequest)))
	if err != nil {
		return err
	}
	switch m.Method {
	case "head":
		o, err := b.st.Head(r.Context(), b.ref, m.Object)
		if err != nil {
			return err
		}
		answer(w, show(&o, true, true, &Range{0, o.Size}), -1)
		return nil
	case "get":
		return b.get(w, r, m)
	case "list":
		return b.list(w, r, m)
	}
	return errArgument("Metadata missing or invalid")
}

func (b *binding) get(w http.ResponseWriter, r *http.Request, m *message) error {
	cond, err := m.condition()
	if err != nil {
		return err
	}
	key, err := m.key()
	if err != nil {
		return err
	}
	o, body, err := b.st.Get(r.Context(), b.ref, m.Object, GetOptions{Range: m.rangeRequest(), If: cond, Key: key})
	if fault.KindOf(err) == fault.Precondition {
		b.fail(w, r, err, encodeJSON(show(&o, true, true, &Range{0, o.Size})))
		return nil
	}
	if err != nil {
		return err
	}
	defer body.Close()
	answer(w, show(&o, true, true, &body.Range), body.Range.Length)
	if _, err := body.WriteTo(w); err != nil {
		if r.Context().Err() == nil {
			b.st.lg.Error("send r2 object", "bucket", b.ref.Name, "err", err)
		}
		panic(http.ErrAbortHandler) // the only way to tell the binding that the content is not whole
	}
	return nil
}

// answer writes a message, and announces that so many bytes of content follow; -1: none.
func answer(w http.ResponseWriter, v any, content int64) {
	data := encodeJSON(v)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set(headerSize, strconv.Itoa(len(data)))
	h.Set("Content-Length", strconv.FormatInt(int64(len(data))+max(content, 0), 10))
	w.Write(data) // what fails here is the client's connection
}

func (b *binding) list(w http.ResponseWriter, r *http.Request, m *message) error {
	o := ListOptions{Prefix: m.Prefix, Delimiter: m.Delimiter, After: m.StartAfter, Cursor: m.Cursor}
	if m.Limit != nil && *m.Limit != 1<<32-1 {
		if *m.Limit < 1 || *m.Limit > MaxList {
			return fault.Newf(fault.Invalid, CodeMaxKeys, "MaxKeys params must be positive integer <= %d.", MaxList)
		}
		o.Limit = int(*m.Limit)
	}
	http, custom := slices.Contains(m.Include, 0), slices.Contains(m.Include, 1)
	if !m.NewRuntime {
		http, custom = true, true
	}
	// The page ends where its JSON is as large as workerd reads.
	out := struct {
		Objects   []json.RawMessage `json:"objects"`
		Truncated bool              `json:"truncated"`
		Cursor    string            `json:"cursor,omitempty"`
		Prefixes  []string          `json:"delimitedPrefixes"`
	}{Objects: []json.RawMessage{}, Prefixes: []string{}}
	size := 0
	o.Accept = func(obj *Object, group string) bool {
		var text []byte
		if group == "" {
			text = encodeJSON(show(obj, http, custom, nil))
		} else {
			text = encodeJSON(group)
		}
		if size += len(text) + 1; size > maxAnswer {
			return false
		}
		if group == "" {
			out.Objects = append(out.Objects, text)
		}
		return true
	}
	page, err := b.st.List(r.Context(), b.ref, o)
	if err != nil {
		return err
	}
	out.Truncated, out.Cursor = page.Cursor != "", page.Cursor
	out.Prefixes = append(out.Prefixes, page.Prefixes...)
	answer(w, out, -1)
	return nil
}

func (b *binding) write(w http.ResponseWriter, r *http.Request) error {
	size, err := strconv.Atoi(r.Header.Get(headerSize))
	if err != nil || size < 0 || size > maxMessage {
		return errArgument("Metadata missing or invalid")
	}
	if size > largeMessage {
		leave, err := b.enter(r.Context())
		if err != nil {
			return err
		}
		defer leave()
	}
	body := &patient{r: r.Body, rest: b.st.opts.Stall, deadline: http.NewResponseController(w).SetReadDeadline}
	defer body.done()
	text, err := io.ReadAll(io.LimitReader(body, int64(size)))
	if err == nil && len(text) < size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return incomplete(err)
	}
	m, err := parseMessage(text)
	if err != nil {
		return err
	}
	length := int64(-1)
	if r.ContentLength >= 0 {
		length = r.ContentLength - int64(size)
	}
	v, err := b.do(r.Context(), m, body, length)
	if err != nil {
		return err
	}
	if v != nil {
		answer(w, v, -1)
	}
	return nil
}

// enter waits until a large message may be read.
func (b *binding) enter(ctx context.Context) (leave func(), err error) {
	bucket, err := b.st.bucket(b.ref)
	if err != nil {
		return nil, err
	}
	select {
	case bucket.large <- struct{}{}:
		return func() { <-bucket.large }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// do performs a request that changes something. v is the answer, nil where there is none.
func (b *binding) do(ctx context.Context, m *message, body io.Reader, length int64) (v any, err error) {
	switch m.Method {
	case "put", "createMultipartUpload", "uploadPart":
		o, err := m.options(length)
		if err != nil {
			return nil, err
		}
		return b.upload(ctx, m, body, o)
	case "delete":
		keys := m.Objects
		if keys == nil {
			keys = []string{m.Object}
		}
		return nil, b.st.Delete(ctx, b.ref, keys...)
	case "completeMultipartUpload":
		var parts []Chosen
		for _, p := range m.Parts {
			parts = append(parts, Chosen{p.Part, p.ETag})
		}
		o, err := b.st.CompleteUpload(ctx, b.ref, m.Object, m.UploadID, parts, nil)
		return show(&o, true, true, nil), err
	case "abortMultipartUpload":
		return nil, b.st.AbortUpload(ctx, b.ref, m.Object, m.UploadID)
	}
	return nil, errArgument("Metadata missing or invalid")
}

func (b *binding) upload(ctx context.Context, m *message, body io.Reader, o PutOptions) (any, error) {
	switch m.Method {
	case "put":
		obj, err := b.st.Put(ctx, b.ref, m.Object, body, o)
		return show(&obj, true, true, nil), err
	case "uploadPart":
		p, err := b.st.UploadPart(ctx, b.ref, m.Object, m.UploadID, m.PartNumber, body, o)
		return map[string]string{"etag": p.ETag}, err
	}
	u, err := b.st.CreateUpload(ctx, b.ref, m.Object, o)
	answer := struct {
		UploadID string    `json:"uploadId"`
		SSEC     *headSSEC `json:"ssec,omitempty"`
	}{UploadID: u.ID}
	if u.KeySum != "" {
		answer.SSEC = &headSSEC{"AES256", u.KeySum}
	}
	return answer, err
}

// maxDrain is how much of a refused request's body is read, so that the binding, which sends first, gets to read why.
const maxDrain = 1 << 30

// fail answers a request with what the Worker is to be thrown. object is JSON that the answer carries beside it.
func (b *binding) fail(w http.ResponseWriter, r *http.Request, err error, object []byte) {
	f := fault.Of(err)
	if f == nil || f.Kind == fault.Internal {
		if r.Context().Err() == nil {
			b.st.lg.Error("r2 binding", "bucket", b.ref.Name, "err", err)
		}
		f = fault.New(fault.Internal, CodeInternal, "We encountered an internal error. Please try again.")
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, os.ErrDeadlineExceeded) {
		body := &patient{r: r.Body, rest: b.st.opts.Stall, deadline: http.NewResponseController(w).SetReadDeadline}
		io.Copy(io.Discard, io.LimitReader(body, maxDrain))
		body.done()
	}
	h := w.Header()
	text, _ := json.Marshal(map[string]any{"version": 1, "v4code": f.Code, "message": f.Message})
	h.Set(headerError, asciiJSON(text))
	if object != nil {
		h.Set(headerSize, strconv.Itoa(len(object)))
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(object)))
	w.WriteHeader(Status(f))
	w.Write(object)
}

// asciiJSON writes what a header cannot carry in JSON's escapes.
func asciiJSON(text []byte) string {
	var out []byte
	for _, c := range string(text) {
		if c < 0x7f {
			out = append(out, byte(c))
		} else if c <= 0xffff {
			out = fmt.Appendf(out, "\\u%04x", c)
		} else {
			out = append(out, '?')
		}
	}
	return string(out)
}

// Status is the HTTP status of a fault of this package, as R2's documentation has it.
func Status(f *fault.Error) int {
	switch f.Kind {
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Forbidden:
		return http.StatusForbidden
	case fault.Conflict:
		return http.StatusConflict
	case fault.Precondition:
		return http.StatusPreconditionFailed
	case fault.Limited:
		return http.StatusTooManyRequests
	case fault.Full:
		return http.StatusInsufficientStorage
	case fault.Internal:
		return http.StatusInternalServerError
	}
	if f.Code == CodeRange {
		return http.StatusRequestedRangeNotSatisfiable
	}
	return http.StatusBadRequest
}

// patient reads a body for as long as it does not rest: what holds an upload without ending it holds disk and memory.
type patient struct {
	r        io.Reader
	rest     time.Duration
	deadline func(time.Time) error
	set      time.Time
}

func (p *patient) Read(b []byte) (int, error) {
	if now := time.Now(); now.Sub(p.set) > p.rest/4 {
		p.deadline(now.Add(p.rest)) // where there is none, nothing is lost
		p.set = now
	}
	return p.r.Read(b)
}

func (p *patient) done() { p.deadline(time.Time{}) }
