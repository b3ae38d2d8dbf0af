package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"atoll.dev/atoll/internal/wire"
)

func kvPath(more ...string) string {
	return path(append([]string{"storage", "kv", "namespaces"}, more...)...)
}

// KVNamespaces lists the KV namespaces.
func (c *Client) KVNamespaces(ctx context.Context) ([]wire.KVNamespace, error) {
	return byPage(ctx, c, request{method: http.MethodGet, path: kvPath(), query: url.Values{"order": {"title"}, "direction": {"asc"}}},
		callIn[[]wire.KVNamespace])
}

// CreateKVNamespace makes a KV namespace.
func (c *Client) CreateKVNamespace(ctx context.Context, title string) (wire.KVNamespace, error) {
	return doIn[wire.KVNamespace](ctx, c, request{method: http.MethodPost, path: kvPath(), body: wire.KVTitle{Title: title}})
}

// RenameKVNamespace gives a KV namespace another title.
func (c *Client) RenameKVNamespace(ctx context.Context, id, title string) error {
	return c.execIn(ctx, request{method: http.MethodPut, path: kvPath(id), body: wire.KVTitle{Title: title}})
}

// DeleteKVNamespace deletes a KV namespace with its values.
func (c *Client) DeleteKVNamespace(ctx context.Context, id string) error {
	return c.execIn(ctx, request{method: http.MethodDelete, path: kvPath(id)})
}

// KVKeys lists the keys of a KV namespace that begin with prefix, in the order of their bytes.
func (c *Client) KVKeys(ctx context.Context, id, prefix string) iter.Seq2[wire.KVKey, error] {
	r := request{method: http.MethodGet, path: kvPath(id, "keys")}
	if prefix != "" {
		r.query = url.Values{"prefix": {prefix}}
	}
	return byCursor[wire.KVKey](ctx, c, r)
}

// KVGet copies the value of a key to w.
func (c *Client) KVGet(ctx context.Context, id, key string, w io.Writer) error {
	return c.copyIn(ctx, request{method: http.MethodGet, path: kvPath(id, "values", key)}, w)
}

// KVOptions are what a value may have besides its bytes.
type KVOptions struct {
	TTL      time.Duration   // 0: kept until deleted
	Metadata json.RawMessage // nil: none
}

// KVPut sets the value of a key.
func (c *Client) KVPut(ctx context.Context, id, key string, value []byte, opts KVOptions) error {
	r := request{method: http.MethodPut, path: kvPath(id, "values", key), raw: value, ctype: "application/octet-stream"}
	if opts.TTL > 0 {
		r.query = url.Values{"expiration_ttl": {strconv.FormatInt(int64(opts.TTL/time.Second), 10)}}
	}
	if opts.Metadata != nil {
		var err error
		if r.raw, r.ctype, err = form(field{"value", value}, field{"metadata", opts.Metadata}); err != nil {
			return fmt.Errorf("encode value of %q: %w", key, err)
		}
	}
	return c.execIn(ctx, r)
}

// KVDelete deletes a key; one that is not there is no error.
func (c *Client) KVDelete(ctx context.Context, id, key string) error {
	return c.execIn(ctx, request{method: http.MethodDelete, path: kvPath(id, "values", key)})
}
