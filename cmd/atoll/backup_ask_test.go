package main

import (
	"database/sql"
	"io"
	"net/http"
	"path/filepath"
	"time"
)

// countPoints counts the points of Analytics Engine in the node's file: nothing else reads them yet.
func (f *filled) countPoints(data string) (n int) {
	f.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(data, "analytics.db")+"?mode=ro&_pragma=busy_timeout(10000)")
	if err != nil {
		f.t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("SELECT count(*) FROM points WHERE index1 = 'backed-up' AND double1 BETWEEN 0 AND 2").Scan(&n); err != nil {
		f.t.Fatal(err)
	}
	return n
}

// waitPoints waits until there are so many at least: they are written once a second.
func (f *filled) waitPoints(data string, want int) {
	f.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		n := f.countPoints(data)
		if n >= want {
			return
		}
		if time.Now().After(end) {
			f.t.Fatalf("%d points, not %d", n, want)
		}
	}
}

// call makes a call of the API.
func (f *filled) call(method, url, ctype string, body io.Reader) (int, string) {
	f.t.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", f.node.auth)
	req.Header.Set("Content-Type", ctype)
	return f.send(req)
}

// send returns the status and the body of an answer.
func (f *filled) send(req *http.Request) (int, string) {
	f.t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}
