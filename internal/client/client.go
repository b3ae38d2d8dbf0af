// Package client is the Go client of a node's REST API, one file per noun.
//
// It is not a client of Cloudflare: it speaks the same API, but only the part that the atoll command needs, and it
// retries nothing. It knows no server package; the JSON of both sides is package wire.
//
// Invariant: an answer that is not a success is an error, a *[Error] where the API said what is wrong (it wraps a
// *fault.Error, so that fault.KindOf works on this side too), an *[Unreachable] where nothing answered.
//
// Concurrency: a Client may be used by many goroutines.
package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/wire"
)

// Client talks to one node.
type Client struct {
	base    string // ends in "/client/v4"
	token   string
	http    *http.Client
	account atomic.Pointer[atoll.AccountID] // nil until chosen or discovered
}

// Options are what New may be told besides where the node is.
type Options struct {
	Account atoll.AccountID // empty: the one account that the token sees
	HTTP    *http.Client    // nil: one that follows no redirects
}

// New returns a client of the API at base, which is "http://127.0.0.1:8081" or the same with "/client/v4", or without
// "http://".
func New(base, token string, opts Options) (*Client, error) {
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fault.Newf(fault.Invalid, 0, "%q is not the address of an API", base)
	}
	c := &Client{base: strings.TrimSuffix(strings.TrimRight(u.String(), "/"), apiPath) + apiPath, token: token, http: opts.HTTP}
	if c.http == nil {
		// A redirect is never part of this API: it says that something else answers at this address.
		c.http = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	if opts.Account != "" {
		c.account.Store(&opts.Account)
	}
	return c, nil
}

const apiPath = "/client/v4"

// maxAnswer bounds what is read of an answer that is held in memory.
const maxAnswer = 64 << 20

// request is one call: a path under the base made by [path], its query, its body.
type request struct {
	method string
	path   string
	query  url.Values
	body   any    // sent as JSON; nil for none
	raw    []byte // sent as it is, with ctype
	ctype  string
	stream io.Reader // sent as it is, in place of raw, with ctype; of size bytes, -1 where that is not known
	size   int64
	token  string // instead of the client's own
}

// path joins segments that are escaped one by one, so that a key or tag may hold any byte. A segment of dots only is
// escaped too: proxies would take "." and ".." out of a path.
func path(segments ...string) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteByte('/')
		if s == "." || s == ".." {
			b.WriteString(strings.ReplaceAll(s, ".", "%2E"))
			continue
		}
		b.WriteString(url.PathEscape(s))
	}
	return b.String()
}

// send makes the call and returns the answer, whose body the caller closes. An answer that is not 2xx is an error.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return nil, fmt.Errorf("encode %s %s: %w", r.method, r.path, err)
		}
		r.raw, r.ctype = b, "application/json"
	}
	target := c.base + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, bytes.NewReader(r.raw))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if r.stream != nil {
		req.Body, req.ContentLength, req.GetBody = io.NopCloser(r.stream), r.size, nil
		if r.size == 0 {
			req.Body = http.NoBody
		}
	}
	if r.ctype != "" {
		req.Header.Set("Content-Type", r.ctype)
	}
	req.Header.Set("User-Agent", "atoll-cli")
	if token := cmp.Or(r.token, c.token); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, &Unreachable{API: c.base, err: err}
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		defer res.Body.Close()
		return nil, errorOf(c.base, r, res)
	}
	return res, nil
}

// do makes the call and returns the result of its envelope.
func do[T any](ctx context.Context, c *Client, r request) (T, error) {
	env, err := call[T](ctx, c, r)
	return env.Result, err
}

// call makes the call and returns its whole envelope.
func call[T any](ctx context.Context, c *Client, r request) (wire.Response[T], error) {
	var env wire.Response[T]
	res, err := c.send(ctx, r)
	if err != nil {
		return env, err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusNoContent {
		return env, nil
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return env, &Unreachable{API: c.base, err: err}
	}
	if err := json.Unmarshal(body, &env); err != nil {
		return env, foreign(c.base, r, res, err)
	}
	if !env.Success {
		return env, newError(r, res.StatusCode, env.Errors)
	}
	return env, nil
}

// exec makes a call whose result does not matter.
func (c *Client) exec(ctx context.Context, r request) error {
	_, err := do[json.RawMessage](ctx, c, r)
	return err
}
