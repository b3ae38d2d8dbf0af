package d1

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/d1/engine"
	"atoll.dev/atoll/internal/fault"
)

// Handler serves one database to workerd's D1 binding, which speaks HTTP (workerd's src/cloudflare/internal/d1-api.ts is the
// only description):
//
//	POST /query?resultsFormat=ROWS_AND_COLUMNS   {sql, params}, or an array of them, which is a batch
//	POST /execute?resultsFormat=NONE             likewise; run() and exec() take the rows as objects
//	POST /dump                                   the database as a file of SQLite
//
// What fails is answered with 200 and {"success":false,"error":TEXT}, which the Worker sees as "D1_ERROR: TEXT". A session
// sends its constraint or the last bookmark that it has seen, and gets a new one; the one copy there is satisfies all.
func (s *Store) Handler(acct atoll.AccountID, id ID) http.Handler {
	return &binding{s, acct, id}
}

type binding struct {
	st   *Store
	acct atoll.AccountID
	id   ID
}

const headerBookmark = "X-Cf-D1-Session-Commit-Token"

func (b *binding) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodPost && (r.URL.Path == "/query" || r.URL.Path == "/execute"):
		b.query(w, r)
	case r.Method == http.MethodPost && r.URL.Path == "/dump":
		b.dump(w, r)
	default:
		answer(w, http.StatusNotFound, []byte(`{"error":"Not found"}`))
	}
}

func answer(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body) // what fails here is the client's connection
}

func (b *binding) query(w http.ResponseWriter, r *http.Request) {
	f := Objects
	if r.URL.Query().Get("resultsFormat") == "ROWS_AND_COLUMNS" {
		f = Columns
	}
	queries, done, err := b.st.ReadQueries(b.acct, r.Body, r.ContentLength, false)
	defer done()
	var a *Answer
	if err == nil {
		a, err = b.st.Query(r.Context(), b.acct, b.id, queries, f)
	}
	if err != nil {
		b.fail(w, r, err)
		return
	}
	defer a.Release()
	w.Header().Set(headerBookmark, a.Bookmark)
	answer(w, http.StatusOK, a.Body)
}

func (b *binding) dump(w http.ResponseWriter, r *http.Request) {
	a, err := b.st.Dump(r.Context(), b.acct, b.id)
	if err != nil {
		answer(w, http.StatusInternalServerError, append(engine.AppendString([]byte(`{"error":`), b.reason(r, err)), '}'))
		return
	}
	defer a.Release()
	w.Header().Set("Content-Type", "application/vnd.sqlite3")
	w.Header().Set("Content-Length", strconv.Itoa(len(a.Body)))
	w.Write(a.Body)
}

func (b *binding) fail(w http.ResponseWriter, r *http.Request, err error) {
	text := b.reason(r, err)
	io.Copy(io.Discard, io.LimitReader(r.Body, MaxBody)) // the binding reads only once it has sent
	answer(w, http.StatusOK, append(engine.AppendString([]byte(`{"success":false,"error":`), text), '}'))
}

// reason is what a Worker is told of an error.
func (b *binding) reason(r *http.Request, err error) string {
	if f := fault.Of(err); f != nil {
		return f.Message
	}
	if r.Context().Err() == nil {
		b.st.lg.Error("d1 binding", "database", b.id, "err", err)
	}
	return "internal error"
}

// MaxBody is the most that a call may send.
const MaxBody = 100 << 20

// freeBody is how much may be sent without counting.
const freeBody = 64 << 10

// ReadQueries reads the body of a call: {sql, params}, an array of them, or {batch: [...]}. With apart, a text of several
// statements is as many queries, as in the REST API. What the body takes of the account's memory is given back by done, which
// is never nil.
func (s *Store) ReadQueries(acct atoll.AccountID, body io.Reader, length int64, apart bool) (queries []Query, done func(), err error) {
	done = func() {}
	if length > MaxBody {
		return nil, done, fault.Newf(fault.TooLarge, codeMalformed, "A call may have %d bytes.", MaxBody)
	}
	s.mu.RLock()
	o := s.accounts[acct]
	s.mu.RUnlock()
	counted := int64(0)
	count := func(need int64) error { // what is beyond what is free
		if need -= freeBody + counted; need <= 0 {
			return nil
		}
		if o == nil || !o.memory.Take(need) {
			return errMemory
		}
		counted += need
		return nil
	}
	done = func() {
		if counted > 0 {
			o.memory.Give(counted)
		}
	}
	if err := count(3 * length); err != nil { // the text, and what it is read into
		return nil, done, err
	}
	text, err := readBody(body, length)
	if err == nil {
		n := elements(text)
		if apart {
			n += int64(bytes.Count(text, []byte(";")))
		}
		err = count(3*int64(len(text)) + elementBytes*n)
	}
	if err != nil {
		return nil, done, err
	}
	queries, err = parseQueries(text, apart)
	return queries, done, err
}

