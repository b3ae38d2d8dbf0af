package s3

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/r2"
)

// problem is an error of S3's: https://developers.cloudflare.com/r2/api/error-codes/
type problem struct {
	status  int
	code    string
	message string
}

func (p *problem) Error() string { return p.code + ": " + p.message }

func invalidArgument(format string, args ...any) error {
	return &problem{http.StatusBadRequest, "InvalidArgument", fmt.Sprintf(format, args...)}
}

func errNotImplemented(what string) error {
	return &problem{http.StatusNotImplemented, "NotImplemented", what + " is not implemented"}
}

var (
	errAccessDenied = &problem{http.StatusForbidden, "AccessDenied", "The access key does not allow this operation."}
	errUnauthorized = &problem{http.StatusUnauthorized, "Unauthorized", "Unauthorized"}
	errMalformedXML = &problem{http.StatusBadRequest, "MalformedXML", "The XML you provided was not well formed or did not validate against our published schema."}
	errNotModified  = &problem{status: http.StatusNotModified}
	errPrecondition = &problem{http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold."}
	errRange        = &problem{http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The requested range is not satisfiable"}
	errContentHash  = &problem{http.StatusBadRequest, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed."}
)

// names are S3's names of R2's errors.
var names = map[int]string{
	r2.CodeForbidden: "AccessDenied", r2.CodeBucketName: "InvalidBucketName", r2.CodeNoBucket: "NoSuchBucket", r2.CodeNoKey: "NoSuchKey",
	r2.CodeBucketNotEmpty: "BucketNotEmpty", r2.CodeTooManyBuckets: "TooManyBuckets", r2.CodeTooSmall: "EntityTooSmall", r2.CodeMetadata: "MetadataTooLarge",
	r2.CodeIncomplete: "IncompleteBody", 10014: "InvalidDigest", r2.CodeObjectName: "InvalidObjectName", r2.CodeMaxKeys: "InvalidMaxKeys",
	r2.CodeNoUpload: "NoSuchUpload", r2.CodeInvalidPart: "InvalidPart", r2.CodeArgument: "InvalidArgument", r2.CodePrecondition: "PreconditionFailed",
	r2.CodeDigest: "BadDigest", r2.CodeRange: "InvalidRange", r2.CodeStorage: "NotEntitled", r2.CodeBadUpload: "InvalidPart",
	r2.CodeTooManyRequests: "TooManyRequests", r2.CodeBucketConflict: "BucketAlreadyOwnedByYou", r2.CodeTooLarge: "EntityTooLarge",
}

// explain makes a problem of any error. Those without a fault are told to nobody but the log.
func (c *call) explain(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	f := fault.Of(err)
	if f == nil || f.Kind == fault.Internal || names[f.Code] == "" && f.Kind != fault.Full {
		if c.Context().Err() == nil {
			c.h.lg.Error("s3 request failed", "method", c.Method, "path", c.URL.Path, "err", err)
		}
		return &problem{http.StatusInternalServerError, "InternalError", "We encountered an internal error. Please try again."}
	}
	name := names[f.Code]
	if name == "" {
		name = "InsufficientStorage"
	}
	return &problem{r2.Status(f), name, f.Message}
}

// fail answers with an error.
func (c *call) fail(err error) {
	p := c.explain(err)
	if p.status == http.StatusNotModified {
		c.w.WriteHeader(p.status)
		return
	}
	c.drain()
	text, _ := xml.Marshal(struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}{Code: p.code, Message: p.message})
	c.sendXML(p.status, text)
}

func (c *call) sendXML(status int, text []byte) {
	h := c.w.Header()
	h.Set("Content-Type", "application/xml")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(xml.Header)+len(text)))
	c.w.WriteHeader(status)
	if c.Method != http.MethodHead {
		io.WriteString(c.w, xml.Header)
		c.w.Write(text)
	}
}

// answer sends an element of the given name with v's fields.
func (c *call) answer(name string, v any) error {
	var b xmlBuffer
	enc := xml.NewEncoder(&b)
	start := xml.StartElement{Name: xml.Name{Local: name}, Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: "http://s3.amazonaws.com/doc/2006-03-01/"}}}
	if err := enc.EncodeElement(v, start); err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	c.sendXML(http.StatusOK, b)
	return nil
}

type xmlBuffer []byte

func (b *xmlBuffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}

// maxXML bounds what is parsed: a deletion of 1000 keys and a completion of 10,000 parts fit.
const maxXML = 8 << 20

// readXML reads the body as the element v. Its errors are problems.
func (c *call) readXML(v any) error {
	text, err := io.ReadAll(io.LimitReader(c.body, maxXML+1))
	if err != nil {
		return err
	}
	if len(text) > maxXML || parseXML(text, v) != nil {
		return errMalformedXML
	}
	return nil
}

func parseXML(text []byte, v any) error { return xml.Unmarshal(text, v) }
