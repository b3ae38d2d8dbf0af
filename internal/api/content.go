package api

import (
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"slices"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

// getContent returns a script's code: the bytes of its one module, or a multipart form of several. Source maps are no
// modules. The header cf-entrypoint names the entry, as wrangler reads it.
func (a *API) getContent(q *request) (any, error) {
	s, err := a.script(q)
	if err != nil {
		return nil, err
	}
	v := s.Version
	if id := q.URL.Query().Get("version"); id != "" {
		want, err := atoll.ParseVersionID(id)
		if err != nil {
			return nil, err
		}
		if v, err = a.Store.Version(q.Context(), q.ref, want); err != nil {
			return nil, fmt.Errorf("find version: %w", err)
		}
	}
	if v == nil {
		return nil, fault.New(fault.NotFound, 10007, "This Worker has no deployed version.")
	}
	modules := slices.DeleteFunc(slices.Clone(v.Modules), func(m atoll.Module) bool { return m.Type == atoll.SourceMap })
	header := http.Header{"Etag": {`"` + v.Etag + `"`}, "Cf-Entrypoint": {v.MainModule + v.BodyPart}}
	switch len(modules) {
	case 0:
		return nil, fault.New(fault.NotFound, 10007, "This Worker has no code.")
	case 1:
		m := modules[0]
		return raw{contentType: contentType(m), header: header, size: m.Size, write: func(w io.Writer) error {
			return a.copyModule(w, m)
		}}, nil
	}
	boundary := atoll.NewID()
	return raw{contentType: "multipart/form-data; boundary=" + boundary, header: header, size: -1, write: func(w io.Writer) error {
		form := multipart.NewWriter(w)
		if err := form.SetBoundary(boundary); err != nil {
			return err
		}
		for _, m := range modules {
			part, err := form.CreatePart(textproto.MIMEHeader{
				"Content-Disposition": {multipart.FileContentDisposition(m.Name, m.Name)},
				"Content-Type":        {contentType(m)},
			})
			if err != nil {
				return err
			}
			if err := a.copyModule(part, m); err != nil {
				return err
			}
		}
		return form.Close()
	}}, nil
}

// contentType returns the type under which a module's code is shown: the uploaded one, or the plain one of its kind.
func contentType(m atoll.Module) string {
	if m.ContentType != "" {
		return m.ContentType
	}
	switch m.Type {
	case atoll.ESModule:
		return "application/javascript+module"
	case atoll.CommonJS:
		return "application/javascript"
	case atoll.Text:
		return "text/plain"
	case atoll.JSON:
		return "application/json"
	case atoll.Wasm:
		return "application/wasm"
	default:
		return "application/octet-stream"
	}
}

func (a *API) copyModule(w io.Writer, m atoll.Module) error {
	f, err := a.Blobs.Open(m.Hash)
	if err != nil {
		return fmt.Errorf("open module %s: %w", m.Name, err)
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}
