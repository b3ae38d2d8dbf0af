// Package workerd knows the engine's binary: where it is, the configuration message it reads, and what it says when a
// Worker does not start.
//
// [Encode] turns a [Config] into the message that "workerd serve --binary -" takes on standard input, so a configuration,
// which holds secrets in clear, is never in a file. [Find] finds the binary. [ParseStartupError] reads its stderr. The
// package starts no Worker and keeps no process: package isolate does.
//
// The types mirror those of workerd.capnp, which ships in workerd's npm package and whose comments are the reference; the
// parts that no Worker of ours needs (TLS, inheritance, containers, clusters) are left out. Each encoder states where its
// struct keeps its fields. The tests compare every one with what workerd's own compiler makes of the same configuration,
// so an engine that moves a field fails them.
//
// Nothing here has state; everything may be called concurrently.
package workerd

import (
	"encoding/json"
)

// Config is what one workerd process serves.
type Config struct {
	Services   []Service
	Sockets    []Socket
	V8Flags    []string // such as "--max-heap-size=128"
	Extensions []Extension
	Autogates  []string
	Logging    Logging
}

// Encode returns cfg as a binary Cap'n Proto message. It fails where a part is missing, where a name holds a NUL byte,
// and where a part is too large for the format. cfg must not change meanwhile.
func Encode(cfg Config) ([]byte, error) { return build(configLayout, cfg.encode) }

var configLayout = layout{1, 7}

// Pointers: services 0, sockets 1, v8Flags 2, extensions 3, autogates 4, logging 5.
func (c Config) encode(o object) {
	o.list(0, len(c.Services), serviceLayout, func(i int, e object) { c.Services[i].encode(e) })
	o.list(1, len(c.Sockets), socketLayout, func(i int, e object) { c.Sockets[i].encode(e) })
	o.texts(2, c.V8Flags)
	o.list(3, len(c.Extensions), extensionLayout, func(i int, e object) { c.Extensions[i].encode(e) })
	o.texts(4, c.Autogates)
	if c.Logging != (Logging{}) {
		c.Logging.encode(o.child(5, loggingLayout))
	}
}

// Logging shapes what the process writes: console output, the engine's own log and exceptions.
type Logging struct {
	Structured   bool   // one JSON object a line
	StdoutPrefix string // of process.stdout; workerd's default is "stdout: "
	StderrPrefix string
}

var loggingLayout = layout{1, 2}

// Data: structuredLogging bit 0. Pointers: stdoutPrefix 0, stderrPrefix 1.
func (l Logging) encode(o object) {
	o.flag(0, l.Structured)
	o.text(0, l.StdoutPrefix)
	o.text(1, l.StderrPrefix)
}

// Socket is where a service is reached. Its address may come from the command line: --socket-fd NAME=FD.
type Socket struct {
	Name    string
	Address string // "unix:/path", "127.0.0.1:80"
	HTTP    HTTPOptions
	Service Designator
}

var socketLayout = layout{2, 5}

// Data: tag at byte 0 (http 0). Pointers: name 0, address 1, http 2, service 4.
func (s Socket) encode(o object) {
	o.m.at = "socket " + s.Name
	o.text(0, s.Name)
	o.text(1, s.Address)
	s.HTTP.encode(o.child(2, httpLayout))
	s.Service.encode(o.child(4, designatorLayout))
}

// Service is something that answers requests, under a name private to the configuration.
type Service struct {
	Name string
	Kind ServiceKind
}

// ServiceKind is a [Worker], an [External], a [Network] or a [Disk].
type ServiceKind interface {
	// service returns the union's tag and the layout of the struct that encode fills in.
	service() (tag uint16, l layout)
	encode(o object)
}

var serviceLayout = layout{1, 2}

// Data: tag at byte 0 (worker 1, network 2, external 3, disk 4). Pointers: name 0, the union's member 1.
func (s Service) encode(o object) {
	o.m.at = "service " + s.Name
	o.text(0, s.Name)
	if s.Kind == nil {
		o.m.failf("it has no kind")
		return
	}
	tag, l := s.Kind.service()
	o.put(0, tag)
	s.Kind.encode(o.child(1, l))
}

// Designator names a service of the same configuration.
type Designator struct {
	Name       string
	Entrypoint string          // a named export; empty: the default one
	Props      json.RawMessage // becomes ctx.props; nil: an empty object
}

