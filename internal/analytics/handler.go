package analytics

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"atoll.dev/atoll/internal/atoll"
)

// maxPoint bounds the JSON of a point, and with it what a request holds in memory: the blobs of a valid one have 16,000
// bytes, each of which may be written as six.
const maxPoint = 256 << 10

// Receive reads the points that a binding sends (js/analytics.js of package isolate), and takes one after the other for as
// long as take allows one more.
func (s *Store) Receive(r *http.Request, script atoll.ScriptRef, name string, take func(n int) int) error {
	return readPoints(r.Body, func(p Point) bool {
		if take(1) < 1 {
			return false
		}
		s.Write(script, name, []Point{p})
		return true
	})
}

// readPoints reads points from JSON, [{"i": index, "b": [blobs], "d": [doubles]}], until one is not taken.
func readPoints(r io.Reader, take func(Point) bool) error {
	paced := &pacedReader{r: r}
	in := json.NewDecoder(paced)
	paced.left = maxPoint
	if t, err := in.Token(); err != nil || t != json.Delim('[') {
		return fmt.Errorf("read data points: no list: %w", err)
	}
	for paced.left = maxPoint; in.More(); paced.left = maxPoint {
		var p struct {
			Index   string            `json:"i"`
			Blobs   columns[*string]  `json:"b"`
			Doubles columns[*float64] `json:"d"` // null: what JSON cannot hold
		}
		if err := in.Decode(&p); err != nil {
			return fmt.Errorf("read data points: %w", err)
		}
		point := Point{Index: p.Index, Blobs: p.Blobs, Doubles: make([]float64, len(p.Doubles))}
		for j, d := range p.Doubles {
			if d != nil {
				point.Doubles[j] = *d
			}
		}
		if !take(point) {
			return nil
		}
	}
	if _, err := in.Token(); err != nil {
		return fmt.Errorf("read data points: %w", err)
	}
	return nil
}

// columns are the blobs or doubles of a point. Of more than it may have, one too many is kept, so that it is not valid.
type columns[T any] []T

// UnmarshalJSON implements json.Unmarshaler.
func (c *columns[T]) UnmarshalJSON(b []byte) error {
	*c = nil
	in := json.NewDecoder(bytes.NewReader(b))
	if t, err := in.Token(); err != nil || t != json.Delim('[') {
		return err // null: nothing
	}
	for in.More() && len(*c) <= maxColumns {
		var v T
		if err := in.Decode(&v); err != nil {
			return err
		}
		*c = append(*c, v)
	}
	return nil
}

var errPoint = errors.New("a data point is too large")

// pacedReader reads so much and no more until it is allowed more.
type pacedReader struct {
	r    io.Reader
	left int
}

func (p *pacedReader) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, errPoint
	}
	n, err := p.r.Read(b[:min(len(b), p.left)])
	p.left -= n
	return n, err
}
