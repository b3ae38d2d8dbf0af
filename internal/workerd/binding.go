package workerd

import (
	"encoding/json"
	"slices"
)

// Binding is one name in a Worker's env.
type Binding struct {
	Name  string
	Value BindingValue
}

// BindingValue is one of the types of this file.
type BindingValue interface {
	// binding returns the union's tag.
	binding() uint16
	// encode writes the value from pointer 1 of the binding on.
	encode(o object)
}

var bindingLayout = layout{1, 6}

// Data: tag at byte 0, each type's binding method below. Pointers: name 0, the value 1, a hyperdrive's further fields 2-5.
func encodeBindings(o object, ptr int, list []Binding) {
	o.list(ptr, len(list), bindingLayout, func(i int, e object) {
		e.m.at += ", binding " + list[i].Name
		e.text(0, list[i].Name)
		if list[i].Value == nil {
			e.m.failf("it has no value")
			return
		}
		e.put(0, list[i].Value.binding())
		list[i].Value.encode(e)
	})
}

// The values that are passed by copy.
type (
	Text       string
	Data       []byte // an ArrayBuffer
	JSON       []byte // parsed
	WasmGlobal []byte // a WebAssembly.Module; workerd allows it to service-worker scripts only
)

func (Text) binding() uint16       { return 2 }
func (Data) binding() uint16       { return 3 }
func (JSON) binding() uint16       { return 4 }
func (WasmGlobal) binding() uint16 { return 5 }

func (v Text) encode(o object)       { putText(o, 1, v) }
func (v Data) encode(o object)       { putBytes(o, 1, v, 0) }
func (v JSON) encode(o object)       { putText(o, 1, v) }
func (v WasmGlobal) encode(o object) { putBytes(o, 1, v, 0) }

// The values that are faces of a service, which gets their operations as HTTP requests.
type (
	Fetcher            Designator // a service binding
	KVNamespace        Designator
	R2Bucket           Designator
	Queue              Designator
	AnalyticsEngine    Designator // needs workerd's --experimental
	DurableObjectClass Designator // for facets: a class without storage of its own
)

func (Fetcher) binding() uint16            { return 7 }
func (KVNamespace) binding() uint16        { return 9 }
func (R2Bucket) binding() uint16           { return 10 }
func (Queue) binding() uint16              { return 13 }
func (AnalyticsEngine) binding() uint16    { return 15 }
func (DurableObjectClass) binding() uint16 { return 19 }

func (v Fetcher) encode(o object)            { encodeDesignator(o, Designator(v)) }
func (v KVNamespace) encode(o object)        { encodeDesignator(o, Designator(v)) }
func (v R2Bucket) encode(o object)           { encodeDesignator(o, Designator(v)) }
func (v Queue) encode(o object)              { encodeDesignator(o, Designator(v)) }
func (v AnalyticsEngine) encode(o object)    { encodeDesignator(o, Designator(v)) }
func (v DurableObjectClass) encode(o object) { encodeDesignator(o, Designator(v)) }

func encodeDesignator(o object, d Designator) { d.encode(o.child(1, designatorLayout)) }

// DurableObjects binds a class of the Worker's DurableObjectNamespaces, or of another Worker of the same process.
type DurableObjects struct {
	ClassName string
	Service   string // empty: this Worker
}

func (DurableObjects) binding() uint16 { return 8 }

// Pointers: className 0, serviceName 1.
func (v DurableObjects) encode(o object) {
	c := o.child(1, layout{0, 3})
	c.text(0, v.ClassName)
	c.text(1, v.Service)
}

// Wrapped is what a function of an extension's module makes of other bindings, which the Worker itself does not see.
type Wrapped struct {
	Module     string
	Entrypoint string // the exported function; empty: the default export
	Inner      []Binding
}

// maxWrapped bounds wrapped bindings in wrapped bindings: workerd reads a message 64 pointers deep, and each one takes two.
const maxWrapped = 16

func (Wrapped) binding() uint16 { return 12 }

// Pointers: moduleName 0, entrypoint 1 (null is "default"), innerBindings 2.
func (v Wrapped) encode(o object) {
	if o.m.depth == maxWrapped {
		o.m.failf("more than %d wrapped bindings in one another", maxWrapped)
		return
	}
	o.m.depth++
	c := o.child(1, layout{0, 3})
	c.text(0, v.Module)
	c.text(1, v.Entrypoint)
	encodeBindings(c, 2, v.Inner)
	o.m.depth--
}

// KeyFormat says how the material of a [CryptoKey] is written; its value is the union's tag.
type KeyFormat uint16

// The formats of key material.
const (
	RawKey KeyFormat = iota
	HexKey
	Base64Key
	PKCS8Key // PEM
	SPKIKey  // PEM
	JWKKey   // JSON
)

// CryptoKey is a key of the Web Crypto API.
type CryptoKey struct {
	Format      KeyFormat
	Key         []byte
	Algorithm   json.RawMessage // as importKey takes it: an object, or a name as a JSON string
	Extractable bool
	Usages      []string // "encrypt", "sign", ...
}

// keyUsages are the Web Crypto API's names in the order of the enum.
var keyUsages = []string{"encrypt", "decrypt", "sign", "verify", "deriveKey", "deriveBits", "wrapKey", "unwrapKey"}

func (CryptoKey) binding() uint16 { return 6 }

// Data: tag at byte 0 (raw 0, hex 1, base64 2, pkcs8 3, spki 4, jwk 5), the tag of algorithm at byte 2 (json 1),
// extractable bit 32. Pointers: the key 0, algorithm 1, usages 2.
func (v CryptoKey) encode(o object) {
	c := o.child(1, layout{1, 3})
	c.put(0, uint16(v.Format))
	switch v.Format {
	case RawKey:
		putBytes(c, 0, v.Key, 0)
	case HexKey, Base64Key, PKCS8Key, SPKIKey, JWKKey:
		putText(c, 0, v.Key)
	default:
		c.m.failf("its key has an unknown format, %d", v.Format)
	}
	c.put(2, 1)
	putText(c, 1, v.Algorithm)
	c.flag(32, v.Extractable)
	usages := make([]uint16, len(v.Usages))
	for i, name := range v.Usages {
		n := slices.Index(keyUsages, name)
		if n < 0 {
			c.m.failf("its key has an unknown usage, %q", name)
			return
		}
		usages[i] = uint16(n)
	}
	c.enums(2, usages)
}

// Hyperdrive is a database behind a service that speaks its protocol over connect().
type Hyperdrive struct {
	Service  Designator
	Database string
	User     string
	Password string
	Scheme   string // "postgresql"
}

func (Hyperdrive) binding() uint16 { return 16 }

// Pointers of the binding: designator 1, database 2, user 3, password 4, scheme 5.
func (v Hyperdrive) encode(o object) {
	encodeDesignator(o, v.Service)
	o.text(2, v.Database)
	o.text(3, v.User)
	o.text(4, v.Password)
	o.text(5, v.Scheme)
}

// WorkerLoader loads Workers from code at run time. It needs workerd's --experimental.
type WorkerLoader struct {
	ID string // shared by bindings with the same one; empty: not shared
}

func (WorkerLoader) binding() uint16 { return 20 }

// Pointers of the binding: id 1.
func (v WorkerLoader) encode(o object) { o.text(1, v.ID) }

// UnsafeEval lets a Worker compile code from strings. It needs workerd's --experimental.
type UnsafeEval struct{}

func (UnsafeEval) binding() uint16 { return 17 }
func (UnsafeEval) encode(object)   {}