var designatorLayout = layout{1, 3}

// Data: the tag of props at byte 0 (empty 0, json 1). Pointers: name 0, entrypoint 1, props 2.
func (d Designator) encode(o object) {
	o.text(0, d.Name)
	o.text(1, d.Entrypoint)
	if d.Props != nil {
		o.put(0, 1)
		putText(o, 2, d.Props)
	}
}

// External is a server that is reached over plain HTTP; bindings to it send it every request, whatever the URL's host.
type External struct {
	Address string // "unix:/path", "host:port"
	HTTP    HTTPOptions
}

func (External) service() (uint16, layout) { return 3, layout{1, 4} }

// Data: tag at byte 0 (http 0). Pointers: address 0, http 1.
func (e External) encode(o object) {
	o.text(0, e.Address)
	e.HTTP.encode(o.child(1, httpLayout))
}

// Network is direct access to a network, chosen by the URL's host.
type Network struct {
	Allow []string // address blocks, or "public", "private", "local", "unix"; nil: public alone
	Deny  []string
}

func (Network) service() (uint16, layout) { return 2, layout{0, 3} }

// Pointers: allow 0, deny 1.
func (n Network) encode(o object) {
	o.texts(0, n.Allow)
	o.texts(1, n.Deny)
}

// Disk is a directory, which Durable Objects are stored in.
type Disk struct {
	Path          string
	Writable      bool
	AllowDotfiles bool
}

func (Disk) service() (uint16, layout) { return 4, layout{1, 1} }

// Data: writable bit 0, allowDotfiles bit 1. Pointers: path 0.
func (d Disk) encode(o object) {
	o.text(0, d.Path)
	o.flag(0, d.Writable)
	o.flag(1, d.AllowDotfiles)
}

// HTTPOptions says how HTTP is spoken on a socket or to an external server. Empty texts turn an option off.
type HTTPOptions struct {
	Proxy                 bool   // the request line carries an absolute URL, and workerd sends no Host header, which net/http refuses
	ForwardedProtoHeader  string // carries the URL's scheme
	CfBlobHeader          string // carries request.cf as JSON
	InjectRequestHeaders  []Header
	InjectResponseHeaders []Header
	CapnpConnectHost      string // CONNECT to this host is an RPC session
}

var httpLayout = layout{1, 5}

// Data: style at byte 0 (host 0, proxy 1). Pointers: forwardedProtoHeader 0, cfBlobHeader 1, injectRequestHeaders 2,
// injectResponseHeaders 3, capnpConnectHost 4.
func (h HTTPOptions) encode(o object) {
	if h.Proxy {
		o.put(0, 1)
	}
	o.text(0, h.ForwardedProtoHeader)
	o.text(1, h.CfBlobHeader)
	encodeHeaders(o, 2, h.InjectRequestHeaders)
	encodeHeaders(o, 3, h.InjectResponseHeaders)
	o.text(4, h.CapnpConnectHost)
}

// Header is set on every message, in place of any that is there.
type Header struct {
	Name  string
	Value string // empty: the header is taken away
}

// Pointers of a header: name 0, value 1.
func encodeHeaders(o object, ptr int, list []Header) {
	o.list(ptr, len(list), layout{0, 2}, func(i int, e object) {
		e.text(0, list[i].Name)
		e.text(1, list[i].Value)
	})
}

// Extension is a set of modules outside every Worker's own, which wrapped bindings come from.
type Extension struct {
	Modules []ExtensionModule
}

// ExtensionModule is an ES module of an extension.
type ExtensionModule struct {
	Name     string // a URL, such as "atoll:dispatch"
	Internal bool   // other extension modules and wrapped bindings may import it, Workers may not
	Source   []byte
}

var extensionLayout = layout{0, 1}

// Pointers: modules 0. A module's data: internal bit 0. Its pointers: name 0, esModule 1.
func (x Extension) encode(o object) {
	o.list(0, len(x.Modules), layout{1, 2}, func(i int, e object) {
		mod := x.Modules[i]
		e.m.at = "extension module " + mod.Name
		e.text(0, mod.Name)
		e.flag(0, mod.Internal)
		putText(e, 1, mod.Source)
	})
}
