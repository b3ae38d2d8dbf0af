package kv

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"

	"atoll.dev/atoll/internal/fault"
)

// Handler serves one namespace to workerd's kvNamespace binding. The binding speaks HTTP, as its caller's own service
// (workerd's src/workerd/api/kv.c++ is the only description):
//
//	GET    /<key>?urlencoded=true&cache_ttl=         404 becomes null; CF-KV-Metadata holds the metadata
//	PUT    /<key>?urlencoded=true&expiration=&expiration_ttl=   CF-KV-Metadata as above
//	DELETE /<key>?urlencoded=true
//	GET    /?prefix=&key_count_limit=&cursor=        {keys, list_complete, cursor}; metadata as a string of JSON
//	POST   /bulk/get {keys, type, withMetadata, cacheTtl}   {key: value}
//
// What fails becomes an Error whose message is "KV PUT failed: " with the status and its reason phrase, so this is where
// a message for the Worker goes. The server in front must let the connection be hijacked, because net/http writes no
// reason phrase of a handler's choice; without that the Worker sees the standard one.
func (s *Store) Handler(id NamespaceID) http.Handler {
	return &binding{s, id}
}

type binding struct {
	st *Store
	id NamespaceID
}

const headerMetadata = "Cf-Kv-Metadata" // as net/http spells it

// Values of headers that every answer shares; nobody appends to them.
var (
	hit         = []string{"HIT"}
	miss        = []string{"MISS"}
	octetStream = []string{"application/octet-stream"}
)

func (b *binding) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var err error
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/bulk/get":
		err = b.getMany(w, r)
	case r.Method == http.MethodGet && (r.URL.Path == "/" || r.URL.Path == ""):
		err = b.list(w, r)
	case r.Method == http.MethodGet:
		err = b.get(w, r)
	case r.Method == http.MethodPut:
		err = b.put(r)
	case r.Method == http.MethodDelete:
		err = b.delete(r)
	default:
		err = errMethod
	}
	if err != nil {
		b.fail(w, r, err)
	}
}

var errMethod = errors.New("method not allowed")

// key returns the key a path names. Where the URL does not say that it is encoded, the path is the key as it stands.
func (b *binding) key(r *http.Request, urlencoded string) (Key, error) {
	path := r.URL.Path
	if urlencoded != "true" {
		path = r.URL.EscapedPath()
	}
	if len(path) > 0 {
		path = path[1:]
	}
	return ParseKey(path)
}

func (b *binding) get(w http.ResponseWriter, r *http.Request) error {
	urlencoded := "true"
	if r.URL.RawQuery != "urlencoded=true" { // what a get without options has
		q := r.URL.Query()
		if err := checkCacheTTL(q.Get("cache_ttl")); err != nil {
			return err
		}
		urlencoded = q.Get("urlencoded")
	}
	key, err := b.key(r, urlencoded)
	if err != nil {
		return err
	}
	v, ok, err := b.st.Get(r.Context(), b.id, key)
	if err != nil {
		return err
	}
	defer v.Close()
	h := w.Header()
	h["Cf-Cache-Status"] = miss
	if v.Cached {
		h["Cf-Cache-Status"] = hit
	}
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return nil
	}
	h["Content-Type"] = octetStream
	h["Content-Length"] = []string{strconv.FormatInt(v.Size, 10)}
	if v.Metadata != "" {
		h[headerMetadata] = []string{v.Metadata}
	}
	if v.Expires != 0 {
		h["Cf-Expiration"] = []string{strconv.FormatInt(v.Expires, 10)}
	}
	if _, err := v.WriteTo(w); err != nil {
		b.st.lg.Debug("send kv value", "namespace", b.id, "err", err)
		panic(http.ErrAbortHandler) // the only way to tell the binding that the value is not whole
	}
	return nil
}

