package client

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"atoll.dev/atoll/internal/wire"
)

func d1Path(more ...string) string { return path(append([]string{"d1", "database"}, more...)...) }

// Databases lists the D1 databases.
func (c *Client) Databases(ctx context.Context) ([]wire.D1Database, error) {
	return byPage(ctx, c, request{method: http.MethodGet, path: d1Path()}, callIn[[]wire.D1Database])
}

// Database returns a D1 database by its id or name.
func (c *Client) Database(ctx context.Context, what string) (wire.D1Database, error) {
	return doIn[wire.D1Database](ctx, c, request{method: http.MethodGet, path: d1Path(what)})
}

// CreateDatabase makes a D1 database.
func (c *Client) CreateDatabase(ctx context.Context, name string) (wire.D1Database, error) {
	return doIn[wire.D1Database](ctx, c, request{method: http.MethodPost, path: d1Path(), body: wire.D1Create{Name: name}})
}

// DeleteDatabase deletes a D1 database with all that is in it.
func (c *Client) DeleteDatabase(ctx context.Context, what string) error {
	return c.execIn(ctx, request{method: http.MethodDelete, path: d1Path(what)})
}

// QueryDatabase runs SQL, and returns what each statement answers.
func (c *Client) QueryDatabase(ctx context.Context, what string, q wire.D1Query) ([]wire.D1Raw, error) {
	return doIn[[]wire.D1Raw](ctx, c, request{method: http.MethodPost, path: d1Path(what, "raw"), body: q})
}

// Bookmark is the database's bookmark, now or at a time that is not zero.
func (c *Client) Bookmark(ctx context.Context, what string, at time.Time) (wire.D1Bookmark, error) {
	return doIn[wire.D1Bookmark](ctx, c, request{method: http.MethodGet, path: d1Path(what, "time_travel", "bookmark"), query: travel("", at)})
}

// RestoreDatabase makes the database what it was at a bookmark, or at a time.
func (c *Client) RestoreDatabase(ctx context.Context, what, bookmark string, at time.Time) (wire.D1Restored, error) {
	return doIn[wire.D1Restored](ctx, c, request{method: http.MethodPost, path: d1Path(what, "time_travel", "restore"), query: travel(bookmark, at)})
}

func travel(bookmark string, at time.Time) url.Values {
	q := url.Values{}
	if bookmark != "" {
		q.Set("bookmark", bookmark)
	}
	if !at.IsZero() {
		q.Set("timestamp", at.UTC().Format(time.RFC3339Nano))
	}
	return q
}

// ImportDatabase runs the SQL of a file, in one transaction.
func (c *Client) ImportDatabase(ctx context.Context, what string, sql []byte) (wire.D1TransferResult, error) {
	sum := md5.Sum(sql)
	etag := hex.EncodeToString(sum[:])
	step := func(in wire.D1Import) (wire.D1Transfer, error) {
		return doIn[wire.D1Transfer](ctx, c, request{method: http.MethodPost, path: d1Path(what, "import"), body: in})
	}
	begun, err := step(wire.D1Import{Action: "init", Etag: etag})
	if err != nil {
		return wire.D1TransferResult{}, err
	}
	res, err := c.transfer(ctx, request{method: http.MethodPut, raw: sql, ctype: "application/sql"}, begun.UploadURL)
	if err != nil {
		return wire.D1TransferResult{}, err
	}
	res.Body.Close()
	at, err := step(wire.D1Import{Action: "ingest", Filename: begun.Filename, Etag: etag})
	for err == nil && at.Status == "active" {
		at, err = step(wire.D1Import{Action: "poll", CurrentBookmark: at.Bookmark})
	}
	return finished(at, err)
}

// ExportDatabase writes the database as SQL.
func (c *Client) ExportDatabase(ctx context.Context, what string, o wire.D1DumpOptions, w io.Writer) error {
	in := wire.D1Export{OutputFormat: "polling", DumpOptions: o}
	at, err := doIn[wire.D1Transfer](ctx, c, request{method: http.MethodPost, path: d1Path(what, "export"), body: in})
	for err == nil && at.Status == "active" {
		in.CurrentBookmark = at.Bookmark
		at, err = doIn[wire.D1Transfer](ctx, c, request{method: http.MethodPost, path: d1Path(what, "export"), body: in})
	}
	result, err := finished(at, err)
	if err != nil {
		return err
	}
	res, err := c.transfer(ctx, request{method: http.MethodGet}, result.SignedURL)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(w, res.Body); err != nil {
		return fmt.Errorf("read export: %w", err)
	}
	return nil
}

// transfer sends or fetches a file at an address that the node has given: at the address of the API that this client was
// told, since the node knows its own by another name where a proxy is between.
func (c *Client) transfer(ctx context.Context, r request, address string) (*http.Response, error) {
	_, rest, ok := strings.Cut(address, apiPath)
	if !ok {
		return nil, fmt.Errorf("the node's address for the file, %q, is not one of its API", address)
	}
	r.path = rest
	return c.send(ctx, r)
}

func finished(at wire.D1Transfer, err error) (wire.D1TransferResult, error) {
	switch {
	case err != nil:
		return wire.D1TransferResult{}, err
	case at.Status == "complete" && at.Result != nil:
		return *at.Result, nil
	}
	return wire.D1TransferResult{}, errors.New(strings.Join(append(at.Errors, at.Error), ""))
}
