package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/wire"
)

// BeginAssets begins an upload of a script's files, which need not exist. Its answer says which are missing, by hash.
func (c *Client) BeginAssets(ctx context.Context, ref atoll.ScriptRef, files map[string]wire.AssetsFile) (wire.AssetsUpload, error) {
	return doIn[wire.AssetsUpload](ctx, c, request{method: http.MethodPost, path: scriptPath(ref, "assets-upload-session"),
		body: wire.AssetsManifest{Manifest: files}})
}

// UploadAssets uploads files, by hash, of the upload that the token is of. The answer has a token to deploy with once
// nothing is missing.
func (c *Client) UploadAssets(ctx context.Context, token string, files map[string][]byte) (wire.AssetsUpload, error) {
	fields := make([]field, 0, len(files))
	for hash, content := range files {
		fields = append(fields, field{hash, content})
	}
	body, ctype, err := form(fields...)
	if err != nil {
		return wire.AssetsUpload{}, fmt.Errorf("encode files: %w", err)
	}
	return doIn[wire.AssetsUpload](ctx, c, request{method: http.MethodPost, path: path("workers", "assets", "upload"),
		query: url.Values{"base64": {"false"}}, raw: body, ctype: ctype, token: token})
}
