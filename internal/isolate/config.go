package isolate

import (
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/hop"
	"atoll.dev/atoll/internal/workerd"
)

// Spec is what a process runs.
type Spec struct {
	Ref     atoll.ScriptRef
	Version *atoll.Version
	Load    func(hash string) ([]byte, error) // reads a module's bytes
	Memory  int                               // of the isolate, in MiB; 0: as the Factory's Options say
	Jitless bool                              // no machine code made at run time, and so no WebAssembly

	Classes  []atoll.Class // whose instances are Durable Objects
	Volatile bool          // what they store is lost with the process
}

// V8Flags are those of every process whose isolate may use so many MiB. Single-threaded, so that CPU time cannot pass
// faster than wall time. With a heap that is bounded as a whole, and small generations to begin with: V8 collects a
// generation when it is full, and until then a busy hello-world Worker grows to 200 MiB, with these flags to 76 at the most.
func V8Flags(memory int) []string {
	return []string{"--single-threaded", fmt.Sprintf("--max-heap-size=%d", memory), "--initial-old-space-size=1", "--max-semi-space-size=2"}
}

func (s Spec) v8Flags() []string {
	flags := append(V8Flags(s.Memory), "--expose-gc") // to the prelude alone, see js/prelude.js
	if s.Jitless {
		flags = append(flags, "--jitless")
	}
	return flags
}

// The names of our modules in a Worker's own registry. A user module of the same name would be refused by workerd.
const (
	wrapperModule        = workerd.Wrapper
	preludeModule        = "atoll-prelude.js"
	errorsModule         = "atoll-errors.js"
	queueModule          = "atoll-queue.js"
	objectsModule        = "atoll-objects.js"
	rpcModule            = "atoll-rpc.js"
	serviceWorkerModule  = "atoll-serviceworker.js"
	serviceWorkerMain    = "atoll-main.js"
	serviceWorkerGlobals = "atoll-globals.js"
)

// The modules that make bindings. They are internal to an extension: user code cannot import them.
const (
	secretModule    = "atoll:secret"
	dispatchModule  = "atoll:dispatch"
	serviceModule   = "atoll:service"
	analyticsModule = "atoll:analytics"
	rateLimitModule = "atoll:ratelimit"
	d1Module        = "cloudflare-internal:d1-api" // workerd's own
)

var (
	//go:embed js/prelude.js
	preludeSource string
	//go:embed js/carry.js
	carrySource string
	//go:embed js/console.js
	consoleSource string
	//go:embed js/untrusted.js
	untrustedSource string
	//go:embed js/v8.js
	v8Source string
	//go:embed js/queue.js
	queueSource string
	//go:embed js/wrapper.js
	wrapperSource string
	//go:embed js/objects.js
	objectsSource string
	//go:embed js/rpc.js
	rpcSource string
	//go:embed js/serviceworker.js
	serviceWorkerSource []byte
	//go:embed js/invocation.js
	invocationSource []byte
	//go:embed js/errors.js
	errorsSource []byte
	//go:embed js/dispatch.js
	dispatchSource []byte
	//go:embed js/secret.js
	secretSource []byte
	//go:embed js/service.js
	serviceSource []byte
	//go:embed js/analytics.js
	analyticsSource []byte
	//go:embed js/ratelimit.js
	rateLimitSource []byte
	//go:embed js/sockets.js
	socketsSource []byte
)

// The headers by which a process and the node understand each other; see docs/invocation.md. Package hop removes them
// wherever a message crosses the node's border.
const (
	HeaderService    = "Atoll-Service"    // process to node: which outward service; injected by workerd
	HeaderInvocation = "Atoll-Invocation" // from a process: the tag of the invocation that sends
	HeaderProto      = "Atoll-Proto"      // both ways: the URL's scheme
	HeaderCf         = "Atoll-Cf"         // to a trusted process: request.cf as JSON
	HeaderControl    = "Atoll-Control"    // to a process: a word to the wrapper, see Control
	HeaderDispatch   = "Atoll-Dispatch"   // from a dispatch binding: name, limits, outbound parameters
	HeaderException  = "Atoll-Exception"  // from a process: what the user's code threw
	HeaderResponse   = "Atoll-Response"   // from a process: this 500 is the user's own answer
	HeaderError      = "Atoll-Error"      // to a process: throw this
	HeaderRPC        = "Atoll-Rpc"        // from a service binding: about a session, see js/service.js
	HeaderSession    = "Atoll-Session"    // from a process, to ServiceEgress: whose is the RPC session of this number?
	HeaderLanes      = "Atoll-Lanes"      // to a process: which connections its service bindings are to use for RPC
)

