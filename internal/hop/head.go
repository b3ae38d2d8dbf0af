package hop

import (
	"bytes"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

// head is a message's head that was found to be plain: of the form that nearly all have, in which there is nothing to
// interpret. What is not, its reader leaves to net/http, so that no unusual message is understood in two ways.
type head struct {
	method, target string // of a request
	host           string
	status         string // of a response, with the reason
	code           int
	header         http.Header // of a request, without Host
	length         int64       // of Content-Length; -1: there is none
	close          bool        // Connection: close
	size           int         // in bytes
}

// verdict is what was found out about the beginning of a message.
type verdict int

const (
	unfinished verdict = iota // the head has not arrived whole
	plain
	unusual
)

// parseRequest reads a request's head from the beginning of b.
func parseRequest(b []byte) (h head, v verdict) {
	s, v := headOf(b)
	if v != plain {
		return h, v
	}
	line, fields, _ := strings.Cut(s, "\r\n")
	method, rest, _ := strings.Cut(line, " ")
	target, proto, _ := strings.Cut(rest, " ")
	if proto != "HTTP/1.1" || !isToken(method) || method == http.MethodConnect || method == "PRI" || !strings.HasPrefix(target, "/") {
		return h, unusual
	}
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c == 0x7f {
			return h, unusual
		}
	}
	h = head{method: method, target: target, size: len(s)}
	if !h.parseFields(fields) {
		return h, unusual
	}
	host := h.header["Host"]
	if len(host) != 1 || !isHost(host[0]) {
		return h, unusual
	}
	h.host = host[0]
	delete(h.header, "Host")
	if p := h.header["Pragma"]; len(p) > 0 && p[0] == "no-cache" && h.header["Cache-Control"] == nil {
		h.header["Cache-Control"] = []string{"no-cache"} // as net/http does (RFC 9111, section 5.4)
	}
	return h, plain
}

// parseResponse reads a final response's head from the beginning of b.
func parseResponse(b []byte) (h head, v verdict) {
	s, v := headOf(b)
	if v != plain {
		return h, v
	}
	line, fields, _ := strings.Cut(s, "\r\n")
	status, ok := strings.CutPrefix(line, "HTTP/1.1 ")
	if !ok || len(status) < 4 || status[3] != ' ' || !isValue(status) {
		return h, unusual
	}
	code, err := strconv.Atoi(status[:3])
	if err != nil || code < 200 || code > 999 {
		return h, unusual
	}
	h = head{status: status, code: code, size: len(s)}
	if !h.parseFields(fields) {
		return h, unusual
	}
	return h, plain
}

// headOf returns a head with its empty line.
func headOf(b []byte) (string, verdict) {
	i := bytes.Index(b, []byte("\r\n\r\n"))
	if i < 0 {
		return "", unfinished
	}
	return string(b[:i+4]), plain
}

// parseFields reads header lines up to the empty one, and tells whether they are plain.
func (h *head) parseFields(s string) bool {
	n := strings.Count(s, "\n")
	h.header = make(http.Header, n)
	h.length = -1
	values := make([]string, n)
	for {
		line, rest, ok := strings.Cut(s, "\r\n")
		if !ok {
			return false
		}
		if line == "" {
			return rest == ""
		}
		s = rest
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return false
		}
		if name, ok = canonical(name); !ok {
			return false
		}
		value = strings.Trim(value, " \t")
		if !isValue(value) || !h.frame(name, value) {
			return false
		}
		if before := h.header[name]; before != nil {
			h.header[name] = append(before, value)
			continue
		}
		values[0] = value
		h.header[name], values = values[:1:1], values[1:]
	}
}

// frame takes note of a header that tells where a message ends, or what becomes of its connection.
func (h *head) frame(name, value string) bool {
	switch name {
	case "Transfer-Encoding", "Upgrade", "Expect", "Trailer", "Proxy-Connection", "Keep-Alive":
		return false
	case "Connection":
		switch {
		case h.header[name] != nil:
			return false
		case strings.EqualFold(value, "close"):
			h.close = true
		default:
			return strings.EqualFold(value, "keep-alive")
		}
	case "Content-Length":
		if h.length >= 0 || value == "" || len(value) > 18 {
			return false
		}
		n := int64(0)
		for i := range len(value) {
			c := value[i]
			if c < '0' || c > '9' {
				return false
			}
			n = n*10 + int64(c-'0')
		}
		h.length = n
	}
	return true
}

// tokens are the bytes that the name of a header may have (RFC 9110, section 5.6.2).
var tokens = func() (t [256]bool) {
	for c := range 256 {
		t[c] = c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c < 0x80 && strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) && c > ' '
	}
	return t
}()

func isToken(s string) bool {
	for i := range len(s) {
		if !tokens[s[i]] {
			return false
		}
	}
	return s != ""
}

// canonical returns the form that http.Header has a name in.
func canonical(name string) (string, bool) {
	upper, is := true, true
	for i := range len(name) {
		c := name[i]
		if !tokens[c] {
			return "", false
		}
		if upper && c >= 'a' && c <= 'z' || !upper && c >= 'A' && c <= 'Z' {
			is = false
		}
		upper = c == '-'
	}
	if !is {
		name = textproto.CanonicalMIMEHeaderKey(name)
	}
	return name, name != ""
}

// isValue tells whether s may be the value of a header.
func isValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// isHost tells whether s has no bytes but those of names, addresses and ports.
func isHost(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '.' && c != '-' && c != '_' && c != ':' && c != '[' && c != ']' {
			return false
		}
	}
	return s != ""
}

// appendField appends a header line. A name that cannot be one is left out, and what would end the line is replaced:
// neither can make a second header of one.
func appendField(b []byte, name, value string) []byte {
	if !isToken(name) {
		return b
	}
	b = append(append(b, name...), ": "...)
	at := len(b)
	b = append(b, value...)
	for i := at; i < len(b); i++ {
		if c := b[i]; c == '\r' || c == '\n' || c == 0 {
			b[i] = ' '
		}
	}
	return append(b, "\r\n"...)
}

// appendHeader appends the headers in the order of their names, but those that skip is true for.
func appendHeader(b []byte, h http.Header, skip func(name string) bool) []byte {
	var room [32]string
	names := room[:0]
	for name := range h {
		if !skip(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		for _, v := range h[name] {
			b = appendField(b, name, v)
		}
	}
	return b
}
