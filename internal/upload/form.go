package upload

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"

	"atoll.dev/atoll/internal/fault"
)

// form is a request body taken apart. It holds the document whose name is root ("metadata" or "settings") as JSON or as
// bracketed fields, and all other parts.
type form struct {
	root   string
	json   json.RawMessage
	fields []field
	parts  []part
	script []byte // the whole body, where it is one bare script; nil otherwise
	body   *bounded
}

// part is a part of the form that is not the document.
type part struct {
	name        string
	filename    string
	contentType string
	data        []byte
}

// readForm reads body by its content type, and by its first bytes where the content type misleads.
func readForm(contentType string, body io.Reader, root string, lim Limits) (*form, error) {
	f := &form{root: root, body: &bounded{r: body, left: lim.Body, max: lim.Body}}
	r := bufio.NewReaderSize(f.body, 4096)
	mt, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		mt = strings.ToLower(strings.TrimSpace(strings.SplitN(contentType, ";", 2)[0]))
	}
	boundary := params["boundary"]
	if mt != "multipart/form-data" || boundary == "" {
		// A body too short to look at is judged by what does read it.
		head, err := r.Peek(256)
		if err != nil && err != io.EOF {
			return nil, f.fail(err)
		}
		boundary = sniffBoundary(head)
	}
	switch {
	case boundary != "":
		return f, f.readMultipart(multipart.NewReader(r, boundary), lim)
	case mt == "multipart/form-data":
		return nil, fault.New(fault.Invalid, 10026, "could not parse the request body: multipart/form-data without a boundary")
	case root == "settings":
		return f, f.readSettings(r, lim)
	case isScriptType(mt):
		return f, f.readScript(r, lim)
	}
	return nil, fault.New(fault.Unsupported, 10001,
		"Content-Type must be one of: application/javascript, text/javascript, multipart/form-data")
}

// sniffBoundary returns the boundary of a multipart body by its first line, "" where head does not begin one. The
// TypeScript SDK 7 sends forms as application/javascript (cloudflare-typescript issue 2799). A script, too, may begin
// with "--", so a part's header must follow.
func sniffBoundary(head []byte) string {
	line, rest, found := bytes.Cut(head, []byte("\n"))
	line = bytes.TrimRight(line, " \t\r")
	b, dashes := bytes.CutPrefix(line, []byte("--"))
	const header = "content-"
	if !found || !dashes || len(b) == 0 || len(b) > 70 || len(rest) < len(header) ||
		!strings.EqualFold(string(rest[:len(header)]), header) {
		return ""
	}
	return string(b)
}

func isScriptType(mt string) bool { return mt == "application/javascript" || mt == "text/javascript" }

// readScript reads a body that is announced as JavaScript: a script, or the JSON that the TypeScript SDKs send under
// that name when an upload has no files. {"metadata": ...} is no JavaScript: a block's label cannot be a string.
func (f *form) readScript(r io.Reader, lim Limits) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return f.fail(err)
	}
	if !bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{")) || int64(len(b)) > lim.Metadata {
		f.script = b
		return nil
	}
	var body map[string]json.RawMessage
	if json.Unmarshal(b, &body) != nil || body["metadata"] == nil {
		f.script = b
		return nil
	}
	if files := bytes.TrimSpace(body["files"]); len(files) > 0 && string(files) != "null" && string(files) != "[]" && string(files) != "{}" {
		return fault.New(fault.Invalid, 10021, "files must be parts of a multipart/form-data body, not JSON")
	}
	f.json = body["metadata"]
	return nil
}

// readSettings reads a settings document that is the whole body.
func (f *form) readSettings(r io.Reader, lim Limits) error {
	b, err := io.ReadAll(io.LimitReader(r, lim.Metadata+1))
	if err != nil {
		return f.fail(err)
	}
	if int64(len(b)) > lim.Metadata {
		return tooLarge("settings", lim.Metadata)
	}
	var body map[string]json.RawMessage
	if json.Unmarshal(b, &body) != nil {
		return fault.New(fault.Invalid, 10026, "could not parse the request body: settings must be a JSON object")
	}
	f.json = b
	if inner := bytes.TrimSpace(body["settings"]); len(body) == 1 && len(inner) > 0 && inner[0] == '{' {
		f.json = inner
	}
	return nil
}

