package workerd

// Worker is a Worker: code, settings, and the services it can reach.
type Worker struct {
	Modules             []Module // the first is the main module; nil where ServiceWorkerScript is used
	ServiceWorkerScript []byte   // a script that calls addEventListener
	CompatibilityDate   string
	CompatibilityFlags  []string
	Bindings            []Binding

	GlobalOutbound   *Designator // fetch and connect; nil: the service "internet", which workerd makes up where there is none
	CacheAPIOutbound *Designator // the Cache API; nil: it fails
	Tails            []Designator
	StreamingTails   []Designator

	DurableObjectNamespaces []DurableObjectNamespace
	DurableObjectStorage    Storage
}

func (Worker) service() (uint16, layout) { return 1, layout{1, 16} }

// Data: tag at byte 0 (modules 0, serviceWorkerScript 1), the tag of durableObjectStorage at byte 2 (none 0, inMemory 1,
// localDisk 2). Pointers: modules or serviceWorkerScript 0, compatibilityDate 1, compatibilityFlags 2, bindings 3,
// globalOutbound 4, durableObjectNamespaces 5, cacheApiOutbound 7, localDisk 8, tails 10, streamingTails 11.
func (w Worker) encode(o object) {
	switch {
	case w.Modules != nil && w.ServiceWorkerScript != nil:
		o.m.failf("it has both modules and a service-worker script")
	case w.ServiceWorkerScript != nil:
		o.put(0, 1)
		putText(o, 0, w.ServiceWorkerScript)
	default:
		o.list(0, len(w.Modules), moduleLayout, func(i int, e object) { w.Modules[i].encode(e) })
	}
	o.text(1, w.CompatibilityDate)
	o.texts(2, w.CompatibilityFlags)
	encodeBindings(o, 3, w.Bindings)
	if w.GlobalOutbound != nil {
		w.GlobalOutbound.encode(o.child(4, designatorLayout))
	}
	o.list(5, len(w.DurableObjectNamespaces), namespaceLayout, func(i int, e object) {
		w.DurableObjectNamespaces[i].encode(e)
	})
	if w.CacheAPIOutbound != nil {
		w.CacheAPIOutbound.encode(o.child(7, designatorLayout))
	}
	switch {
	case w.DurableObjectStorage.LocalDisk != "":
		o.put(2, 2)
		o.text(8, w.DurableObjectStorage.LocalDisk)
	case w.DurableObjectStorage.InMemory:
		o.put(2, 1)
	}
	o.list(10, len(w.Tails), designatorLayout, func(i int, e object) { w.Tails[i].encode(e) })
	o.list(11, len(w.StreamingTails), designatorLayout, func(i int, e object) { w.StreamingTails[i].encode(e) })
}

// ModuleKind says how a module is loaded; its value is the union's tag.
type ModuleKind uint16

// The kinds of module.
const (
	ESModule ModuleKind = iota
	CommonJSModule
	TextModule // imported as a string
	DataModule // imported as an ArrayBuffer
	WasmModule // imported as a WebAssembly.Module
	JSONModule // imported as the parsed value
)

// Module is one file of a Worker, imported by its name.
type Module struct {
	Name         string
	Kind         ModuleKind
	Body         []byte
	NamedExports []string // of a CommonJSModule: the names that it will have exported
}

var moduleLayout = layout{1, 3}

// Data: tag at byte 0 (esModule 0, commonJsModule 1, text 2, data 3, wasm 4, json 5). Pointers: name 0, the body 1,
// namedExports 2.
func (f Module) encode(o object) {
	o.m.at += ", module " + f.Name
	o.text(0, f.Name)
	o.put(0, uint16(f.Kind))
	switch f.Kind {
	case DataModule, WasmModule:
		putBytes(o, 1, f.Body, 0)
	case ESModule, CommonJSModule, TextModule, JSONModule:
		putText(o, 1, f.Body)
	default:
		o.m.failf("it has an unknown kind, %d", f.Kind)
	}
	o.texts(2, f.NamedExports)
}

// DurableObjectNamespace is a class of the Worker whose instances are Durable Objects.
type DurableObjectNamespace struct {
	ClassName       string
	UniqueKey       string // names the stored data and keys the objects' ids: it must never change
	PreventEviction bool   // keep idle objects in memory
	EnableSQL       bool   // storage.sql
}

var namespaceLayout = layout{1, 3}

// Data: tag at byte 0 (uniqueKey 0), preventEviction bit 16, enableSql bit 17. Pointers: className 0, uniqueKey 1.
func (n DurableObjectNamespace) encode(o object) {
	o.text(0, n.ClassName)
	if n.UniqueKey == "" {
		o.m.failf("Durable Object class %s has no unique key", n.ClassName)
	}
	o.text(1, n.UniqueKey)
	o.flag(16, n.PreventEviction)
	o.flag(17, n.EnableSQL)
}

// Storage is where a Worker's Durable Objects keep their data. The zero Storage is for a Worker without any.
type Storage struct {
	LocalDisk string // a [Disk] service's name
	InMemory  bool   // lost when the process ends
}
