package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/client"
	"atoll.dev/atoll/internal/fault"
)

// compatibilityDate is what `script deploy` sends unless told otherwise: a date that the pinned workerd knows. It is not
// today's, which would change a Worker's behaviour without a change of its code, and which workerd may be too old for.
const compatibilityDate = "2026-11-01"

// deployFlags are the flags of `script deploy`.
type deployFlags struct {
	name, date, metadata, message          string
	modules, flags, tags, keep             []string
	vars, jsonVars                         []string
	kv, r2, d1, queues, services, dispatch []string
	outbound, stored                       []string
	serviceWorker                          bool
}

func deployCmd(s *scripts) *cobra.Command {
	f := &deployFlags{}
	cmd := &cobra.Command{
		Use: "deploy FILE", Short: "Deploy a script", Args: cobra.ExactArgs(1),
		Long: "Uploads a script and deploys it: once this returns, every new request gets the new version. A script that fails to start\n" +
			"is refused with JavaScript's message, and the version before keeps serving.\n\n" +
			"FILE is the main module. What it imports is uploaded with --module, under its path from FILE's directory. The kind of a\n" +
			"module is by its extension: .js and .mjs ES module, .cjs CommonJS, .json JSON, .wasm WebAssembly, .map source map,\n" +
			".txt .html .css .svg .md .sql text, all else data. Nothing is bundled: for npm packages use wrangler.",
		Example: "  atoll script deploy hello.js --namespace production --tag customer-1\n" +
			"  atoll script deploy src/index.js --name shop --module src/page.html --kv CARTS=shop-carts\n" +
			"  atoll script deploy dispatcher.js --dispatch DISPATCHER=production --outbound DISPATCHER=guard:customer_context",
		RunE: s.run(func(ctx context.Context, c *client.Client, args []string) error {
			return s.deploy(ctx, c, args[0], f)
		}),
	}
	fl := cmd.Flags()
	fl.StringVar(&f.name, "name", "", "`NAME` of the script (default: FILE's name; its folder's where that is index or worker)")
	f.add(fl)
	fl.BoolVar(&f.serviceWorker, "service-worker", false, "FILE is a script of the old form, with addEventListener")
	return cmd
}

// add adds the flags that every deploy of a Worker has.
func (f *deployFlags) add(fl *pflag.FlagSet) {
	fl.StringArrayVar(&f.modules, "module", nil, "upload this `PATH` too: a file, or all files of a folder")
	fl.StringArrayVar(&f.tags, "tag", nil, "give it this `TAG`; replaces the tags it has")
	fl.StringArrayVar(&f.vars, "var", nil, "binding to a text: `NAME=TEXT`")
	fl.StringArrayVar(&f.jsonVars, "json-var", nil, "binding to a JSON value: `NAME=JSON`")
	fl.StringArrayVar(&f.d1, "d1", nil, "binding to a D1 database: `NAME=DATABASE`, its name or its id")
	fl.StringArrayVar(&f.kv, "kv", nil, "binding to a KV namespace: `NAME=TITLE`, or its id")
	fl.StringArrayVar(&f.queues, "queue", nil, "binding to a queue: `NAME=QUEUE`")
	fl.StringArrayVar(&f.r2, "r2", nil, "binding to an R2 bucket: `NAME=BUCKET`")
	fl.StringArrayVar(&f.stored, "stored-secret", nil, "binding to a secret of a secrets store: `NAME=STORE/SECRET`")
	fl.StringArrayVar(&f.services, "service", nil, "binding to another script: `NAME=SCRIPT`")
	fl.StringArrayVar(&f.dispatch, "dispatch", nil, "binding to a dispatch namespace: `NAME=NAMESPACE`")
	fl.StringArrayVar(&f.outbound, "outbound", nil, "what the customers of --dispatch NAME fetch goes to that Worker: `NAME=SCRIPT[:PARAMETER,...]`")
	fl.StringArrayVar(&f.keep, "keep", []string{"secret_text", "secret_key"}, "keep the bindings of this `TYPE` that it has")
	fl.StringVar(&f.date, "compatibility-date", compatibilityDate, "`DATE` whose runtime behaviour it gets")
	fl.StringArrayVar(&f.flags, "compatibility-flag", nil, "`FLAG` of the runtime, such as nodejs_compat")
	fl.StringVar(&f.message, "message", "", "`TEXT` to remember the version by")
	fl.StringVar(&f.metadata, "metadata", "", "JSON `FILE` with more upload metadata: limits, observability, bindings of other types")
}