// Forgotten is the HeaderError of a request that stands for the one its invocation was given, where that is not known any more:
// it is to be sent whole.
const Forgotten = "forgotten"

// Control is the HeaderControl of a call that is more than a request to the default entrypoint: for a named one, with an
// event's fields, "type" among them, with parameters for its env, or with props for its context.
func Control(entrypoint string, event map[string]any, params map[string]json.RawMessage, props json.RawMessage) string {
	b, _ := json.Marshal(map[string]any{"entrypoint": entrypoint, "event": event, "params": params, "props": props}) // made of JSON
	return base64.StdEncoding.EncodeToString(b)
}

// The questions that HeaderControl may put to the wrapper instead.
const (
	askExports = "exports" // what does the Worker export and handle?
	askDrain   = "drain"   // answer when no waitUntil work is left
)

// Exports is the request that asks a process what its Worker exports and handles.
func Exports() *hop.Request {
	return &hop.Request{Method: http.MethodGet, Target: "/", Host: "atoll", Extra: []string{HeaderControl, askExports}}
}

// The outward services, as HeaderService names them. A binding's is ServiceBinding and its index in the version.
const (
	ServiceEgress  = "egress"
	ServiceCache   = "cache"
	ServiceBinding = "binding/"
)

// configure makes the configuration message of one process: the wrapper before the user's modules, and every way out of the
// process an external service behind the one socket, told apart by a header that user code cannot touch.
func configure(spec Spec, bin workerd.Binary, p *Process, logBytes int64) ([]byte, error) {
	v := spec.Version
	modules, err := loadModules(spec, p.ObjectsTag, logBytes)
	if err != nil {
		return nil, err
	}
	w := workerd.Worker{
		Modules:            modules,
		CompatibilityDate:  compatibilityDate(v.CompatibilityDate, bin.Version),
		CompatibilityFlags: compatibilityFlags(v.CompatibilityFlags),
		GlobalOutbound:     &workerd.Designator{Name: ServiceEgress},
		CacheAPIOutbound:   &workerd.Designator{Name: ServiceCache},
	}
	outward := func(name string) workerd.Service { return outwardService(name, "unix:"+p.outGuest+"/sock") }
	services := []workerd.Service{outward(ServiceEgress), outward(ServiceCache), {Name: "internet", Kind: outward(ServiceEgress).Kind}}
	for i, b := range v.Bindings {
		service := ServiceBinding + strconv.Itoa(i)
		value, needs, err := bindingValue(spec, b, service)
		if err != nil {
			return nil, err
		}
		if value == nil {
			continue
		}
		if needs {
			services = append(services, outward(service))
		}
		if b.Type == "service" {
			services = append(services, laneServices(i, p.secret, "unix:"+p.outGuest+"/sock")...)
		}
		w.Bindings = append(w.Bindings, workerd.Binding{Name: b.Name, Value: value})
	}
	if len(spec.Classes) > 0 {
		services = append(services, host(&w, spec, p.objectsGuest)...)
	}
	socket := workerd.HTTPOptions{ForwardedProtoHeader: HeaderProto}
	// Without a header name workerd makes request.cf of the peer's address; with one that never comes it is undefined.
	socket.CfBlobHeader = HeaderCf
	cfg := workerd.Config{
		Services:   append([]workerd.Service{{Name: "main", Kind: w}}, services...),
		Sockets:    []workerd.Socket{{Name: "http", Address: "*:0", HTTP: socket, Service: workerd.Designator{Name: "main"}}, rpcSocket()},
		V8Flags:    spec.v8Flags(),
		Extensions: []workerd.Extension{{Modules: extensionModules(v.Bindings)}},
	}
	message, err := workerd.Encode(cfg)
	if err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	return message, nil
}

// extensionModules are those that the bindings are made by, and what stands before the engine's own connect().
func extensionModules(bindings []atoll.Binding) []workerd.ExtensionModule {
	list := []workerd.ExtensionModule{{Name: "atoll:sockets", Source: socketsSource}}
	makes := map[string]workerd.ExtensionModule{
		"dispatch_namespace":   {Name: dispatchModule, Internal: true, Source: dispatchSource},
		"service":              {Name: serviceModule, Internal: true, Source: serviceSource},
		"secrets_store_secret": {Name: secretModule, Internal: true, Source: secretSource},
		"analytics_engine":     {Name: analyticsModule, Internal: true, Source: analyticsSource},
		"ratelimit":            {Name: rateLimitModule, Internal: true, Source: rateLimitSource},
	}
	for _, b := range bindings {
		if m, ok := makes[b.Type]; ok {
			list = append(list, m)
			delete(makes, b.Type)
		}
	}
	if len(list) > 1 {
		list = append(list, workerd.ExtensionModule{Name: "atoll:invocation", Internal: true, Source: invocationSource},
			workerd.ExtensionModule{Name: "atoll:errors", Internal: true, Source: errorsSource})
	}
	return list
}

