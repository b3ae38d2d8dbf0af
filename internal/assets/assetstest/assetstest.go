// Package assetstest gives tests static assets that are deployed as a client deploys them, without a node. It is for tests
// alone, and knows nothing of how they are served.
//
// Its functions may be called from tests that run in parallel.
package assetstest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"mime/multipart"
	"sync"
	"testing"

	"atoll.dev/atoll/internal/assets"
	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/durable"
)

// Deploy stores files, by path, and returns them as the assets of a version.
func Deploy(t testing.TB, blobs *durable.Blobs, files map[string]string, config atoll.AssetsConfig) *atoll.Assets {
	t.Helper()
	ref := atoll.ScriptRef{Account: "0123456789abcdef0123456789abcdef", Name: "site"}
	uploads := assets.NewUploads(nil, &claims{own: map[string]atoll.AssetClaim{}}, blobs, []byte("key"), nil)
	manifest := map[string]any{}
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	for path, content := range files {
		sum := sha256.Sum256([]byte(content))
		hash := hex.EncodeToString(sum[:])
		manifest[path] = map[string]any{"hash": hash, "size": len(content)}
		if err := w.WriteField(hash, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{"manifest": manifest})
	if err != nil {
		t.Fatal(err)
	}
	s, err := uploads.Open(t.Context(), ref, body)
	if err != nil {
		t.Fatal(err)
	}
	token := s.Token
	if len(s.Buckets) > 0 {
		token, err = uploads.Upload(t.Context(), assets.Put{Account: ref.Account, Token: s.Token, ContentType: w.FormDataContentType(), Body: &form})
		if err != nil {
			t.Fatal(err)
		}
	}
	a, err := uploads.Redeem(t.Context(), ref, token)
	if err != nil {
		t.Fatal(err)
	}
	a.Config = config
	return a
}

// claims is an assets.Store of one script in memory.
type claims struct {
	mu  sync.Mutex
	own map[string]atoll.AssetClaim
}

// AssetClaims implements assets.Store.
func (c *claims) AssetClaims(_ context.Context, _ atoll.ScriptRef, names []string) (own, shared map[string]atoll.AssetClaim, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	own = map[string]atoll.AssetClaim{}
	for _, n := range names {
		if claim, ok := c.own[n]; ok {
			own[n] = claim
		}
	}
	return own, nil, nil
}

// PutAssetClaims implements assets.Store.
func (c *claims) PutAssetClaims(_ context.Context, _ atoll.ScriptRef, own, _ []atoll.AssetClaim) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, claim := range own {
		c.own[claim.Claim] = claim
	}
	return nil
}

// Namespace implements assets.Store; the script is in none.
func (c *claims) Namespace(context.Context, atoll.AccountID, atoll.NamespaceName) (atoll.Namespace, error) {
	return atoll.Namespace{}, nil
}
