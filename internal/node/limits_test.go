package node

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/upload"
)

// A limit that nobody is told of would be one in name only.
func TestEveryLimitIsGivenToSomePart(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(b)
	}
	typ := reflect.TypeFor[atoll.NodeLimits]()
	for i, limit := range atoll.AllNodeLimits() {
		name := typ.Field(i).Name
		used := strings.Contains(source.String(), "l."+name) || strings.Contains(source.String(), "Limits."+name)
		if used == limit.Soon {
			t.Errorf("%s is used: %v, is still to come: %v", name, used, limit.Soon)
		}
	}
}

func TestUploadsHaveOneSetOfDefaults(t *testing.T) {
	if diff := cmp.Diff(upload.Limits{}.WithDefaults(), uploadLimits(atoll.DefaultLimits()).WithDefaults()); diff != "" {
		t.Error(diff)
	}
}
