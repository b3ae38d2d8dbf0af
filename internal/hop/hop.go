// Package hop carries HTTP/1.1 exchanges over sockets: from clients to the node, from the node to an isolate process, and
// through the node from one process to another.
//
// It has a client, a proxy between the two, and a [Front]: what a server does for plain requests, with net/http for the
// rest. Unlike net/http's its client sends the request target as raw bytes, so that "//", "%2f" and "%25" arrive as they
// were sent, and hands a 101 response's connection over. Heads and small bodies travel together, and one goroutine carries
// a request from its first byte to its answer's last.
//
// A message that is not plain is read by net/http and nobody else: no message is understood in two ways. A connection is
// reused only after both directions have ended cleanly, and the client reads nothing ahead of what its caller asks for.
// A Client and a Front are safe for concurrent use; a Response belongs to one goroutine.
package hop

import (
	"io"
	"net/http"
)

// Request is one request as it goes over the wire.
type Request struct {
	Method string
	Target string      // raw request target, such as "/a%2fb?x"
	Host   string      // the Host header
	Header http.Header // without Host, Content-Length and hop-by-hop headers; Upgrade is set by Upgrade
	Body   io.Reader   // nil: no body
	Length int64       // of Body; -1 when not known
	// Extra is written after Header: the node's own headers, in pairs of name and value.
	Extra   []string
	Upgrade bool // ask for a WebSocket
}
