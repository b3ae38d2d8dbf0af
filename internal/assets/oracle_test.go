package assets

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"atoll.dev/atoll/internal/atoll"
)

// oracleCase is a case of assets-html-handling.json: a GET of RequestPath ends, after redirects, at FinalPath with
// MatchedFile, or with 404.
type oracleCase struct {
	Title       string   `json:"title"`
	Files       []string `json:"files"`
	RequestPath string   `json:"requestPath"`
	MatchedFile string   `json:"matchedFile"`
	FinalPath   string   `json:"finalPath"`
}

// TestOracle holds what Cloudflare's asset Worker answers for each html_handling, by data that is not part of the project:
// ATOLL_ORACLES names its folder.
func TestOracle(t *testing.T) {
	dir := os.Getenv("ATOLL_ORACLES")
	if dir == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("ATOLL_ORACLES is not set")
		}
		t.Skip("ATOLL_ORACLES is not set")
	}
	data, err := os.ReadFile(filepath.Join(dir, "assets-html-handling.json"))
	if err != nil {
		t.Fatal(err)
	}
	var groups map[string][]struct {
		HTMLHandling string       `json:"html_handling"`
		Cases        []oracleCase `json:"cases"`
	}
	if err := json.Unmarshal(data, &groups); err != nil {
		t.Fatal(err)
	}
	r, n := newRig(t, Options{}), 0
	for kind, list := range groups {
		for _, g := range list {
			for _, c := range g.Cases {
				n++
				checkOracle(r, kind+" "+g.HTMLHandling+" "+c.Title, g.HTMLHandling, c)
			}
		}
	}
	if n < 196 {
		t.Errorf("only %d cases", n)
	}
}

func checkOracle(r *rig, title, mode string, c oracleCase) {
	r.t.Helper()
	files := map[string]string{}
	for _, f := range c.Files {
		files[f] = "content of " + f
	}
	site := r.site(files, atoll.AssetsConfig{HTMLHandling: mode})
	path := c.RequestPath
	for range 5 {
		a := r.ask(site, http.MethodGet, path)
		switch {
		case a.status == http.StatusTemporaryRedirect && c.RequestPath != c.FinalPath:
			path = a.header.Get("Location")
			continue
		case c.MatchedFile == "" && a.status == http.StatusNotFound:
		case c.MatchedFile != "" && a.status == http.StatusOK && a.body == "content of "+c.MatchedFile && path == c.FinalPath:
		default:
			r.t.Errorf("%s: GET %s is %d %q at %s", title, c.RequestPath, a.status, a.body, path)
		}
		return
	}
	r.t.Errorf("%s: GET %s redirects for ever", title, c.RequestPath)
}
