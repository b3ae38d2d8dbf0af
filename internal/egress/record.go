package egress

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"atoll.dev/atoll/internal/atoll"
)

// Record is what is known of one subrequest once it has ended. It holds no path, query or header: they may hold secrets.
type Record struct {
	Script     atoll.ScriptRef
	Invocation string // its tag; empty where the subrequest had none
	Kind       Kind
	Method     string
	Scheme     string // "http", "https", "tcp" or "tls"
	Host       string // with its port, as the Worker wrote it
	Status     int    // of the answer; 0: there was none
	Sent       int64  // bytes of bodies, or of the whole for sockets
	Received   int64
	Start      time.Time
	Took       time.Duration
	Err        string // why there was no answer, as the Worker is told
}

// Kind says what a subrequest was.
type Kind string

// The kinds of subrequests.
const (
	Fetch     Kind = "fetch"
	WebSocket Kind = "websocket"
	Connect   Kind = "connect"
	API       Kind = "api"      // to the node's own API, by its alias
	Outbound  Kind = "outbound" // to the outbound Worker
)

// Meter measures one subrequest.
type Meter struct {
	Record
	sent, received atomic.Int64 // a body may still be read when the answer has been relayed
}

// NewMeter begins to measure.
func NewMeter(r Record) *Meter {
	r.Start = time.Now()
	return &Meter{Record: r}
}

// Done ends the measurement and returns the record.
func (m *Meter) Done() Record {
	r := m.Record
	r.Sent, r.Received, r.Took = m.sent.Load(), m.received.Load(), time.Since(m.Start)
	return r
}

// Body counts what is read of a request's body.
func (m *Meter) Body(r io.ReadCloser) io.ReadCloser {
	if r == nil || r == http.NoBody {
		return r
	}
	return &counted{r, &m.sent}
}

// Answer counts what is read of an answer's body.
func (m *Meter) Answer(r io.ReadCloser) io.ReadCloser {
	if r == http.NoBody { // hop.Relay looks for it
		return r
	}
	return &counted{r, &m.received}
}

type counted struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// stream counts both directions of a connection that was taken over.
type stream struct {
	io.ReadWriteCloser
	m *Meter
}

func (s stream) Read(p []byte) (int, error) {
	n, err := s.ReadWriteCloser.Read(p)
	s.m.received.Add(int64(n))
	return n, err
}

func (s stream) Write(p []byte) (int, error) {
	n, err := s.ReadWriteCloser.Write(p)
	s.m.sent.Add(int64(n))
	return n, err
}

// CloseWrite implements what a half-close needs.
func (s stream) CloseWrite() error {
	if cw, ok := s.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return s.Close()
}