// readMultipart sorts the parts of the form, in whatever order they come (RFC 7578).
func (f *form) readMultipart(mr *multipart.Reader, lim Limits) error {
	document, plain := int64(0), int64(0)
	for n := 0; ; n++ {
		// Raw: a Content-Transfer-Encoding must not change a module's bytes (RFC 7578, 4.7 deprecates it).
		mp, err := mr.NextRawPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return f.fail(err)
		}
		if n >= lim.Parts {
			return fault.Newf(fault.Invalid, 10021, "the form has too many parts: at most %d are allowed", lim.Parts)
		}
		p, err := partHeader(mp.Header)
		if err != nil {
			return err
		}
		if f.isDocument(p) {
			if document, err = f.addDocument(p, mp, document, lim); err != nil {
				return err
			}
			continue
		}
		if plain, err = f.addPart(p, mp, plain, lim); err != nil {
			return err
		}
	}
}

func (f *form) isDocument(p part) bool {
	return p.name == f.root || p.filename == "" && strings.HasPrefix(p.name, f.root+"[")
}

// addDocument reads the document or one bracketed field of it; size is the document's so far.
func (f *form) addDocument(p part, r io.Reader, size int64, lim Limits) (int64, error) {
	b, err := io.ReadAll(io.LimitReader(r, lim.Metadata-size+1))
	if err != nil {
		return 0, f.fail(err)
	}
	size += int64(len(b)) + int64(len(p.name))
	if size > lim.Metadata {
		return 0, tooLarge(f.root, lim.Metadata)
	}
	if p.name != f.root {
		f.fields = append(f.fields, field{name: p.name, value: string(b)})
		return size, nil
	}
	if f.json != nil {
		return 0, fault.Newf(fault.Invalid, 10021, "the part %s was sent twice", f.root)
	}
	f.json = append(json.RawMessage{}, b...)
	return size, nil
}

// addPart reads a module or source map; plain is what the modules before it add up to.
func (f *form) addPart(p part, r io.Reader, plain int64, lim Limits) (int64, error) {
	if len(f.parts) >= lim.Modules {
		return 0, fault.Newf(fault.Invalid, 10021, "too many modules: at most %d are allowed", lim.Modules)
	}
	if !isSourceMap(p) {
		r = io.LimitReader(r, lim.Plain-plain+1)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return 0, f.fail(err)
	}
	if !isSourceMap(p) {
		if plain += int64(len(b)); plain > lim.Plain {
			return 0, scriptTooLarge(lim.Plain, "before compression")
		}
	}
	p.data = b
	f.parts = append(f.parts, p)
	return plain, nil
}

// partHeader reads a part's names and type. mime/multipart's own FileName keeps only the last element of a path, and
// wrangler's modules are called "./<hash>-note.txt" and "lib/answer.mjs".
func partHeader(h textproto.MIMEHeader) (part, error) {
	_, params, err := mime.ParseMediaType(h.Get("Content-Disposition"))
	if err != nil || params["name"] == "" && params["filename"] == "" {
		return part{}, fault.New(fault.Invalid, 10026, "could not parse the request body: a part has no name")
	}
	p := part{
		name:        unescapeName.Replace(params["name"]),
		filename:    unescapeName.Replace(params["filename"]),
		contentType: h.Get("Content-Type"),
	}
	// A map of files that are strings, in brackets: its keys are the modules' names.
	if inner, ok := strings.CutPrefix(p.name, "files["); ok && p.filename == "" && len(inner) > 1 {
		p.name = strings.TrimSuffix(inner, "]")
	}
	return p, nil
}

// unescapeName undoes what browsers and their kin do to names
// (https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data).
var unescapeName = strings.NewReplacer("%22", `"`, "%0D", "\r", "%0A", "\n")

// bounded fails once more than max bytes were read, instead of ending early as io.LimitReader does. It remembers the
// error that ended it, because net/textproto, on the way up, makes a syntax error of one in the middle of a header.
type bounded struct {
	r         io.Reader
	left, max int64
	err       error // nil or io.EOF while all is well
}

func (b *bounded) Read(p []byte) (n int, err error) {
	if b.err != nil {
		return 0, b.err
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, b.err = b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		n, b.err = 0, fault.Newf(fault.TooLarge, 10027, "the request body exceeds the size limit of %s", mega(b.max))
	}
	return n, b.err
}

// fail makes a fault of a failure to read the body: one of its size, or one that is the client's in any case, bytes
// that are no multipart form or a connection that ended early.
func (f *form) fail(err error) error {
	if f.body.err != nil && f.body.err != io.EOF {
		err = f.body.err
	}
	if fault.Of(err) != nil {
		return err
	}
	var max *http.MaxBytesError
	if errors.As(err, &max) {
		return fault.Newf(fault.TooLarge, 10027, "the request body exceeds the size limit of %s", mega(max.Limit))
	}
	return fault.New(fault.Invalid, 10026, "could not parse the request body: it is cut short or is no multipart form")
}

func tooLarge(root string, max int64) error {
	return fault.Newf(fault.TooLarge, 10027, "%s exceeds the size limit of %s", root, mega(max))
}