func (s *scripts) deploy(ctx context.Context, c *client.Client, file string, f *deployFlags) error {
	name := f.name
	if name == "" {
		name = defaultName(file)
	}
	ref, err := s.ref(name)
	if err != nil {
		return hint(err, "choose a name with --name")
	}
	files, err := readModules(file, f)
	if err != nil {
		return err
	}
	meta, err := f.meta(ctx, c, files[0].Name)
	if err != nil {
		return err
	}
	up, err := c.Deploy(ctx, ref, client.Upload{Metadata: meta, Files: files})
	if f := fault.Of(err); f != nil && f.Code == 10021 {
		return hint(err, "nothing was deployed; the version before, if there is one, keeps serving")
	}
	if err != nil {
		return err
	}
	return s.done(up, "Deployed %s as version %s (started in %d ms)", ref, up.DeploymentID, up.StartupTimeMs)
}

// defaultName takes a script's name from its file, or from the first folder above it that has a name of its own.
func defaultName(file string) string {
	abs, err := filepath.Abs(file)
	if err != nil {
		abs = file
	}
	name := strings.TrimSuffix(filepath.Base(abs), filepath.Ext(abs))
	dir := filepath.Dir(abs)
	for slices.Contains([]string{"index", "worker", "main", "src", "dist", "public", "build", "out"}, name) && dir != filepath.Dir(dir) {
		name, dir = filepath.Base(dir), filepath.Dir(dir)
	}
	return name
}

// readModules reads the main module, which comes first, and the others.
func readModules(file string, f *deployFlags) ([]client.File, error) {
	base := filepath.Dir(file)
	main, err := readModule(base, file)
	if err != nil {
		return nil, err
	}
	switch ext := filepath.Ext(file); {
	case f.serviceWorker:
		main.ContentType = "application/javascript"
	case ext != ".js" && ext != ".mjs":
		return nil, hint(fmt.Errorf("%s is not a JavaScript file", file), "FILE is the main module, .js or .mjs; TypeScript is wrangler's: 'npx wrangler deploy'")
	}
	files := []client.File{main}
	for _, path := range f.modules {
		err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || sameFile(p, file) {
				return err
			}
			m, err := readModule(base, p)
			files = append(files, m)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read modules: %w", err)
		}
	}
	return files, nil
}

func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

func readModule(base, file string) (client.File, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return client.File{}, fmt.Errorf("read module: %w", err)
	}
	name, err := filepath.Rel(base, file)
	if err != nil || strings.HasPrefix(name, "..") {
		return client.File{}, hint(fmt.Errorf("module %s is outside %s", file, base), "a module's name is its path from the main module's folder: move it there")
	}
	return client.File{Name: filepath.ToSlash(name), ContentType: moduleType(name), Data: data}, nil
}

// moduleType is the content type that tells the API the kind of a module (contract of the upload: "Module content
// types").
func moduleType(name string) string {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".js", ".mjs":
		return "application/javascript+module"
	case ".cjs":
		return "application/javascript"
	case ".json":
		return "application/json"
	case ".wasm":
		return "application/wasm"
	case ".map":
		return "application/source-map"
	case ".txt", ".html", ".css", ".svg", ".md", ".sql":
		return "text/plain"
	}
	return "application/octet-stream"
}

// meta is the upload's metadata: that of --metadata, then what the flags say.
func (f *deployFlags) meta(ctx context.Context, c *client.Client, main string) (map[string]any, error) {
	keep := slices.DeleteFunc(slices.Clone(f.keep), func(t string) bool { return t == "" }) // --keep= is "keep none"
	meta := map[string]any{"compatibility_date": f.date, "keep_bindings": keep}
	var bindings []any
	if f.metadata != "" {
		more, err := readMetadata(f.metadata)
		if err != nil {
			return nil, err
		}
		if b, ok := more["bindings"].([]any); ok {
			bindings = b
		}
		maps.Copy(meta, more)
	}
	if f.serviceWorker {
		meta["body_part"] = main
	} else {
		meta["main_module"] = main
	}
	if len(f.flags) > 0 {
		meta["compatibility_flags"] = f.flags
	}
	if len(f.tags) > 0 {
		meta["tags"] = f.tags
	}
	if f.message != "" {
		meta["annotations"] = map[string]string{"workers/message": f.message}
	}
	own, err := f.bindings(ctx, c)
	meta["bindings"] = append(bindings, own...)
	return meta, err
}

