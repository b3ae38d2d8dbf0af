// Package upload reads the upload of a script, in every form that clients give it, into one form.
//
// Cloudflare's API takes a script as multipart/form-data with a part "metadata" and a part for each module. Its clients
// disagree about nearly all of that: which of a part's two names is the module's, whether parts have content types,
// whether the metadata is one JSON part or a field for each leaf ("metadata[bindings][][type]"), and even whether the
// Content-Type header tells of the multipart at all. The requests in testdata were recorded from the real clients, and
// a test holds that all of them mean the same upload.
//
// The package checks whatever can be known from the request alone: the type of each field, the fields of each binding,
// sizes and counts. What takes the script's earlier versions, other scripts or storage to know is package deploy's.
// It does no I/O but reading the body, and nothing it returns is shared, so it needs no locks.
//
// Its invariant: no more than Limits allow is ever held in memory, and an error of a client's making is always a fault
// that names the part, the field or the binding at fault.
package upload

import (
	"encoding/json"
	"io"
	"net/http"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

// Upload is one uploaded script, or a change of an existing one's metadata.
type Upload struct {
	Metadata   Metadata
	Modules    []File
	HasModules bool // false: the code stays as it was (a PUT of metadata only)
}

// File is one uploaded module or source map.
type File struct {
	Name        string
	Type        atoll.ModuleType
	ContentType string // as uploaded; empty where the part had none
	Data        []byte
}

// Limits bound one upload. A zero field means the default.
type Limits struct {
	Body          int64 // bytes of the whole request, source maps included; default 100 MiB
	Metadata      int64 // bytes of the metadata; default 4 MiB
	Parts         int   // parts of the form, a bracketed field counting as one; default 10,000
	Modules       int   // modules and source maps; default 1,000
	Plain         int64 // bytes of all modules without source maps; default 64 MiB
	Compressed    int64 // the same, gzip-compressed; default 10 MiB
	Variables     int   // plain_text, json and secret bindings; default 128
	VariableBytes int   // bytes of the value of one of them; default 5 KiB
}

// WithDefaults returns l with its zero fields filled in.
func (l Limits) WithDefaults() Limits {
	def(&l.Body, 100<<20)
	def(&l.Metadata, 4<<20)
	def(&l.Parts, 10_000)
	def(&l.Modules, 1000)
	def(&l.Plain, 64<<20)
	def(&l.Compressed, 10<<20)
	def(&l.Variables, 128)
	def(&l.VariableBytes, 5<<10)
	return l
}

func def[T int | int64](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// Read reads the body of PUT scripts/{name} and POST scripts/{name}/versions. header may name the entry part, where
// the metadata does not.
func Read(contentType string, header http.Header, body io.Reader, lim Limits) (*Upload, error) {
	lim = lim.WithDefaults()
	f, err := readForm(contentType, body, "metadata", lim)
	if err != nil {
		return nil, err
	}
	if f.script != nil {
		return serviceWorker(f.script, lim)
	}
	raw, err := f.document()
	if err != nil {
		return nil, err
	}
	if raw == nil {
		return nil, noMetadata()
	}
	md, err := parseMetadata("metadata", raw, lim)
	if err != nil {
		return nil, err
	}
	entryFromHeader(md, header)
	return assemble(f, md, lim)
}

// ReadContent reads the body of PUT scripts/{name}/content: modules alone. The entry is named by the metadata or by the
// header CF-WORKER-MAIN-MODULE-PART or CF-WORKER-BODY-PART; all other metadata is left out, as the endpoint changes the
// code only.
func ReadContent(contentType string, header http.Header, body io.Reader, lim Limits) (*Upload, error) {
	lim = lim.WithDefaults()
	f, err := readForm(contentType, body, "metadata", lim)
	if err != nil {
		return nil, err
	}
	if f.script != nil {
		return serviceWorker(f.script, lim)
	}
	raw, err := f.document()
	if err != nil {
		return nil, err
	}
	md := &Metadata{}
	if raw != nil {
		full, err := parseMetadata("metadata", raw, lim)
		if err != nil {
			return nil, err
		}
		md.MainModule, md.BodyPart = full.MainModule, full.BodyPart
	}
	entryFromHeader(md, header)
	if len(f.parts) == 0 {
		return nil, fault.New(fault.Invalid, 10021, "no module was uploaded")
	}
	return assemble(f, md, lim)
}

// ReadSettings reads the body of PATCH scripts/{name}/settings and script-settings: a part "settings" of JSON, fields
// "settings[...]", or plain JSON with or without an object "settings" around it. A secret_text binding may come without
// its text, as GET settings returns it: its Secret is nil then and means the secret that is there.
func ReadSettings(contentType string, body io.Reader, lim Limits) (*Metadata, error) {
	lim = lim.WithDefaults()
	f, err := readForm(contentType, body, "settings", lim)
	if err != nil {
		return nil, err
	}
	raw, err := f.document()
	if err != nil {
		return nil, err
	}
	if raw == nil {
		return nil, fault.New(fault.Invalid, 10021, "could not read content for part settings")
	}
	return parseMetadata("settings", raw, lim)
}

// serviceWorker is the upload of a bare script: service-worker syntax, no metadata. Cloudflare's errors call such a
// script worker.js.
func serviceWorker(script []byte, lim Limits) (*Upload, error) {
	up := &Upload{
		Metadata:   Metadata{BodyPart: "worker.js"},
		Modules:    []File{{Name: "worker.js", Type: atoll.CommonJS, ContentType: "application/javascript", Data: script}},
		HasModules: true,
	}
	if err := checkSize(up.Modules, lim); err != nil {
		return nil, err
	}
	return up, nil
}

// entryFromHeader takes the entry's name from the request's header where the metadata names none
// (https://developers.cloudflare.com/api/resources/workers/subresources/scripts/subresources/content/methods/update/).
func entryFromHeader(md *Metadata, header http.Header) {
	if md.MainModule != "" || md.BodyPart != "" {
		return
	}
	if v := header.Get("CF-WORKER-MAIN-MODULE-PART"); v != "" {
		md.MainModule = v
		return
	}
	md.BodyPart = header.Get("CF-WORKER-BODY-PART")
}

func noMetadata() error {
	return fault.New(fault.Invalid, 10021, "could not read content for part metadata")
}

// document is the metadata or settings as one JSON object, nil where the request has none.
func (f *form) document() (json.RawMessage, error) {
	switch {
	case f.json != nil && len(f.fields) > 0:
		return nil, fault.Newf(fault.Invalid, 10021, "%s was sent both as a JSON part and as fields %s[...]", f.root, f.root)
	case len(f.fields) > 0:
		return unbracket(f.root, f.fields)
	}
	return f.json, nil
}
