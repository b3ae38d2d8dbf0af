package binding

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/dispatch"
	"atoll.dev/atoll/internal/isolate"
)

// maxPoints is how many data points one invocation may write:
// https://developers.cloudflare.com/analytics/analytics-engine/limits/
const maxPoints = 250

// points takes data points of the invocation that sends them; those of none are dropped.
func (b *Border) points(w http.ResponseWriter, r *http.Request, p *isolate.Process, dataset string) error {
	tag := takeTag(r.Header)
	err := b.Points(r, p.Spec.Ref, dataset, func(n int) int { return p.Invocations.Points(tag, n, maxPoints) })
	if err != nil {
		b.lg.Debug("data points dropped", "script", p.Spec.Ref.String(), "isolate", p.ID, "err", err)
	}
	w.WriteHeader(http.StatusNoContent) // whatever became of them
	return nil
}

// maxKey bounds what a rate limiting binding may send: a key as a JSON string.
const maxKey = 64 << 10

// rate counts a key of a rate limiting binding.
func (b *Border) rate(w http.ResponseWriter, r *http.Request, account atoll.AccountID, f *fields) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxKey+1))
	if err != nil {
		return fmt.Errorf("read key: %w", err)
	}
	var key string
	if len(body) > maxKey || json.Unmarshal(body, &key) != nil {
		return &dispatch.Exception{Name: "Error", Message: "the key of a rate limit is not valid, or too long"}
	}
	ok := b.Rate(account, f.NamespaceID, key, f.Simple, time.Now())
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"success":%v}`, ok)
	return nil
}