// outwardService is a service behind the socket that leads out of the sandbox.
func outwardService(name, address string) workerd.Service {
	return workerd.Service{Name: name, Kind: workerd.External{
		Address: address,
		HTTP: workerd.HTTPOptions{
			ForwardedProtoHeader: HeaderProto,
			CfBlobHeader:         HeaderCf,
			InjectRequestHeaders: []workerd.Header{{Name: HeaderService, Value: name}},
		},
	}}
}

// host makes the Worker one that has Durable Objects, and returns the service that they need: the directory, as the process
// sees it, that holds those of the classes.
func host(w *workerd.Worker, spec Spec, dir string) []workerd.Service {
	for _, c := range spec.Classes {
		w.DurableObjectNamespaces = append(w.DurableObjectNamespaces, workerd.DurableObjectNamespace{ClassName: c.Name, UniqueKey: c.ID, EnableSQL: c.SQLite})
	}
	if spec.Volatile {
		w.DurableObjectStorage = workerd.Storage{InMemory: true}
		return nil
	}
	w.DurableObjectStorage = workerd.Storage{LocalDisk: serviceObjects}
	return []workerd.Service{{Name: serviceObjects, Kind: workerd.Disk{Path: dir, Writable: true}}}
}

// serviceObjects is the service that Durable Objects are stored by.
const serviceObjects = "objects"

// bindingValue makes one binding. needs tells whether it uses the outward service of the given name.
func bindingValue(spec Spec, b atoll.Binding, service string) (v workerd.BindingValue, needs bool, err error) {
	var f struct {
		Text        string          `json:"text"`
		JSON        json.RawMessage `json:"json"`
		Part        string          `json:"part"`
		Algorithm   json.RawMessage `json:"algorithm"`
		Format      string          `json:"format"`
		Usages      []string        `json:"usages"`
		Extractable bool            `json:"extractable"`
		ClassName   string          `json:"class_name"`
	}
	if len(b.Fields) > 0 {
		if err := json.Unmarshal(b.Fields, &f); err != nil {
			return nil, false, fmt.Errorf("binding %s: %w", b.Name, err)
		}
	}
	switch b.Type {
	case "plain_text":
		return workerd.Text(f.Text), false, nil
	case "secret_text":
		return workerd.Text(b.Secret), false, nil
	case "json":
		return workerd.JSON(f.JSON), false, nil
	case "secret_key":
		format, ok := map[string]workerd.KeyFormat{"raw": workerd.Base64Key, "jwk": workerd.JWKKey, "pkcs8": workerd.PKCS8Key, "spki": workerd.SPKIKey}[f.Format]
		if !ok {
			return nil, false, fault.Newf(fault.Invalid, 10021, "binding %s: unknown key format %q", b.Name, f.Format)
		}
		return workerd.CryptoKey{Format: format, Key: b.Secret, Algorithm: f.Algorithm, Extractable: f.Extractable, Usages: f.Usages}, false, nil
	case "wasm_module":
		if spec.Version.MainModule != "" {
			return nil, false, fault.Newf(fault.Invalid, 10021, "binding %s: wasm_module bindings are for service-worker scripts; import %q instead", b.Name, f.Part)
		}
		return nil, false, nil // a global, which loadModules makes
	case "text_blob", "data_blob":
		data, err := loadPart(spec, f.Part)
		if err != nil {
			return nil, false, fmt.Errorf("binding %s: %w", b.Name, err)
		}
		if b.Type == "text_blob" {
			return workerd.Text(data), false, nil
		}
		return workerd.Data(data), false, nil
	case "version_metadata":
		meta, err := json.Marshal(map[string]any{"id": spec.Version.ID, "tag": spec.Version.Annotations["workers/tag"], "timestamp": spec.Version.Created.UTC().Format("2006-01-02T15:04:05.000Z")})
		return workerd.JSON(meta), false, err
	case "durable_object_namespace":
		return workerd.DurableObjects{ClassName: f.ClassName}, false, nil
	case "kv_namespace":
		return workerd.KVNamespace{Name: service}, true, nil
	case "queue":
		return workerd.Queue{Name: service}, true, nil
	case "r2_bucket":
		return workerd.R2Bucket{Name: service}, true, nil
	case "d1":
		return wrapped(d1Module, service), true, nil
	case "service":
		return serviceBinding(service), true, nil
	case "secrets_store_secret":
		return wrapped(secretModule, service), true, nil
	case "assets":
		return workerd.Fetcher{Name: service}, true, nil
	case "analytics_engine":
		return wrapped(analyticsModule, service), true, nil
	case "ratelimit":
		return wrapped(rateLimitModule, service), true, nil
	case "dispatch_namespace":
		return wrapped(dispatchModule, service), true, nil
	}
	return nil, false, fault.Newf(fault.Invalid, 10021, "binding %s of type %s is not supported", b.Name, b.Type)
}

