package s3

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"atoll.dev/atoll/internal/fault"
)

const (
	algorithm = "AWS4-HMAC-SHA256"
	maxSkew   = 15 * time.Minute
	maxExpiry = 7 * 24 * 60 * 60 // seconds
	amzTime   = "20060102T150405Z"
	unsigned  = "UNSIGNED-PAYLOAD"
)

// signature is what a request says of how it is signed:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
type signature struct {
	key, date, region string // of the credential
	signed            []string
	value             string
	at                time.Time
	payload           string // the header x-amz-content-sha256, or what stands for it
	presigned         bool
}

var hexSum = regexp.MustCompile(`^[0-9a-f]{64}$`)

// authenticate finds out who signed the request, and prepares its body to be checked as it is read.
func (c *call) authenticate(path string) error {
	s, err := c.signature()
	if err != nil {
		return err
	}
	who, secret, err := c.h.keys(c.Context(), s.key)
	if fault.KindOf(err) == fault.Unauthenticated {
		return errUnauthorized
	}
	if err != nil {
		return fmt.Errorf("find access key: %w", err)
	}
	if err := c.allSigned(s.signed); err != nil {
		return err
	}
	signing := signingKey(secret, s.date, s.region)
	// Clients sign the path as they send it. A proxy may have written its escapes in another way; their one true form stands
	// for all.
	if !hmac.Equal([]byte(c.sign(signing, s, path)), []byte(s.value)) && !hmac.Equal([]byte(c.sign(signing, s, canonicalPath(path))), []byte(s.value)) {
		return &problem{http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your secret access key and signing method."}
	}
	c.who = who
	c.body, err = newBody(c.Request, s, signing)
	return err
}

// allSigned refuses headers that say what to do and are not signed: whoever was given a link to put one object could make it a
// copy of any other. What the payload's header says is part of the signature whether or not it is in the list.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html: "any x-amz-* headers"
func (c *call) allSigned(signed []string) error {
	for name := range c.Header {
		name = strings.ToLower(name)
		if strings.HasPrefix(name, "x-amz-") && name != "x-amz-content-sha256" && !slices.Contains(signed, name) {
			return &problem{http.StatusForbidden, "AccessDenied", "There were headers present in the request which were not signed: " + name}
		}
	}
	return nil
}

// signature reads how the request is signed: by its Authorization header, or by its query.
func (c *call) signature() (s signature, err error) {
	if c.Header.Get("X-Amz-Security-Token") != "" || c.query.Has("X-Amz-Security-Token") {
		return s, invalidArgument("X-Amz-Security-Token")
	}
	if h := c.Header.Get("Authorization"); h != "" {
		return c.headerSignature(h)
	}
	if c.query.Has("X-Amz-Credential") {
		return c.querySignature()
	}
	return s, invalidArgument("Authorization")
}

func (c *call) headerSignature(h string) (s signature, err error) {
	s.payload = c.Header.Get("X-Amz-Content-Sha256")
	if s.payload == "" {
		return s, &problem{http.StatusBadRequest, "InvalidRequest", "Missing x-amz-content-sha256"}
	}
	fields, ok := strings.CutPrefix(h, algorithm+" ")
	if !ok || len(h) > 8<<10 {
		return s, &problem{http.StatusBadRequest, "InvalidRequest", "Please use " + algorithm}
	}
	var credential, signed string
	for field := range strings.SplitSeq(fields, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch name {
		case "Credential":
			credential = value
		case "SignedHeaders":
			signed = value
		case "Signature":
			s.value = value
		}
	}
	if err := s.parse(credential, signed); err != nil {
		return s, err
	}
	date := c.Header.Get("X-Amz-Date")
	if date == "" {
		date = c.Header.Get("Date")
	}
	if s.at, err = time.Parse(amzTime, date); err != nil {
		return s, invalidArgument("Date provided in 'x-amz-date' header (%.64s) didn't parse successfully", date)
	}
	if d := c.h.now().Sub(s.at).Abs(); d > maxSkew {
		return s, &problem{http.StatusForbidden, "RequestTimeTooSkewed", "The difference between the request time and the server's time is too large."}
	}
	return s, s.checkDate()
}

func (c *call) querySignature() (s signature, err error) {
	for _, name := range []string{"X-Amz-Algorithm", "X-Amz-Signature", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Expires"} {
		if !c.query.Has(name) {
			return s, invalidArgument("Required search parameter %s missing", name)
		}
	}
	if c.query.Get("X-Amz-Algorithm") != algorithm {
		return s, &problem{http.StatusBadRequest, "InvalidRequest", "Please use " + algorithm}
	}
	s.presigned, s.payload, s.value = true, unsigned, c.query.Get("X-Amz-Signature")
	if h := c.Header.Get("X-Amz-Content-Sha256"); h != "" {
		s.payload = h
	}
	if err := s.parse(c.query.Get("X-Amz-Credential"), c.query.Get("X-Amz-SignedHeaders")); err != nil {
		return s, err
	}
	if s.at, err = time.Parse(amzTime, c.query.Get("X-Amz-Date")); err != nil {
		return s, invalidArgument("Date provided in X-Amz-Date didn't parse successfully")
	}
	expires, err := strconv.ParseInt(c.query.Get("X-Amz-Expires"), 10, 64)
	if err != nil {
		return s, invalidArgument("X-Amz-Expires should be a number")
	}
	if expires > maxExpiry {
		return s, invalidArgument("X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than %d seconds", maxExpiry)
	}
	now := c.h.now()
	if expires < 1 || now.After(s.at.Add(time.Duration(expires)*time.Second)) || now.Add(maxSkew).Before(s.at) {
		return s, &problem{http.StatusForbidden, "ExpiredRequest", "Request has expired"}
	}
	return s, s.checkDate()
}

// parse reads the credential, KEY/DATE/REGION/s3/aws4_request, and the names of the signed headers.
func (s *signature) parse(credential, signed string) error {
	parts := strings.Split(credential, "/")
	if len(parts) != 5 || len(credential) > 1024 {
		return invalidArgument("Credential should have 5 slash-separated parts, not %d", len(parts))
	}
	s.key, s.date, s.region = parts[0], parts[1], parts[2]
	if parts[3] != "s3" {
		return invalidArgument("Credential service should be s3, not %.64s", parts[3])
	}
	if parts[4] != "aws4_request" {
		return invalidArgument("Credential termination string should be aws4_request, not %.64s", parts[4])
	}
	s.signed = strings.Split(strings.ToLower(signed), ";")
	if !slices.Contains(s.signed, "host") || !hexSum.MatchString(s.value) {
		return errUnauthorized
	}
	return nil
}

func (s *signature) checkDate() error {
	if s.at.Format("20060102") != s.date {
		return invalidArgument("Credential signed date %.16s does not match %s from 'x-amz-date' header", s.date, s.at.Format("20060102"))
	}
	return nil
}

func (s *signature) scope() string { return s.date + "/" + s.region + "/s3/aws4_request" }

// sign computes the signature that the request should have.
func (c *call) sign(key []byte, s signature, path string) string {
	canonical := strings.Join([]string{c.Method, path, c.canonicalQuery(), c.canonicalHeaders(s.signed), strings.Join(s.signed, ";"), s.payload}, "\n")
	sum := sha256.Sum256([]byte(canonical))
	return signText(key, strings.Join([]string{algorithm, s.at.Format(amzTime), s.scope(), hex.EncodeToString(sum[:])}, "\n"))
}

func signText(key []byte, text string) string { return hex.EncodeToString(mac(key, text)) }

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func signingKey(secret, date, region string) []byte {
	return mac(mac(mac(mac([]byte("AWS4"+secret), date), region), "s3"), "aws4_request")
}

func (c *call) canonicalQuery() string {
	var pairs []string
	for name, values := range c.query {
		if name == "X-Amz-Signature" {
			continue
		}
		for _, v := range values {
			pairs = append(pairs, escape(name)+"="+escape(v))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

var spaces = regexp.MustCompile(` +`)

func (c *call) canonicalHeaders(names []string) string {
	var b strings.Builder
	for _, name := range names {
		var values []string
		switch name {
		case "host":
			values = []string{c.Host}
		case "content-length":
			values = []string{strconv.FormatInt(c.ContentLength, 10)}
		default:
			values = c.Header.Values(name)
		}
		for i, v := range values {
			values = slices.Clone(values)
			values[i] = spaces.ReplaceAllString(strings.TrimSpace(v), " ")
		}
		b.WriteString(name + ":" + strings.Join(values, ",") + "\n")
	}
	return b.String()
}

// escape is AWS's UriEncode: all but RFC 3986's unreserved characters.
func escape(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', digits[c>>4], digits[c&15]})
	}
	return b.String()
}

// canonicalPath writes a path with the escapes that it needs and no others.
func canonicalPath(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if clear, err := url.PathUnescape(s); err == nil {
			segments[i] = escape(clear)
		}
	}
	return strings.Join(segments, "/")
}