// elementBytes is what a query or a parameter takes in memory, however short its text, while slices of them grow.
const elementBytes = 192

// elements counts what the values of a body are made into: the commas in it, but those of strings and of blobs, which are the
// arrays in arrays.
func elements(text []byte) (n int64) {
	var stack []byte // of the brackets that are open
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			stack = append(stack, c)
		case ']', '}':
			stack = stack[:max(len(stack)-1, 0)]
		case ',':
			if d := len(stack); d < 2 || stack[d-1] != '[' || stack[d-2] != '[' {
				n++
			}
		}
	}
	return n
}

// readBody reads a body of the given length, or a small one of none.
func readBody(body io.Reader, length int64) ([]byte, error) {
	if length < 0 {
		text, err := io.ReadAll(io.LimitReader(body, freeBody+1))
		if err == nil && len(text) > freeBody {
			return nil, fault.Newf(fault.TooLarge, codeMalformed, "A call without Content-Length may have %d bytes.", freeBody)
		}
		return text, err
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(body, text); err != nil {
		return nil, fault.New(fault.Invalid, codeMalformed, "The request broke off.")
	}
	return text, nil
}

// parseQueries reads queries from JSON.
func parseQueries(text []byte, apart bool) ([]Query, error) {
	var one jsonQuery
	var list []jsonQuery
	var err error
	if trimmed := bytes.TrimLeft(text, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '[' {
		err = json.Unmarshal(text, &list)
	} else if err = json.Unmarshal(text, &one); one.Batch != nil {
		list = one.Batch
	} else {
		list = []jsonQuery{one}
	}
	if err != nil {
		var f *fault.Error
		if errors.As(err, &f) {
			return nil, f
		}
		return nil, fault.Newf(fault.Invalid, codeMalformed, "The request is malformed: %v", err)
	}
	var queries []Query
	for _, q := range list {
		query := Query{SQL: q.SQL, Params: make([]engine.Param, len(q.Params))}
		for j, p := range q.Params {
			query.Params[j] = engine.Param(p)
		}
		if !apart || one.Batch != nil {
			queries = append(queries, query)
			continue
		}
		for _, sql := range engine.Statements(q.SQL) {
			queries = append(queries, Query{SQL: sql})
		}
		if n := len(queries); n > 0 {
			queries[n-1].Params = query.Params
		}
	}
	return queries, nil
}

type jsonQuery struct {
	SQL    string      `json:"sql"`
	Params []jsonParam `json:"params"`
	Batch  []jsonQuery `json:"batch"`
}

// jsonParam is a value that is bound: a number, a string, null, or a blob as an array of its bytes.
type jsonParam engine.Param

// UnmarshalJSON implements json.Unmarshaler.
func (p *jsonParam) UnmarshalJSON(b []byte) error {
	switch b[0] {
	case 'n':
		p.Kind = engine.Null
	case 't', 'f':
		p.Kind, p.Number = engine.Number, 0
		if b[0] == 't' {
			p.Number = 1
		}
	case '"':
		p.Kind = engine.Text
		return json.Unmarshal(b, &p.Text)
	case '[':
		return p.blob(b)
	case '{':
		return fault.New(fault.Invalid, codeMalformed, "D1_TYPE_ERROR: Type 'object' not supported as a parameter")
	default:
		p.Kind = engine.Number
		return json.Unmarshal(b, &p.Number)
	}
	return nil
}

// blob reads an array of numbers from 0 to 255. encoding/json has checked that it is JSON.
func (p *jsonParam) blob(b []byte) error {
	p.Kind, p.Blob = engine.Blob, make([]byte, 0, len(b)/4+1)
	n, digits := 0, 0
	for _, c := range b[1:] {
		switch {
		case c >= '0' && c <= '9' && digits < 3:
			n, digits = n*10+int(c-'0'), digits+1
		case c == ',' || c == ']':
			if digits > 0 {
				if n > 255 {
					return errBytes
				}
				p.Blob = append(p.Blob, byte(n))
			}
			n, digits = 0, 0
		case c == ' ' || c == '\n' || c == '\t' || c == '\r':
		default:
			return errBytes
		}
	}
	return nil
}

var errBytes = fault.New(fault.Invalid, codeMalformed, "D1_TYPE_ERROR: an array as a parameter is a blob, of numbers from 0 to 255")
