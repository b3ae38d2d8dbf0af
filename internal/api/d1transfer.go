package api

import (
	"io"
	"net/http"
	"strings"

	"atoll.dev/atoll/internal/d1"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/wire"
)

// transferURL is where a client sends or fetches a file: with the token in the path, since it does so without its own.
func transferURL(q *request, d d1.Database, token string) string {
	scheme := "http"
	if q.TLS != nil || strings.EqualFold(q.Header.Get("X-Forwarded-Proto"), "https") {
		scheme = "https"
	}
	return scheme + "://" + q.Host + Prefix + "/accounts/" + string(q.account) + "/d1/database/" + string(d.ID) + "/transfer/" + token
}

// importDatabase is a step of an import, in the protocol of wrangler d1 execute --file:
// https://developers.cloudflare.com/d1/best-practices/import-export-data/
func (a *API) importDatabase(q *request) (any, error) {
	d, err := a.database(q)
	if err != nil {
		return nil, err
	}
	var in wire.D1Import
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	switch in.Action {
	case "init":
		token, err := a.D1.BeginImport(q.account, d.ID, in.Etag)
		if err != nil {
			return nil, err
		}
		return wire.D1Transfer{Success: true, Type: "import", Filename: token + ".sql", UploadURL: transferURL(q, d, token), Messages: []string{}}, nil
	case "ingest":
		p, err := a.D1.Import(q.Context(), q.account, d.ID, strings.TrimSuffix(in.Filename, ".sql"), in.Etag)
		return showImport(p), err
	case "poll":
		p, err := a.D1.Poll(q.Context(), q.account, d.ID, false, in.CurrentBookmark)
		return showImport(p), err
	}
	return nil, fault.New(fault.Invalid, 7400, `action must be "init", "ingest" or "poll"`)
}

// public is what of an error a client may see.
func public(err error) string {
	if f := fault.Of(err); f != nil && f.Kind != fault.Internal {
		return f.Message
	}
	return "An unknown error has occurred. The node's log has its cause."
}

func showImport(p d1.Progress) wire.D1Transfer {
	out := wire.D1Transfer{Success: true, Type: "import", Status: "active", Bookmark: p.Bookmark, Messages: []string{}}
	switch {
	case p.Err != nil:
		out.Status, out.Errors = "error", []string{public(p.Err)}
	case p.Done:
		out.Status = "complete"
		out.Result = &wire.D1TransferResult{FinalBookmark: p.Sum.Bookmark, NumQueries: p.Sum.Queries, Meta: &wire.D1Meta{ServedBy: "atoll",
			Duration: float64(p.Sum.Duration.Microseconds()) / 1000, Changes: p.Sum.Changes, ChangedDB: true, SizeAfter: p.Sum.Size,
			RowsRead: p.Sum.Read, RowsWritten: p.Sum.Written}}
	}
	return out
}

// exportDatabase begins an export, or tells how far one is.
func (a *API) exportDatabase(q *request) (any, error) {
	d, err := a.database(q)
	if err != nil {
		return nil, err
	}
	var in wire.D1Export
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if in.OutputFormat != "polling" {
		return nil, fault.New(fault.Invalid, 7400, `output_format must be "polling"`)
	}
	var p d1.Progress
	if in.CurrentBookmark != "" {
		p, err = a.D1.Poll(q.Context(), q.account, d.ID, true, in.CurrentBookmark)
	} else {
		p, err = a.D1.Export(q.Context(), q.account, d.ID, d1.ExportOptions{Tables: in.DumpOptions.Tables,
			NoSchema: in.DumpOptions.NoSchema, NoData: in.DumpOptions.NoData})
	}
	if err != nil {
		return nil, err
	}
	out := wire.D1Transfer{Success: true, Type: "export", Status: "active", Bookmark: p.Bookmark, Messages: []string{}}
	switch {
	case p.Err != nil:
		out.Status, out.Error = "error", public(p.Err)
	case p.Done:
		out.Status = "complete"
		out.Result = &wire.D1TransferResult{Filename: d.Name + ".sql", SignedURL: transferURL(q, d, p.Token)}
	}
	return out, nil
}

// putTransfer takes the file of an import.
func (a *API) putTransfer(q *request) (any, error) {
	etag, err := a.D1.Receive(q.account, d1.ID(q.path("database")), q.path("transfer"), q.Body)
	if err != nil {
		return nil, err
	}
	return raw{contentType: "text/plain", header: http.Header{"Etag": {`"` + etag + `"`}}, write: func(io.Writer) error { return nil }}, nil
}

// getTransfer sends the file of an export.
func (a *API) getTransfer(q *request) (any, error) {
	f, err := a.D1.Exported(q.account, d1.ID(q.path("database")), q.path("transfer"))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil || q.Method == http.MethodHead {
		f.Close()
	}
	if err != nil {
		return nil, err
	}
	return raw{contentType: "application/sql", size: info.Size(), write: func(w io.Writer) error {
		defer f.Close()
		_, err := io.Copy(w, f)
		return err
	}}, nil
}
