package node

import (
	"testing"

	"atoll.dev/atoll/internal/deploy"
	"atoll.dev/atoll/internal/upload"
)

// An upload that may bind what nobody looks for would be refused, one that is bound to what nobody serves be of no use.
func TestEveryServedResourceIsLookedFor(t *testing.T) {
	looked := (&node{}).resources()
	for _, typ := range deploy.ResourceTypes() {
		if _, ok := looked[typ]; ok != upload.Served(typ) {
			t.Errorf("bindings of type %s are served: %v, looked for: %v", typ, upload.Served(typ), ok)
		}
	}
}
