package wire

import "encoding/json"

// D1Database is a database of D1.
type D1Database struct {
	UUID            string            `json:"uuid"`
	Name            string            `json:"name"`
	Version         string            `json:"version"` // "production"
	CreatedAt       Time              `json:"created_at"`
	FileSize        int64             `json:"file_size"`
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
