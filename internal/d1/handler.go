package d1

import (
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
//	POST /dump                                   was for databases of 2022, and is gone
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
		answer(w, http.StatusGone, []byte(`{"error":"dump() was for databases of D1's alpha, and is no more: export the database instead"}`))
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
	queries, done, err := b.st.ReadQueries(b.acct, r.Body, r.ContentLength)
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
	answer(w, http.StatusOK, a.JSON)
}

func (b *binding) fail(w http.ResponseWriter, r *http.Request, err error) {
	text := "internal error"
	if f := fault.Of(err); f != nil {
		text = f.Message
	} else if r.Context().Err() == nil {
		b.st.lg.Error("d1 binding", "database", b.id, "err", err)
	}
	io.Copy(io.Discard, io.LimitReader(r.Body, MaxBody)) // the binding reads only once it has sent
	answer(w, http.StatusOK, append(engine.AppendString([]byte(`{"success":false,"error":`), text), '}'))
}

// MaxBody is the most that a call may send.
const MaxBody = 100 << 20

// freeBody is how much may be sent without counting.
const freeBody = 64 << 10

// ReadQueries reads {sql, params} or an array of them. What that takes of the account's memory is given back by done, which
// is never nil.
func (s *Store) ReadQueries(acct atoll.AccountID, body io.Reader, length int64) (queries []Query, done func(), err error) {
	done = func() {}
	if length > MaxBody || length < 0 {
		return nil, done, fault.Newf(fault.TooLarge, codeMalformed, "A call may have %d bytes, and says how many.", MaxBody)
	}
	if need := 3*length - freeBody; need > 0 { // the text, and what it is read into
		s.mu.RLock()
		o := s.accounts[acct]
		s.mu.RUnlock()
		if o == nil || !o.memory.Take(need) {
			return nil, done, errMemory
		}
		done = func() { o.memory.Give(need) }
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(body, text); err != nil {
		return nil, done, fault.New(fault.Invalid, codeMalformed, "The request broke off.")
	}
	queries, err = parseQueries(text)
	return queries, done, err
}

// ParseQueries reads queries from JSON.
func parseQueries(text []byte) ([]Query, error) {
	var list []jsonQuery
	err := json.Unmarshal(text, &list)
	if err != nil {
		list = make([]jsonQuery, 1)
		if one := json.Unmarshal(text, &list[0]); one == nil {
			err = nil
		} else if len(text) > 0 && text[0] != '[' {
			err = one
		}
	}
	if err != nil {
		var f *fault.Error
		if errors.As(err, &f) {
			return nil, f
		}
		return nil, fault.Newf(fault.Invalid, codeMalformed, "The request is malformed: %v", err)
	}
	queries := make([]Query, len(list))
	for i, q := range list {
		queries[i] = Query{SQL: q.SQL, Params: make([]engine.Param, len(q.Params))}
		for j, p := range q.Params {
			queries[i].Params[j] = engine.Param(p)
		}
	}
	return queries, nil
}

type jsonQuery struct {
	SQL    string      `json:"sql"`
	Params []jsonParam `json:"params"`
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
