package analytics

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"atoll.dev/atoll/internal/atoll"
)

// maxRequest bounds what one request may hold: as many points as an invocation may write, in JSON.
const maxRequest = 8 << 20

// Receive reads the points that a binding sends (js/analytics.js of package isolate) and takes as many of them as take allows.
func (s *Store) Receive(r *http.Request, script atoll.ScriptRef, name string, take func(n int) int) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest+1))
	if err != nil {
		return fmt.Errorf("read data points: %w", err)
	}
	list, err := parsePoints(body)
	if err != nil {
		return err
	}
	s.Write(script, name, list[:min(take(len(list)), len(list))])
	return nil
}

// parsePoints reads points from JSON: [{"i": index, "b": [blobs], "d": [doubles]}].
func parsePoints(body []byte) ([]Point, error) {
	if len(body) > maxRequest {
		return nil, fmt.Errorf("%d bytes of data points", len(body))
	}
	var in []struct {
		Index   string     `json:"i"`
		Blobs   []*string  `json:"b"`
		Doubles []*float64 `json:"d"` // null: what JSON cannot hold
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fmt.Errorf("read data points: %w", err)
	}
	list := make([]Point, len(in))
	for i, p := range in {
		list[i] = Point{Index: p.Index, Blobs: p.Blobs, Doubles: make([]float64, len(p.Doubles))}
		for j, d := range p.Doubles {
			if d != nil {
				list[i].Doubles[j] = *d
			}
		}
	}
	return list, nil
}
