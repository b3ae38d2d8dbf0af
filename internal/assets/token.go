package assets

import (
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

// tokenLife is how long a session and what completes it are good for.
// https://developers.cloudflare.com/workers/static-assets/direct-upload/
const tokenLife = time.Hour

// The purposes of a token: one is never taken for the other.
const (
	forUpload = "assets-upload"
	forDeploy = "assets-deploy"
)

// claims are what a token says. All of it is signed, and nothing of it is secret.
type claims struct {
	jwt.RegisteredClaims        // Subject is the purpose
	Account              string `json:"account_id"`
	Namespace            string `json:"dispatch_namespace,omitempty"`
	NamespaceID          string `json:"dispatch_namespace_id,omitempty"` // so that a namesake made meanwhile is another
	Script               string `json:"script_name"`
	Manifest             string `json:"manifest"` // the blob of the client's manifest (upload), or of the resolved one (deploy)
	Files                int    `json:"files"`
	Size                 int64  `json:"size"`
}

func (c *claims) ref() atoll.ScriptRef {
	return atoll.ScriptRef{Account: atoll.AccountID(c.Account), Namespace: atoll.NamespaceName(c.Namespace), Name: atoll.ScriptName(c.Script)}
}

// sign makes a token of c.
func (u *Uploads) sign(purpose string, c claims) (string, error) {
	now := u.now()
	c.RegisteredClaims = jwt.RegisteredClaims{Subject: purpose, IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(tokenLife))}
	s, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(u.key)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return s, nil
}

// verify reads a token of ours that has not expired. Its refusals are faults of the given kind and code.
func (u *Uploads) verify(purpose, token string, kind fault.Kind, code int) (*claims, error) {
	var c claims
	_, err := jwt.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return u.key, nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Name}), jwt.WithExpirationRequired(), jwt.WithTimeFunc(u.now))
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return nil, fault.New(kind, code, "the assets token has expired: tokens are good for one hour; start a new upload session")
	case err != nil:
		return nil, fault.New(kind, code, "the assets token is not valid")
	case c.Subject == purpose:
		return &c, nil
	case c.Subject == forUpload:
		return nil, fault.New(kind, code, "this is the token of an upload session: the token to deploy with comes when all files were uploaded")
	}
	return nil, fault.New(kind, code, "this token is to deploy with, not to upload with")
}
