package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"unicode"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/wire"
)

// scriptPath is the path of a script under its account: in its dispatch namespace where it has one. The account of ref
// is not looked at, the client has one.
func scriptPath(ref atoll.ScriptRef, more ...string) string {
	if ref.Namespace != "" {
		return namespacePath(ref.Namespace, append([]string{"scripts", string(ref.Name)}, more...)...)
	}
	return path(append([]string{"workers", "scripts", string(ref.Name)}, more...)...)
}

// Scripts lists the scripts of a dispatch namespace, or the account's own where ns is empty. A filter is
// "customer:yes,beta:no", or empty.
func (c *Client) Scripts(ctx context.Context, ns atoll.NamespaceName, filter string) iter.Seq2[wire.ListedScript, error] {
	r := request{method: http.MethodGet, path: path("workers", "scripts")}
	if ns != "" {
		r.path = namespacePath(ns, "scripts")
	}
	if filter != "" {
		r.query = url.Values{"tags": {filter}}
	}
	return byCursor[wire.ListedScript](ctx, c, r)
}

// Script returns one script.
func (c *Client) Script(ctx context.Context, ref atoll.ScriptRef) (wire.Script, error) {
	if ref.Namespace != "" {
		s, err := doIn[wire.NamespaceScript](ctx, c, request{method: http.MethodGet, path: scriptPath(ref)})
		return s.Script, err
	}
	// GET of an account's script is its code; what it is, the service says.
	s, err := doIn[wire.Service](ctx, c, request{method: http.MethodGet, path: path("workers", "services", string(ref.Name))})
	return s.DefaultEnvironment.Script, err
}

// Settings returns a script's settings.
func (c *Client) Settings(ctx context.Context, ref atoll.ScriptRef) (wire.Settings, error) {
	return doIn[wire.Settings](ctx, c, request{method: http.MethodGet, path: scriptPath(ref, "settings")})
}

// Upload is a script to upload: its metadata (encoded as JSON) and its modules.
type Upload struct {
	Metadata any
	Files    []File
}

// File is one module of an Upload.
type File struct {
	Name        string // as other modules import it
	ContentType string
	Data        []byte
}

// Deploy uploads a script; once it returns, requests get the new version.
func (c *Client) Deploy(ctx context.Context, ref atoll.ScriptRef, up Upload) (wire.Upload, error) {
	body, ctype, err := up.encode()
	if err != nil {
		return wire.Upload{}, fmt.Errorf("encode upload of %s: %w", ref, err)
	}
	return doIn[wire.Upload](ctx, c, request{method: http.MethodPut, path: scriptPath(ref),
		query: url.Values{"excludeScript": {"true"}}, raw: body, ctype: ctype})
}

// DeleteScript deletes a script with its versions.
func (c *Client) DeleteScript(ctx context.Context, ref atoll.ScriptRef) error {
	return c.execIn(ctx, request{method: http.MethodDelete, path: scriptPath(ref)})
}

// DeleteScripts deletes the scripts of a dispatch namespace whose tags match the filter and returns their names.
func (c *Client) DeleteScripts(ctx context.Context, ns atoll.NamespaceName, filter string) ([]string, error) {
	var names []string
	for {
		res, err := doIn[wire.DeletedScripts](ctx, c, request{method: http.MethodDelete, path: namespacePath(ns, "scripts"),
			query: url.Values{"tags": {filter}}})
		if err != nil {
			return names, err
		}
		for _, d := range res.Deleted {
			names = append(names, d.ID)
		}
		if !res.HasMore || len(res.Deleted) == 0 {
			return names, nil
		}
	}
}

// encode writes the upload as multipart/form-data, the metadata first.
func (up Upload) encode() (body []byte, ctype string, err error) {
	meta, err := json.Marshal(up.Metadata)
	if err != nil {
		return nil, "", err
	}
	var buf bytes.Buffer
	w := multipart.NewWriter(&buf)
	files := append([]File{{Name: "metadata", ContentType: "application/json", Data: meta}}, up.Files...)
	for i, f := range files {
		if strings.ContainsFunc(f.Name, unicode.IsControl) {
			return nil, "", fault.Newf(fault.Invalid, 0, "the file name %q has control characters", f.Name)
		}
		disposition := fmt.Sprintf(`form-data; name="%s"`, quote(f.Name))
		if i > 0 {
			disposition += fmt.Sprintf(`; filename="%s"`, quote(f.Name))
		}
		part, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {disposition}, "Content-Type": {f.ContentType}})
		if err != nil {
			return nil, "", err
		}
		if _, err := part.Write(f.Data); err != nil {
			return nil, "", err
		}
	}
	if err := w.Close(); err != nil {
		return nil, "", err
	}
	return buf.Bytes(), w.FormDataContentType(), nil
}

// quote escapes a name for a quoted string of Content-Disposition (RFC 2183, section 2).
func quote(s string) string { return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) }
