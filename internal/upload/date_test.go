package upload

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/internal/fault"
)

func TestCompatibilityDateIsNotInTheFuture(t *testing.T) {
	read := func(at time.Time) (*Metadata, error) {
		return parseMetadata("settings", json.RawMessage(`{"compatibility_date":"`+at.Format(time.DateOnly)+`"}`), Limits{})
	}
	now := time.Now().UTC()
	if md, err := read(now); err != nil || md.CompatibilityDate != now.Format(time.DateOnly) {
		t.Errorf("today: %v", err)
	}
	for _, later := range []time.Time{now.AddDate(0, 0, 2), now.AddDate(900, 0, 0)} { // tomorrow may be today by then
		_, err := read(later)
		f := fault.Of(err)
		if f == nil || f.Code != 10021 || !strings.HasPrefix(f.Message, "settings.compatibility_date cannot be in the future: "+later.Format(time.DateOnly)+" is after today") {
			t.Errorf("%v: %v", later, err)
		}
	}
}
