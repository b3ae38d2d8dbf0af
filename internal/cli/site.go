package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"atoll.dev/atoll/internal/client"
	"atoll.dev/atoll/internal/wire"
)

// siteFlags are the flags of `deploy`.
type siteFlags struct {
	deployFlags
	worker, binding    string
	html, notFound     string
	workerFirst        []string
	workerBeforeAssets bool
}

// siteCmd is `atoll deploy`: a folder of files, live by one command.
func siteCmd(r *remote) *cobra.Command {
	s, f := &scripts{remote: r}, &siteFlags{}
	cmd := &cobra.Command{
		Use: "deploy DIR", Short: "Deploy a site: a folder of files, with or without a Worker", Args: cobra.ExactArgs(1),
		Long: "Uploads the files of a folder and deploys them as a script's static assets: once this returns, every new request gets the\n" +
			"new site. Only files whose content the node does not have are uploaded.\n\n" +
			"In DIR, _headers and _redirects say how the files are served, and .assetsignore which are left out. With a Worker, which\n" +
			"is --worker or else _worker.js in DIR, requests that no file answers are the Worker's, and it reaches the files by\n" +
			"env.ASSETS.fetch().",
		Example: "  atoll deploy dist --namespace production --name alice\n" +
			"  atoll deploy dist --name shop --not-found-handling single-page-application\n" +
			"  atoll deploy public --name shop --worker src/index.js --kv CARTS=shop-carts --worker-first '/api/*'",
		RunE: s.run(func(ctx context.Context, c *client.Client, args []string) error {
			return s.deploySite(ctx, c, args[0], f)
		}),
	}
	cmd.PersistentFlags().StringVar(&s.namespace, "namespace", "", "`NAME` of the dispatch namespace (default: the account's own scripts)")
	fl := cmd.Flags()
	fl.StringVar(&f.name, "name", "", "`NAME` of the script (default: DIR's name; its parent's where that is dist or public)")
	fl.StringVar(&f.html, "html-handling", "", "`MODE` of paths and slashes: auto-trailing-slash (the default), force-trailing-slash, drop-trailing-slash, none")
	fl.StringVar(&f.notFound, "not-found-handling", "", "`MODE` for what is not there: none (the default), 404-page, single-page-application")
	fl.StringVar(&f.worker, "worker", "", "`FILE` of the Worker's main module (default: _worker.js in DIR, if there is one)")
	fl.StringVar(&f.binding, "assets-binding", "ASSETS", "`NAME` by which the Worker reaches the files")
	fl.StringArrayVar(&f.workerFirst, "worker-first", nil, "ask the Worker before the files for this `PATH`, such as /api/*; !PATH excepts")
	fl.BoolVar(&f.workerBeforeAssets, "all-worker-first", false, "ask the Worker before the files for everything")
	f.add(fl)
	return cmd
}

// deployed is what `deploy --json` prints.
type deployed struct {
	wire.Upload
	Files    int   `json:"files"`
	Size     int64 `json:"size"`
	Uploaded int   `json:"uploaded"`
}

func (s *scripts) deploySite(ctx context.Context, c *client.Client, dir string, f *siteFlags) error {
	name := f.name
	if name == "" {
		name = defaultName(filepath.Join(dir, "index"))
	}
	ref, err := s.ref(name)
	if err != nil {
		return hint(err, "choose a name with --name")
	}
	files, err := readSite(dir)
	if err != nil {
		return err
	}
	if f.worker == "" {
		f.worker = files.worker
	}
	up, err := f.upload(ctx, c, files)
	if err != nil {
		return err
	}
	session, err := c.BeginAssets(ctx, ref, files.manifest)
	if err != nil {
		return fmt.Errorf("begin upload: %w", err)
	}
	token, sent, err := s.send(ctx, c, files, session)
	if err != nil {
		return fmt.Errorf("upload files: %w", err)
	}
	f.setAssets(up.Metadata.(map[string]any), files, token)
	done, err := c.Deploy(ctx, ref, up)
	if err != nil {
		return err
	}
	if s.json {
		return printJSON(s.std.Out, deployed{done, len(files.manifest), files.size, sent})
	}
	return s.done(done, "Deployed %s as version %s: %d files (%s), %d uploaded", ref, done.DeploymentID, len(files.manifest), bytesOf(files.size), sent)
}

