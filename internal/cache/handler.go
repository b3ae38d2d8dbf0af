package cache

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"strconv"
	"time"
)

// The header by which the runtime names the cache that caches.open has made; caches.default has none.
const headerName = "Cf-Cache-Namespace"

const headerStatus = "Cf-Cache-Status"

// Named reports whether a request is for a cache with a name.
func Named(r *http.Request) bool { return len(r.Header[headerName]) > 0 }

// Serve answers the runtime's calls of the Cache API on behalf of an owner. url is what r asks for. The runtime speaks
// HTTP (workerd's src/workerd/api/cache.c++ is the description):
//
//	GET    match(): CF-Cache-Status tells a hit from a miss
//	PUT    put(): the body is the response, see message; 204 or 413, which the runtime does not tell apart
//	PURGE  delete(): 200 where there was something to delete, 404 where not
//
// What must not be stored at all (a method that is not GET, 206, Vary: *) the runtime itself has refused with an
// exception. https://developers.cloudflare.com/workers/runtime-apis/cache/
func (s *Store) Serve(w http.ResponseWriter, r *http.Request, o Owner, url string) {
	key := "\x01" + url // no name has such a byte: the runtime percent-encodes them
	if Named(r) {
		key = r.Header.Get(headerName) + "\x00" + url
	}
	switch r.Method {
	case http.MethodGet:
		s.get(w, r, o, key)
	case http.MethodPut:
		if err := s.put(r, o, key); err != nil {
			s.lg.Debug("response not stored", "account", o.Account, "owner", o.ID, "url", url, "err", err)
			drain(w, r)
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case "PURGE":
		if !s.delete(o, key) {
			w.WriteHeader(http.StatusNotFound)
		}
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// Empty answers the runtime's calls as a cache that keeps nothing.
func Empty(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPut:
		drain(w, r)
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	case "PURGE":
		w.WriteHeader(http.StatusNotFound)
	default:
		miss(w)
	}
}

// drain reads a little of a body that is not wanted, so that most connections can be used again, and has the others
// closed. net/http cannot do so on a connection that it serves in full duplex: it panics.
func drain(w http.ResponseWriter, r *http.Request) {
	const little = 256 << 10
	if _, err := io.CopyN(io.Discard, r.Body, little); err == nil {
		w.Header().Set("Connection", "close")
	}
}

// miss is the answer to "only-if-cached" where nothing is: RFC 9111, 5.2.1.7.
func miss(w http.ResponseWriter) {
	w.Header().Set(headerStatus, "MISS")
	w.WriteHeader(http.StatusGatewayTimeout)
}

func (s *Store) get(w http.ResponseWriter, r *http.Request, o Owner, key string) {
	e := s.match(o, key, func(v vary) bool { return v.selects(r.Header) })
	if e == nil {
		miss(w)
		return
	}
	body := io.ReadSeeker(bytes.NewReader(e.body))
	if e.file != "" {
		f, err := os.Open(s.path(e.file))
		if err != nil { // dropped meanwhile
			if !errors.Is(err, os.ErrNotExist) {
				s.lg.Error("cannot read a file of the cache", "err", err)
			}
			miss(w)
			return
		}
		defer f.Close()
		body = f
	}
	h := w.Header()
	maps.Copy(h, e.header)
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // or net/http guesses one
	}
	h["Age"] = []string{strconv.FormatInt(e.age+max(int64(s.opts.Now().Sub(e.stored)/time.Second), 0), 10)}
	h[headerStatus] = []string{"HIT"}
	if e.status == http.StatusOK {
		s.serveContent(w, r, e, body)
		return
	}
	if e.status != http.StatusNoContent {
		h["Content-Length"] = []string{strconv.FormatInt(e.length, 10)}
	}
	w.WriteHeader(e.status)
	if _, err := io.Copy(w, body); err != nil && !errors.Is(err, http.ErrBodyNotAllowed) {
		panic(http.ErrAbortHandler) // the only way to tell that the body is not whole
	}
}

var (
	errUncacheable = errors.New("it is not to be cached")
	errRoom        = errors.New("there is no room for it")
	errTooLarge    = errors.New("it is too large")
	errBroken      = errors.New("its body broke off")
)

// put stores the response in r's body. An error says why it is not stored.
func (s *Store) put(r *http.Request, o Owner, key string) error {
	m, err := readMessage(r.Body)
	if err != nil {
		return err
	}
	now := s.opts.Now()
	left, age, ok := lifetime(r.Header, m.status, m.header, now)
	selects := func(v vary) bool { return v.selects(r.Header) }
	if ok && left == 0 {
		s.supersede(o, key, selects)
	}
	if !ok || left == 0 {
		return errUncacheable
	}
	if m.length > min(maxObject, s.opts.Owner) {
		return errTooLarge
	}
	if len(m.header["Date"]) == 0 {
		m.header["Date"] = []string{now.UTC().Format(http.TimeFormat)} // RFC 9110, 6.6.1
	}
	e := &entry{key: key, vary: varies(m.header).of(r.Header), status: m.status, header: m.header, age: age, stored: now,
		expires: now.Add(time.Duration(left) * time.Second)}
	t := s.ticket(o)
	defer t.close()
	if !t.grow(use{memory: headSize(key, e.vary, m.header)}) {
		return errRoom
	}
	if err := s.readBody(t, e, m); err != nil {
		return err
	}
	t.keep(e, selects)
	return nil
}

// readBody reads a body into memory, or into a file where it is large.
func (s *Store) readBody(t *ticket, e *entry, m message) (err error) {
	first, err := io.ReadAll(io.LimitReader(m.body, maxInline+1))
	if err != nil {
		return errors.Join(errBroken, err)
	}
	e.length = int64(len(first))
	if len(first) <= maxInline {
		e.body = bytes.Clone(first) // ReadAll's has room to grow
		if !t.grow(use{memory: e.length}) {
			return errRoom
		}
	} else if err := s.spill(t, e, io.MultiReader(bytes.NewReader(first), m.body), m.length); err != nil {
		return err
	}
	if m.length >= 0 && m.length != e.length {
		s.remove([]string{e.file})
		return errBroken
	}
	return nil
}

// spillBy is how much room a file takes at a time, at the most.
const spillBy = 1 << 20

// spill writes a body, of the given length where that is not negative, into a file of its own, which is gone again where
// that fails.
func (s *Store) spill(t *ticket, e *entry, body io.Reader, length int64) (err error) {
	name := s.newName()
	f, err := os.OpenFile(s.path(name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			s.remove([]string{name})
		}
	}()
	e.length = 0
	for {
		step := int64(spillBy)
		if length >= 0 {
			step = min(step, max(length-e.length, 1)) // the one beyond is for seeing the end
		}
		if !t.grow(use{disk: step}) {
			return errRoom
		}
		n, err := io.CopyN(f, body, step)
		e.length += n
		switch {
		case err == io.EOF:
			t.grow(use{disk: n - step}) // what it took too much of
			e.file = name
			return nil
		case err != nil:
			return errors.Join(errBroken, err)
		case e.length > maxObject:
			return errTooLarge
		}
	}
}