func readMetadata(file string) (map[string]any, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read metadata: %w", err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("read metadata of %s: %w", file, err)
	}
	return m, nil
}

// bindings are the bindings that flags ask for.
func (f *deployFlags) bindings(ctx context.Context, c *client.Client) ([]any, error) {
	out := []any{}
	for _, kind := range []struct {
		flag   string
		values []string
		make   func(value string) (map[string]any, error)
	}{
		{"var", f.vars, func(v string) (map[string]any, error) {
			return map[string]any{"type": "plain_text", "text": v}, nil
		}},
		{"json-var", f.jsonVars, jsonBinding},
		{"kv", f.kv, func(v string) (map[string]any, error) {
			ns, err := kvNamespace(ctx, c, v)
			return map[string]any{"type": "kv_namespace", "namespace_id": ns.ID}, err
		}},
		{"d1", f.d1, func(v string) (map[string]any, error) {
			d, err := c.Database(ctx, v)
			return map[string]any{"type": "d1", "id": d.UUID}, err
		}},
		{"queue", f.queues, func(v string) (map[string]any, error) {
			return map[string]any{"type": "queue", "queue_name": v}, nil // the API says whether it is there
		}},
		{"r2", f.r2, func(v string) (map[string]any, error) {
			return map[string]any{"type": "r2_bucket", "bucket_name": v}, nil
		}},
		{"stored-secret", f.stored, func(v string) (map[string]any, error) { return storedSecretBinding(ctx, c, v) }},
		{"service", f.services, func(v string) (map[string]any, error) {
			name, err := atoll.ParseScriptName(v)
			return map[string]any{"type": "service", "service": name}, err
		}},
		{"dispatch", f.dispatch, func(v string) (map[string]any, error) {
			name, err := atoll.ParseNamespaceName(v)
			return map[string]any{"type": "dispatch_namespace", "namespace": name}, err
		}},
	} {
		for _, arg := range kind.values {
			name, value, ok := strings.Cut(arg, "=")
			if !ok || name == "" {
				return nil, hint(&usageError{fmt.Errorf("--%s %s has no NAME=", kind.flag, arg)}, "the Worker sees it as env.NAME: --%s NAME=%s", kind.flag, arg)
			}
			b, err := kind.make(value)
			if err != nil {
				return nil, fmt.Errorf("--%s %s: %w", kind.flag, arg, err)
			}
			b["name"] = name
			out = append(out, b)
		}
	}
	return out, f.outbounds(out)
}

// outbounds gives dispatch bindings the outbound Workers that flags ask for.
func (f *deployFlags) outbounds(bindings []any) error {
	for _, arg := range f.outbound {
		name, value, _ := strings.Cut(arg, "=")
		i := slices.IndexFunc(bindings, func(b any) bool {
			m := b.(map[string]any)
			return m["name"] == name && m["type"] == "dispatch_namespace"
		})
		if i < 0 {
			return hint(&usageError{fmt.Errorf("--outbound %s is for no --dispatch", arg)}, "name the binding: --dispatch NAME=NAMESPACE --outbound NAME=SCRIPT")
		}
		script, list, _ := strings.Cut(value, ":")
		worker, err := atoll.ParseScriptName(script)
		if err != nil {
			return fmt.Errorf("--outbound %s: %w", arg, err)
		}
		params := []map[string]string{}
		for p := range strings.SplitSeq(list, ",") {
			if p != "" {
				params = append(params, map[string]string{"name": p})
			}
		}
		bindings[i].(map[string]any)["outbound"] = map[string]any{"worker": map[string]any{"service": worker}, "params": params}
	}
	return nil
}

func jsonBinding(value string) (map[string]any, error) {
	if !json.Valid([]byte(value)) {
		return nil, hint(&usageError{errors.New("the value is not JSON")}, "a text in JSON has quotes: --json-var 'NAME=\"text\"'; for plain text use --var")
	}
	return map[string]any{"type": "json", "json": json.RawMessage(value)}, nil
}
