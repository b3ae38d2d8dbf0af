package upload

import (
	"encoding/json"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

// Assets is the assets of an upload, metadata.assets
// (https://developers.cloudflare.com/workers/static-assets/direct-upload/#upload-script). What its configuration means,
// and whether it can, package assets knows.
type Assets struct {
	Token  string              // from the end of an upload session; empty: the files stay
	Config *atoll.AssetsConfig // nil: not sent
}

// assets takes the assets of a version.
func (d *document) assets() *Assets {
	raw, in := d.object("assets")
	if raw == nil {
		return nil
	}
	a := &Assets{Token: in.string("jwt")}
	config, inner := in.object("config")
	if config != nil {
		a.Config = inner.assetsConfig()
	}
	in.adopt(inner)
	d.adopt(in)
	return a
}

func (d *document) assetsConfig() *atoll.AssetsConfig {
	c := &atoll.AssetsConfig{
		HTMLHandling:     d.string("html_handling"),
		NotFoundHandling: d.string("not_found_handling"),
		BasePath:         d.string("base_path"),
		Headers:          d.string("_headers"),
		Redirects:        d.string("_redirects"),
	}
	if raw := d.take("run_worker_first"); raw != nil {
		if json.Unmarshal(raw, &c.WorkerFirst) != nil && json.Unmarshal(raw, &c.WorkerFirstRules) != nil {
			d.wrong("run_worker_first", "true, false or an array of strings")
		} else if c.WorkerFirstRules != nil && len(c.WorkerFirstRules) == 0 {
			d.err = fault.New(fault.Invalid, 10021, "No `run_worker_first` rules were provided; must provide at least 1 rule.")
		}
	}
	// What run_worker_first was called before, with the other sense.
	if direct := d.bool("serve_directly"); direct != nil && c.WorkerFirstRules == nil {
		c.WorkerFirst = c.WorkerFirst || !*direct
	}
	return c
}