// upload is the script's, without its assets.
func (f *siteFlags) upload(ctx context.Context, c *client.Client, files *siteFiles) (client.Upload, error) {
	if f.worker == "" {
		if len(f.modules)+len(f.vars)+len(f.jsonVars)+len(f.kv)+len(f.r2)+len(f.services)+len(f.dispatch)+len(f.workerFirst) > 0 || f.workerBeforeAssets {
			return client.Upload{}, hint(&usageError{errors.New("modules, bindings and --worker-first are for a Worker, and there is none")}, "name its main module with --worker")
		}
		meta, err := f.meta(ctx, c, "")
		if err != nil {
			return client.Upload{}, err
		}
		for _, name := range []string{"main_module", "bindings", "keep_bindings"} { // with these it would keep its former code
			delete(meta, name)
		}
		return client.Upload{Metadata: meta}, nil
	}
	modules, err := readModules(f.worker, &f.deployFlags)
	if err != nil {
		return client.Upload{}, err
	}
	meta, err := f.meta(ctx, c, modules[0].Name)
	if err != nil {
		return client.Upload{}, err
	}
	if bindings, ok := meta["bindings"].([]any); ok && f.binding != "" {
		meta["bindings"] = append(bindings, map[string]any{"type": "assets", "name": f.binding})
	}
	return client.Upload{Metadata: meta, Files: modules}, nil
}

// setAssets puts the uploaded files into the metadata.
func (f *siteFlags) setAssets(meta map[string]any, files *siteFiles, token string) {
	config := map[string]any{}
	for name, value := range map[string]string{"html_handling": f.html, "not_found_handling": f.notFound, headersFile: files.headers, redirectsFile: files.redirects} {
		if value != "" {
			config[name] = value
		}
	}
	switch {
	case len(f.workerFirst) > 0:
		config["run_worker_first"] = f.workerFirst
	case f.workerBeforeAssets:
		config["run_worker_first"] = true
	}
	meta["assets"] = map[string]any{"jwt": token, "config": config}
}

// send uploads what is missing, a few requests at a time, and returns the token to deploy with and how many files went.
func (s *scripts) send(ctx context.Context, c *client.Client, files *siteFiles, session wire.AssetsUpload) (token string, sent int, err error) {
	if len(session.Buckets) == 0 {
		return session.JWT, 0, nil
	}
	size := map[string]int64{}
	for _, f := range files.manifest {
		size[f.Hash] = f.Size
	}
	total := int64(0)
	for _, bucket := range session.Buckets {
		for _, hash := range bucket {
			total += size[hash]
		}
		sent += len(bucket)
	}
	bar := newProgress(s.std.Err, total)
	defer bar.end()
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(3)
	for _, bucket := range session.Buckets {
		group.Go(func() error {
			content := make(map[string][]byte, len(bucket))
			bytes := int64(0)
			for _, hash := range bucket {
				b, err := os.ReadFile(files.byHash[hash])
				if err != nil {
					return err
				}
				content[hash] = b
				bytes += int64(len(b))
			}
			answer, err := c.UploadAssets(ctx, session.JWT, content)
			if err != nil {
				return err
			}
			bar.add(len(bucket), bytes)
			mu.Lock()
			defer mu.Unlock()
			if answer.JWT != "" {
				token = answer.JWT
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return "", 0, err
	}
	if token == "" {
		return "", 0, errors.New("the node did not say that the upload is complete")
	}
	return token, sent, nil
}
