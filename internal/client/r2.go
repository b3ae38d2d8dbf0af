package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"

	"atoll.dev/atoll/internal/wire"
)

func r2Path(more ...string) string { return path(append([]string{"r2", "buckets"}, more...)...) }

// R2Buckets lists the R2 buckets.
func (c *Client) R2Buckets(ctx context.Context) ([]wire.R2Bucket, error) {
	var all []wire.R2Bucket
	r := request{method: http.MethodGet, path: r2Path(), query: url.Values{}}
	for {
		env, err := callIn[wire.R2Buckets](ctx, c, r)
		if err != nil {
			return nil, err
		}
		all = append(all, env.Result.Buckets...)
		if env.ResultInfo == nil || env.ResultInfo.Cursor == "" || env.ResultInfo.Cursor == r.query.Get("cursor") {
			return all, nil
		}
		r.query.Set("cursor", env.ResultInfo.Cursor)
	}
}

// CreateR2Bucket makes an R2 bucket.
func (c *Client) CreateR2Bucket(ctx context.Context, in wire.R2BucketRequest) (wire.R2Bucket, error) {
	return doIn[wire.R2Bucket](ctx, c, request{method: http.MethodPost, path: r2Path(), body: in})
}

// R2Bucket returns one R2 bucket.
func (c *Client) R2Bucket(ctx context.Context, name string) (wire.R2Bucket, error) {
	return doIn[wire.R2Bucket](ctx, c, request{method: http.MethodGet, path: r2Path(name)})
}

// DeleteR2Bucket deletes an R2 bucket, which must be empty.
func (c *Client) DeleteR2Bucket(ctx context.Context, name string) error {
	return c.execIn(ctx, request{method: http.MethodDelete, path: r2Path(name)})
}

// R2Objects lists the objects of a bucket whose keys begin with prefix, in the order of their bytes.
func (c *Client) R2Objects(ctx context.Context, bucket, prefix string) iter.Seq2[wire.R2Object, error] {
	r := request{method: http.MethodGet, path: r2Path(bucket, "objects")}
	if prefix != "" {
		r.query = url.Values{"prefix": {prefix}}
	}
	return byCursor[wire.R2Object](ctx, c, r)
}

// R2Get copies the content of an object to w.
func (c *Client) R2Get(ctx context.Context, bucket, key string, w io.Writer) error {
	return c.copyIn(ctx, request{method: http.MethodGet, path: r2Path(bucket, "objects", key)}, w)
}

// R2Put stores an object, whose content has size bytes; -1 where that is not known.
func (c *Client) R2Put(ctx context.Context, bucket, key string, content io.Reader, size int64, contentType string) (wire.R2Object, error) {
	return doIn[wire.R2Object](ctx, c, request{method: http.MethodPut, path: r2Path(bucket, "objects", key), stream: content, size: size, ctype: contentType})
}

// R2Delete deletes an object; one that is not there is no error.
func (c *Client) R2Delete(ctx context.Context, bucket, key string) error {
	return c.execIn(ctx, request{method: http.MethodDelete, path: r2Path(bucket, "objects", key)})
}

// AccessKey is what S3 clients sign with.
type AccessKey struct {
	ID       string `json:"access_key_id"`
	Secret   string `json:"secret_access_key"`
	Endpoint string `json:"endpoint"`
}

// AccessKey returns the access key that the client's token is: https://developers.cloudflare.com/r2/api/tokens/
func (c *Client) AccessKey(ctx context.Context) (AccessKey, error) {
	t, err := do[struct{ ID string }](ctx, c, request{method: http.MethodGet, path: "/user/tokens/verify"})
	if err != nil {
		return AccessKey{}, err
	}
	sum := sha256.Sum256([]byte(c.token))
	return AccessKey{ID: t.ID, Secret: hex.EncodeToString(sum[:]), Endpoint: strings.TrimSuffix(c.base, apiPath) + "/s3"}, nil
}
