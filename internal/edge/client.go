package edge

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// describe makes request.cf for a protocol: what a node can say truthfully of
// https://developers.cloudflare.com/workers/runtime-apis/request/#incomingrequestcfproperties
func describe(proto string) string {
	if proto == "HTTP/2.0" {
		proto = "HTTP/2"
	}
	b, _ := json.Marshal(map[string]any{"httpProtocol": proto, "colo": "ATL", "tlsVersion": "", "tlsCipher": ""}) // strings always marshal
	return string(b)
}

// claims are the headers by which the edge itself says who the client is.
// https://developers.cloudflare.com/fundamentals/reference/http-headers/
var claims = []string{"Cf-Connecting-Ip", "Cf-Connecting-Ipv6", "Cf-Pseudo-Ipv4", "Cf-Ipcountry", "Cf-Ray", "Cf-Visitor",
	"Cf-Worker", "True-Client-Ip", "X-Real-Ip", "X-Forwarded-Proto"}

// identify puts the edge's own words about the client in place of any that the client sent.
func (e *Edge) identify(h http.Header, r *http.Request, ray string) {
	for _, name := range claims {
		delete(h, name)
	}
	ip, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		ip = r.RemoteAddr
	}
	h["Cf-Connecting-Ip"], h["X-Real-Ip"] = []string{ip}, []string{ip}
	h["Cf-Ray"] = []string{ray}
	h["X-Forwarded-Proto"] = []string{"http"}
	h["Cf-Visitor"] = []string{`{"scheme":"http"}`}
	if before := h["X-Forwarded-For"]; len(before) > 0 {
		ip = before[len(before)-1] + "," + ip
	}
	h["X-Forwarded-For"] = []string{ip}
}

const hexDigits = "0123456789ABCDEF"

// escapeTarget percent-encodes the bytes that no URL may have and that workerd refuses; browsers send some of them in a
// query. All others stay as they were sent.
func escapeTarget(t string) string {
	n := 0
	for i := range len(t) {
		if forbidden(t[i]) {
			n++
		}
	}
	if n == 0 {
		return t
	}
	out := make([]byte, 0, len(t)+2*n)
	for i := range len(t) {
		if c := t[i]; forbidden(c) {
			out = append(out, '%', hexDigits[c>>4], hexDigits[c&15])
		} else {
			out = append(out, c)
		}
	}
	return string(out)
}

// forbidden are the bytes of neither reserved nor unreserved characters (RFC 3986, section 2), less those that WHATWG's
// URLs leave as they are.
func forbidden(c byte) bool {
	return c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>' || c == '`'
}

// guard refuses bodies that are too large and clients that stall: each read and write gets a new deadline.
type guard struct {
	http.ResponseWriter
	c     *http.ResponseController
	stall time.Duration
	until time.Time // the write deadline in force
	left  int64     // how many bytes of response may still be written; negative: any number
}

// errLongResponse ends a response that is longer than the edge lets through.
var errLongResponse = errors.New("the response's body is too large")

// newGuard wraps w and r's body.
func newGuard(w http.ResponseWriter, r *http.Request, opts Options) *guard {
	g := &guard{ResponseWriter: w, c: http.NewResponseController(w), stall: opts.Stall, left: -1}
	if opts.MaxResponse > 0 {
		g.left = opts.MaxResponse
	}
	if r.Body != nil && r.Body != http.NoBody {
		// The Worker may answer before it has read the body. What it leaves the server reads, up to a bound, in this time.
		g.c.EnableFullDuplex()
		g.c.SetReadDeadline(time.Now().Add(opts.Stall))
		r.Body = &guardedBody{http.MaxBytesReader(w, r.Body, opts.MaxBody), g}
	}
	return g
}

// Unwrap implements the protocol of http.ResponseController.
func (g *guard) Unwrap() http.ResponseWriter { return g.ResponseWriter }

func (g *guard) Write(p []byte) (int, error) {
	switch {
	case g.left < 0:
	case int64(len(p)) > g.left:
		return 0, errLongResponse
	default:
		g.left -= int64(len(p))
	}
	if err := g.extend(); err != nil {
		return 0, err
	}
	return g.ResponseWriter.Write(p)
}

// bodyError is what is wrong with a body, which is the client's doing.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "client's body: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

type guardedBody struct {
	io.ReadCloser
	g *guard
}

func (b *guardedBody) Read(p []byte) (int, error) {
	if err := b.g.c.SetReadDeadline(time.Now().Add(b.g.stall)); err != nil {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		return n, &bodyError{err}
	}
	if err == io.EOF {
		// From here on the server reads only to learn that the client has gone. Any other end keeps its deadline, since
		// the server will try to read what is left of the body.
		b.g.c.SetReadDeadline(time.Time{})
	}
	return n, err
}