// wrapped is a binding that a module of the extension makes of a fetcher.
func wrapped(module, service string) workerd.BindingValue {
	return workerd.Wrapped{Module: module, Inner: []workerd.Binding{{Name: "fetcher", Value: workerd.Fetcher{Name: service}}}}
}

func loadPart(spec Spec, part string) ([]byte, error) {
	for _, m := range spec.Version.Modules {
		if m.Name == part {
			return spec.Load(m.Hash)
		}
	}
	return nil, fmt.Errorf("no part %q", part)
}

// loadModules reads the user's modules and puts ours in front.
func loadModules(spec Spec, objectsTag string, logBytes int64) ([]workerd.Module, error) {
	v := spec.Version
	main := v.MainModule
	prelude := strings.Replace(preludeSource, `"@ERRORS@"`, quote("./"+errorsModule), 1)
	prelude += carrySource + strings.Replace(consoleSource, `"@LOG_BYTES@"`, strconv.FormatInt(logBytes, 10), 1)
	if !v.Trusted {
		prelude += untrustedSource
	}
	modules := []workerd.Module{{}, {Name: preludeModule, Body: []byte(prelude)}, {Name: errorsModule, Body: errorsSource},
		{Name: rpcModule, Body: []byte(strings.Replace(rpcSource, `"@PRELUDE@"`, quote("./"+preludeModule), 1))}}
	if main == "" {
		main = serviceWorkerMain
		own, err := serviceWorkerModules(v)
		if err != nil {
			return nil, err
		}
		modules = append(modules, own...)
	}
	wrapper := wrapperSource
	if mayHandle(v, "queue") {
		modules = append(modules, workerd.Module{Name: queueModule, Body: []byte(v8Source + queueSource)})
	} else {
		wrapper = strings.Replace(wrapper, queueImport, "const readBatch = undefined, outcome = undefined, waitsForAll = false;", 1)
	}
	wrapper = strings.NewReplacer(`"@PRELUDE@"`, quote("./"+preludeModule), `"@QUEUE@"`, quote("./"+queueModule), `"@RPC@"`, quote("./"+rpcModule),
		`"@MAIN@"`, quote(importable(main))).Replace(wrapper)
	if len(spec.Classes) > 0 {
		wrapper = hosted(wrapper, spec.Classes)
		objects := strings.NewReplacer(`"@PRELUDE@"`, quote("./"+preludeModule), `"@OBJECTS@"`, quote(objectsTag)).Replace(objectsSource)
		modules = append(modules, workerd.Module{Name: objectsModule, Body: []byte(objects)})
	}
	modules[0] = workerd.Module{Name: wrapperModule, Body: []byte(wrapper)}
	for _, m := range v.Modules {
		kind, ok := moduleKinds[m.Type]
		if !ok || v.MainModule == "" && m.Name != v.BodyPart && kind != workerd.WasmModule {
			continue // a source map, or the part of a text or data binding
		}
		if err := atoll.CheckModuleName(m.Name); err != nil {
			return nil, err // uploads are refused for it; here it would take the place of a module of ours or the engine's
		}
		data, err := spec.Load(m.Hash)
		if err != nil {
			return nil, fmt.Errorf("load module %s: %w", m.Name, err)
		}
		if v.MainModule == "" && m.Name == v.BodyPart {
			kind, data = workerd.CommonJSModule, scriptSource(data)
		}
		modules = append(modules, workerd.Module{Name: m.Name, Kind: kind, Body: data})
	}
	return modules, nil
}