// checkCacheTTL refuses what Cloudflare refuses; the value itself has no use here, where every read is current.
func checkCacheTTL(s string) error {
	if s == "" {
		return nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err != nil || n < minCacheTTL {
		return fault.Newf(fault.Invalid, codeMalformed, "Invalid cache_ttl of %.32s. Cache TTL must be at least 30.", s)
	}
	return nil
}

func (b *binding) put(r *http.Request) error {
	q := r.URL.Query()
	key, err := b.key(r, q.Get("urlencoded"))
	if err != nil {
		return err
	}
	o := PutOptions{Length: max(r.ContentLength, 0)}
	if o.Expires, err = b.st.ParseExpiry(q.Get("expiration"), q.Get("expiration_ttl")); err != nil {
		return err
	}
	if m := r.Header.Get(headerMetadata); m != "" {
		if o.Metadata, err = ParseMetadata([]byte(m)); err != nil {
			return err
		}
	}
	return b.st.Put(r.Context(), b.id, key, r.Body, o)
}

func (b *binding) delete(r *http.Request) error {
	key, err := b.key(r, r.URL.Query().Get("urlencoded"))
	if err != nil {
		return err
	}
	return b.st.Delete(r.Context(), b.id, key)
}

// listKey is a key as the binding reads it: it parses the metadata's text itself.
type listKey struct {
	Name     Key    `json:"name"`
	Expires  int64  `json:"expiration,omitempty"`
	Metadata string `json:"metadata,omitempty"`
}

func (b *binding) list(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	o := ListOptions{Prefix: q.Get("prefix"), Cursor: q.Get("cursor")}
	if s := q.Get("key_count_limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return fault.Newf(fault.Invalid, codeLimit,
				"Invalid key_count_limit of %.32s. Please specify an integer greater than 0.", s)
		}
		if n > MaxList {
			return fault.Newf(fault.Invalid, codeLimit,
				"Invalid key_count_limit of %d. Please specify an integer less than %d.", n, MaxList)
		}
		o.Limit = n
	}
	page, err := b.st.List(r.Context(), b.id, o)
	if err != nil {
		return err
	}
	answer := struct {
		Keys     []listKey `json:"keys"`
		Complete bool      `json:"list_complete"`
		Cursor   string    `json:"cursor,omitempty"`
	}{make([]listKey, len(page.Keys)), page.Cursor == "", page.Cursor}
	for i, k := range page.Keys {
		answer.Keys[i] = listKey(k)
	}
	data, err := json.Marshal(answer)
	if err == nil {
		writeJSON(w, data)
	}
	return err
}

func writeJSON(w http.ResponseWriter, data []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.Write(data) // what fails here is the client's connection
}

// maxDrain is how much of a refused request's body is read, so that the binding, which sends first, gets to read why.
const maxDrain = 256 << 20

// fail answers a request with the status and the reason phrase that the Worker's error shows.
func (b *binding) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, text := b.explain(r.Context(), err)
	io.Copy(io.Discard, io.LimitReader(r.Body, maxDrain))
	if text != http.StatusText(status) && writeStatus(w, status, text) {
		return
	}
	w.WriteHeader(status)
}

func (b *binding) explain(ctx context.Context, err error) (status int, text string) {
	if err == errMethod {
		return http.StatusMethodNotAllowed, http.StatusText(http.StatusMethodNotAllowed)
	}
	f := fault.Of(err)
	if f == nil {
		if ctx.Err() == nil {
			b.st.lg.Error("kv binding", "namespace", b.id, "err", err)
		}
		return http.StatusInternalServerError, http.StatusText(http.StatusInternalServerError)
	}
	switch {
	case f.Code == codeKeyTooLong:
		status = http.StatusRequestURITooLong
	case f.Kind == fault.TooLarge:
		status = http.StatusRequestEntityTooLarge
	case f.Kind == fault.Full:
		status = http.StatusInsufficientStorage
	default: // a missing namespace too: 404 would read as a key without a value
		status = http.StatusBadRequest
	}
	return status, f.Message
}

// writeStatus answers with a reason phrase (RFC 9112, 4) in place of net/http, and ends the connection.
func writeStatus(w http.ResponseWriter, status int, text string) bool {
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return false
	}
	defer conn.Close()
	phrase := []byte(text)
	for i, c := range phrase {
		if c < ' ' || c == 0x7f {
			phrase[i] = ' '
		}
	}
	buf.WriteString("HTTP/1.1 " + strconv.Itoa(status) + " ")
	buf.Write(phrase)
	buf.WriteString("\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	buf.Flush()
	return true
}
