package wire

import "encoding/json"

// D1Database is a database of D1.
type D1Database struct {
	UUID            string            `json:"uuid"`
	Name            string            `json:"name"`
	Version         string            `json:"version"` // "production"
	CreatedAt       Time              `json:"created_at"`
	FileSize        int64             `json:"file_size"`
	HistorySize     int64             `json:"history_size"` // Atoll's own: what time travel keeps
	NumTables       *int64            `json:"num_tables,omitempty"`
	LocationHint    string            `json:"primary_location_hint,omitempty"`
	Jurisdiction    string            `json:"jurisdiction,omitempty"`
	ReadReplication D1ReadReplication `json:"read_replication"`
}

// D1ReadReplication says whether a database has replicas: "disabled" on a node.
type D1ReadReplication struct {
	Mode string `json:"mode"`
}

// D1Create is the body that makes a database.
type D1Create struct {
	Name            string             `json:"name"`
	LocationHint    string             `json:"primary_location_hint,omitempty"`
	Jurisdiction    string             `json:"jurisdiction,omitempty"`
	ReadReplication *D1ReadReplication `json:"read_replication,omitempty"`
}

// D1Query is the body of a query: SQL of one or several statements, and the last one's parameters.
type D1Query struct {
	SQL    string `json:"sql"`
	Params []any  `json:"params,omitempty"`
}

// D1Result is what one statement answers, its rows as objects.
type D1Result struct {
	Results json.RawMessage `json:"results"`
	Success bool            `json:"success"`
	Meta    D1Meta          `json:"meta"`
}

// D1Raw is what one statement answers, its rows as arrays.
type D1Raw struct {
	Results struct {
		Columns []string            `json:"columns"`
		Rows    [][]json.RawMessage `json:"rows"`
	} `json:"results"`
	Success bool   `json:"success"`
	Meta    D1Meta `json:"meta"`
}

// D1Meta is what a statement has done.
type D1Meta struct {
	ServedBy    string  `json:"served_by"`
	Duration    float64 `json:"duration"` // in milliseconds
	Changes     int64   `json:"changes"`
	LastRowID   int64   `json:"last_row_id"`
	ChangedDB   bool    `json:"changed_db"`
	SizeAfter   int64   `json:"size_after"`
	RowsRead    int64   `json:"rows_read"`
	RowsWritten int64   `json:"rows_written"`
}

// D1Import is the body of a step of an import: "init", "ingest" or "poll".
type D1Import struct {
	Action          string `json:"action"`
	Etag            string `json:"etag,omitempty"`
	Filename        string `json:"filename,omitempty"`
	CurrentBookmark string `json:"current_bookmark,omitempty"`
}

// D1Export is the body of an export, and of asking how far it is.
type D1Export struct {
	OutputFormat    string        `json:"output_format"` // "polling"
	CurrentBookmark string        `json:"current_bookmark,omitempty"`
	DumpOptions     D1DumpOptions `json:"dump_options"`
}

// D1DumpOptions say what is exported.
type D1DumpOptions struct {
	NoSchema bool     `json:"no_schema,omitempty"`
	NoData   bool     `json:"no_data,omitempty"`
	Tables   []string `json:"tables,omitempty"`
}

// D1Transfer is how far an import or an export is.
type D1Transfer struct {
	Success   bool              `json:"success"`
	Type      string            `json:"type,omitempty"`   // "import" or "export"
	Status    string            `json:"status,omitempty"` // "active", "complete" or "error"
	Bookmark  string            `json:"at_bookmark,omitempty"`
	Filename  string            `json:"filename,omitempty"`   // of an import that begins
	UploadURL string            `json:"upload_url,omitempty"` // where its file is to be sent
	Messages  []string          `json:"messages"`
	Errors    []string          `json:"errors,omitempty"` // of an import
	Error     string            `json:"error,omitempty"`  // of an export
	Result    *D1TransferResult `json:"result,omitempty"`
}

// D1TransferResult is what an import has done, or where an export's file is.
type D1TransferResult struct {
	FinalBookmark string  `json:"final_bookmark,omitempty"`
	NumQueries    int64   `json:"num_queries,omitempty"`
	Meta          *D1Meta `json:"meta,omitempty"`
	Filename      string  `json:"filename,omitempty"`
	SignedURL     string  `json:"signed_url,omitempty"`
}

// D1Bookmark names a commit of a database.
type D1Bookmark struct {
	Bookmark string `json:"bookmark"`
}

// D1Restored is what a restore has done.
type D1Restored struct {
	Bookmark string `json:"bookmark"`          // of the database now
	Previous string `json:"previous_bookmark"` // of what it was, to undo it
	Message  string `json:"message"`
}