// queueImport is the wrapper's line for what a queue() handler needs. To compile that takes a fifteenth of a start, so most
// Workers do without.
const queueImport = `import { readBatch, outcome, waitsForAll } from "@QUEUE@";`

// mayHandle tells whether a version handles an event, as far as is known: it is not before it has been validated.
func mayHandle(v *atoll.Version, event string) bool {
	return len(v.Handlers) == 0 && len(v.NamedHandlers) == 0 || slices.Contains(v.Handlers, event) ||
		slices.ContainsFunc(v.NamedHandlers, func(n atoll.NamedHandlers) bool { return slices.Contains(n.Handlers, event) })
}

// hosted has the wrapper export classes of its own in the place of the user's. An export of its own goes before one of the same
// name that it passes on.
func hosted(wrapper string, classes []atoll.Class) string {
	var b strings.Builder
	fmt.Fprintf(&b, "import { hosted } from %s;\n%s", quote("./"+objectsModule), wrapper)
	for i, c := range classes {
		fmt.Fprintf(&b, "const class%d = hosted(user[%s], %[2]s);\nexport { class%[1]d as %[2]s };\n", i, quote(c.Name))
	}
	return b.String()
}

var moduleKinds = map[atoll.ModuleType]workerd.ModuleKind{
	atoll.ESModule: workerd.ESModule, atoll.CommonJS: workerd.CommonJSModule, atoll.Text: workerd.TextModule,
	atoll.Data: workerd.DataModule, atoll.JSON: workerd.JSONModule, atoll.Wasm: workerd.WasmModule,
}

// serviceWorkerModules makes an ES module of a service-worker script: the listeners, then the WebAssembly modules that are
// its globals, then the script, in the order of evaluation.
func serviceWorkerModules(v *atoll.Version) ([]workerd.Module, error) {
	var imports, globals strings.Builder
	for i, b := range v.Bindings {
		if b.Type != "wasm_module" {
			continue
		}
		var f struct {
			Part string `json:"part"`
		}
		if err := json.Unmarshal(b.Fields, &f); err != nil {
			return nil, fmt.Errorf("binding %s: %w", b.Name, err)
		}
		fmt.Fprintf(&imports, "import m%d from %s;\n", i, quote(importable(f.Part)))
		fmt.Fprintf(&globals, "globalThis[%s] = m%d;\n", quote(b.Name), i)
	}
	main := fmt.Sprintf("import { module } from %s;\nimport %s;\nimport %s;\nexport default module();\n",
		quote("./"+serviceWorkerModule), quote("./"+serviceWorkerGlobals), quote(importable(v.BodyPart)))
	return []workerd.Module{
		{Name: serviceWorkerMain, Body: []byte(main)},
		{Name: serviceWorkerModule, Body: serviceWorkerSource},
		{Name: serviceWorkerGlobals, Body: []byte(imports.String() + globals.String())},
	}, nil
}

// quote writes s as a JavaScript string.
func quote(s string) string {
	b, _ := json.Marshal(s) // a string always marshals; JSON is JavaScript (ECMA-262, "Superset of JSON")
	return string(b)
}

// importable is the specifier by which a module at the root imports the one of the given name.
func importable(name string) string { return "./" + path.Clean(name) }

var useStrict = regexp.MustCompile(`^(?:\s|//[^\n]*\n|/\*(?s:.*?)\*/)*["']use strict["']`)

// scriptSource makes a CommonJS module of a service-worker script: in one line with its first, so that line numbers stay,
// and without CommonJS's names, by which bundles guess where they are.
func scriptSource(script []byte) []byte {
	head := "var module=void 0,exports=void 0,require=void 0;"
	if useStrict.Match(script) {
		head = `"use strict";` + head
	}
	return append([]byte(head), script...)
}

// compatibilityDate clamps a date to the newest that this workerd knows. Dates past today are refused at upload; between
// a workerd release and today nothing has changed for it.
func compatibilityDate(date, newest string) string {
	if date == "" {
		return "2021-11-02" // Cloudflare's default: https://developers.cloudflare.com/workers/configuration/compatibility-dates/
	}
	if newest != "" && date > newest {
		return newest
	}
	return date
}

// compatibilityFlags adds what the wrapper needs.
func compatibilityFlags(flags []string) []string {
	for _, f := range []string{"nodejs_als", "nodejs_compat", "nodejs_compat_v2"} {
		if slices.Contains(flags, f) {
			return flags
		}
	}
	return append(slices.Clone(flags), "nodejs_als")
}
