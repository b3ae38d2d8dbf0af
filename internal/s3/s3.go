// Package s3 speaks S3's protocol to the R2 buckets of a node: path-style requests, signed with Signature Version 4 by the
// access keys that each API token is (https://developers.cloudflare.com/r2/api/tokens/), answers and errors in XML.
//
// It is a face: package auth says who signs, package r2 stores, and what neither R2 nor a node has is refused by name. It
// holds no object in memory.
//
// Invariant: nothing is read of a bucket, and nothing of a body, before the signature was found right and the token allowed
// the operation; a body is stored only if it is the one that was signed.
//
// A Handler may serve any number of requests at once.
package s3

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/auth"
	"atoll.dev/atoll/internal/r2"
)

// Prefix is the path under which buckets are, where the host does not say that all of it is S3's.
const Prefix = "/s3"

// Keys finds the principal that an access key belongs to, and its secret.
type Keys func(ctx context.Context, id string) (auth.Principal, string, error)

// Handler serves the buckets.
type Handler struct {
	lg      *slog.Logger
	store   *r2.Store
	keys    Keys
	account atoll.AccountID // of keys that are good for every account
	now     func() time.Time
}

// New returns a Handler. account is that of the keys that are good for every account; a nil now is time.Now.
func New(lg *slog.Logger, store *r2.Store, keys Keys, account atoll.AccountID, now func() time.Time) *Handler {
	if lg == nil {
		lg = slog.New(slog.DiscardHandler)
	}
	if now == nil {
		now = time.Now
	}
	return &Handler{lg, store, keys, account, now}
}

var hostName = regexp.MustCompile(`^([0-9a-f]{32})\.r2\.`)

// Serves tells whether a request is S3's: by its path, or by a host like Cloudflare's, ACCOUNT.r2.ANYTHING, for clients that
// take no path in their endpoint.
func Serves(r *http.Request) bool {
	return hostName.MatchString(r.Host) || r.URL.Path == Prefix || strings.HasPrefix(r.URL.Path, Prefix+"/")
}

// call is one request, once it was found to be signed.
type call struct {
	*http.Request
	w       http.ResponseWriter
	h       *Handler
	who     auth.Principal
	account atoll.AccountID
	bucket  string
	key     string
	query   url.Values
	body    *body
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	c := &call{Request: r, w: w, h: h}
	if err := c.serve(); err != nil {
		c.fail(err)
	}
	h.lg.Debug("s3 request", "method", r.Method, "bucket", c.bucket, "token", c.who.TokenID, "took", time.Since(start))
}

func (c *call) serve() error {
	path, rawQuery, _ := strings.Cut(c.RequestURI, "?")
	var err error
	if c.query, err = url.ParseQuery(rawQuery); err != nil {
		return invalidArgument("the query cannot be parsed")
	}
	if err := c.authenticate(path); err != nil {
		return err
	}
	if err := c.locate(path); err != nil {
		return err
	}
	op, may := c.operation()
	if op == nil {
		return errNotImplemented("this operation")
	}
	if c.who.Check(may, auth.Target{Account: c.account}) != nil {
		return errAccessDenied
	}
	return op(c)
}

// locate reads the account of the host, and bucket and key of the path.
func (c *call) locate(path string) error {
	c.account = c.who.Account
	if c.account == "" {
		c.account = c.h.account
	}
	if m := hostName.FindStringSubmatch(c.Host); m != nil {
		c.account = atoll.AccountID(m[1])
	} else {
		path = strings.TrimPrefix(path, Prefix)
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	var err error
	if c.bucket, err = url.PathUnescape(bucket); err == nil {
		c.key, err = url.PathUnescape(key)
	}
	if err != nil {
		return invalidArgument("the path cannot be decoded")
	}
	return nil
}

func (c *call) ref() r2.Ref { return r2.Ref{Account: c.account, Name: c.bucket} }

// operation is what the request asks for, and the permission that it needs.
func (c *call) operation() (func(*call) error, auth.Permission) {
	switch {
	case c.bucket == "":
		return pick(c, c.Method, nil, []operation{{"GET", "", auth.AccountRead, (*call).listBuckets}})
	case c.key == "":
		return pick(c, c.Method, bucketParameters, bucketOperations)
	}
	return pick(c, c.Method, objectParameters, objectOperations)
}

// operation is one line of a table: a method, and the parameter of the query that tells it from others.
type operation struct {
	method, parameter string
	may               auth.Permission
	do                func(*call) error
}

// The parameters that make another operation of a request. One that no line of the table has is of an operation that is not
// there.
var (
	bucketParameters = []string{"accelerate", "acl", "analytics", "cors", "delete", "encryption", "intelligent-tiering", "inventory", "lifecycle", "location",
		"logging", "metrics", "notification", "object-lock", "ownershipControls", "policy", "policyStatus", "publicAccessBlock", "replication",
		"requestPayment", "tagging", "uploads", "versioning", "versions", "website"}
	objectParameters = []string{"acl", "attributes", "legal-hold", "partNumber", "restore", "retention", "select", "tagging", "torrent", "uploadId", "uploads", "versionId"}
)

var bucketOperations = []operation{
	{"GET", "", auth.AccountRead, (*call).listObjects},
	{"GET", "location", auth.AccountRead, (*call).getLocation},
	{"GET", "uploads", auth.AccountRead, (*call).listUploads},
	{"HEAD", "", auth.AccountRead, (*call).headBucket},
	{"PUT", "", auth.AccountWrite, (*call).createBucket},
	{"DELETE", "", auth.AccountWrite, (*call).deleteBucket},
	{"POST", "delete", auth.AccountWrite, (*call).deleteObjects},
}

var objectOperations = []operation{
	{"GET", "", auth.AccountRead, (*call).getObject},
	{"HEAD", "", auth.AccountRead, (*call).getObject},
	{"GET", "uploadId", auth.AccountRead, (*call).listParts},
	{"PUT", "", auth.AccountWrite, (*call).putObject},
	{"PUT", "partNumber", auth.AccountWrite, (*call).uploadPart},
	{"POST", "uploads", auth.AccountWrite, (*call).createUpload},
	{"POST", "uploadId", auth.AccountWrite, (*call).completeUpload},
	{"DELETE", "", auth.AccountWrite, (*call).deleteObject},
	{"DELETE", "uploadId", auth.AccountWrite, (*call).abortUpload},
}

func pick(c *call, method string, parameters []string, table []operation) (func(*call) error, auth.Permission) {
	parameter := ""
	for _, p := range parameters {
		if c.query.Has(p) {
			parameter = p
			break // partNumber comes before uploadId
		}
	}
	for _, o := range table {
		if o.method == method && o.parameter == parameter {
			return o.do, o.may
		}
	}
	return nil, auth.Nobody
}

// drain reads on what is left of a refused body: most clients read no answer before they have sent all.
func (c *call) drain() {
	io.Copy(io.Discard, io.LimitReader(c.Body, 64<<20))
}
