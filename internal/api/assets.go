package api

import (
	"fmt"
	"io"
	"strings"

	"atoll.dev/atoll/internal/assets"
	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/wire"
)

// postAssetsSession begins an upload of the files of a script's assets. The script need not exist.
func (a *API) postAssetsSession(q *request) (any, error) {
	body, err := io.ReadAll(io.LimitReader(q.Body, assets.MaxManifest+1))
	if err != nil {
		return nil, fault.New(fault.Invalid, 10026, "the request body could not be read")
	}
	if len(body) > assets.MaxManifest {
		return nil, fault.Newf(fault.TooLarge, 10026, "the request body is larger than %d bytes", assets.MaxManifest)
	}
	s, err := a.Assets.Open(q.Context(), q.ref, body)
	if err != nil {
		return nil, err
	}
	return wire.AssetsUpload{JWT: s.Token, Buckets: s.Buckets}, nil
}

// serveSession runs the handler of a route whose caller has no token of the API but one of an upload session, which names
// its account.
func (a *API) serveSession(rt endpoint, q *request) (any, error) {
	s, _ := q.param("account")
	account, err := atoll.ParseAccountID(s)
	if err != nil {
		return nil, noObject(q.Request)
	}
	q.account = account
	return rt.do(a, q)
}

// postAssets takes files of an upload session. The request that brings the last is answered with 201 and the token to
// deploy with, others with 202.
func (a *API) postAssets(q *request) (any, error) {
	scheme, token, _ := strings.Cut(q.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		token = ""
	}
	done, err := a.Assets.Upload(q.Context(), assets.Put{Account: q.account, Token: strings.TrimSpace(token),
		ContentType: q.Header.Get("Content-Type"), Body: q.Body, Base64: q.URL.Query().Get("base64") == "true"})
	if err != nil {
		return nil, err
	}
	if done == "" {
		return accepted{wire.AssetsUpload{}}, nil
	}
	return created{wire.AssetsUpload{JWT: done}}, nil
}

// withWarnings adds what is ignored of a version's assets' configuration to the result of its upload.
func withWarnings(result any, v *atoll.Version) (any, error) {
	warnings, err := assets.Check(v)
	if err != nil {
		return nil, fmt.Errorf("check assets: %w", err)
	}
	if len(warnings) == 0 {
		return result, nil
	}
	out := warned{result: result}
	for _, w := range warnings {
		out.messages = append(out.messages, wire.Message{Message: w.String()})
	}
	return out, nil
}
