package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/auth"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/store"
	"atoll.dev/atoll/internal/wire"
)

// request is an authorized request, and what its path named.
type request struct {
	*http.Request
	w         http.ResponseWriter
	who       auth.Principal
	account   atoll.AccountID // the path's, the zone's, or else the token's
	zone      store.Zone      // the path's {zone}
	namespace atoll.Namespace // the path's {namespace}
	ref       atoll.ScriptRef // the path's {script}, in namespace or in the account
}

// param returns the named part of the path without its escapes, and whether the route has such a part.
func (q *request) param(name string) (string, bool) {
	c := chi.RouteContext(q.Context())
	for i := len(c.URLParams.Keys) - 1; i >= 0; i-- {
		if c.URLParams.Keys[i] == name {
			s, err := url.PathUnescape(c.URLParams.Values[i])
			if err != nil { // unreachable: the server refuses such paths
				return "", true
			}
			return s, true
		}
	}
	return "", false
}

// path is param for a part that the route is known to have.
func (q *request) path(name string) string {
	s, _ := q.param(name)
	return s
}

// maxJSON bounds a JSON body; routes with bigger bodies read them by themselves.
const maxJSON = 1 << 20

// read returns the body, which is JSON and small.
func (q *request) read() ([]byte, error) { return q.readUpTo(maxJSON) }

func (q *request) readUpTo(most int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(q.Body, most+1))
	if int64(len(b)) > most {
		return nil, fault.Newf(fault.TooLarge, 10026, "the request body is larger than %d bytes", most)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, 10026, "the request body could not be read")
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, fault.New(fault.Invalid, 10026, "the request needs a JSON body")
	}
	return b, nil
}

// decode reads the body as JSON, whatever its content type: wrangler sends JSON as text/plain. Unknown fields are ignored.
func (q *request) decode(v any) error {
	b, err := q.read()
	if err != nil {
		return err
	}
	err = json.Unmarshal(b, v)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong) && wrong.Field != "":
		return fault.Newf(fault.Invalid, 10026, "%s must be %s, not a JSON %s", wrong.Field, kindOf(wrong.Type), wrong.Value)
	case err != nil:
		return fault.Newf(fault.Invalid, 10026, "could not parse the request body as JSON: %v", err)
	}
	return nil
}

// kindOf says what JSON a Go type is read from.
func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Slice:
		return "an array"
	}
	return "an object"
}

// number returns the query parameter as a number from lo to hi, or otherwise where it is absent.
func (q *request) number(name string, lo, hi, otherwise int) (int, error) {
	s := q.URL.Query().Get(name)
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < lo || n > hi {
		return 0, fault.Newf(fault.Invalid, 10001, "query parameter %s must be a number from %d to %d", name, lo, hi)
	}
	return n, nil
}

// source says which kind of client sends the request, for the record of deployments.
func (q *request) source() string {
	if strings.HasPrefix(q.UserAgent(), "wrangler/") {
		return "wrangler"
	}
	return "api"
}

// paged cuts the page out of all that the query parameters page and per_page name; without them, all is one page.
func paged[T any](q *request, all []T) (any, error) {
	per, err := q.number("per_page", 1, 1000, max(len(all), 20))
	if err != nil {
		return nil, err
	}
	number, err := q.number("page", 1, 1<<30, 1)
	if err != nil {
		return nil, err
	}
	total := len(all)
	lo := min((number-1)*per, total)
	items := all[lo:min(lo+per, total)]
	pages := (total + per - 1) / per
	return page{items, &wire.ResultInfo{Page: number, PerPage: per, Count: len(items), TotalCount: &total, TotalPages: &pages}}, nil
}
