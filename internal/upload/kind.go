package upload

import (
	"atoll.dev/atoll/internal/fault"
)

// use says whether a type of binding takes a field.
type use int

const (
	unused use = iota
	optional
	required
)

// shape is the JSON type that a field must have.
type shape int

const (
	text    shape = iota // a string that is not empty
	anyText              // a string
	number
	boolean
	object
	array
	anything // whatever is there, null included
)

func (s shape) String() string {
	return [...]string{"string", "string", "number", "boolean", "object", "array", "value"}[s]
}

// spec is one field of a type of binding.
type spec struct {
	use   use
	shape shape
}

// kind is one type of binding: its fields beside name and type, and whether this node serves it.
type kind struct {
	served bool
	fields map[string]spec
}

// uses says whether the kind takes the field. A field nobody knows may belong to any binding.
func (k kind) uses(field string) use {
	if field == "name" || field == "type" {
		return required
	}
	if s, ok := k.fields[field]; ok {
		return s.use
	}
	for _, other := range kinds {
		if _, known := other.fields[field]; known {
			return unused
		}
	}
	return optional
}

func req(s shape) spec { return spec{required, s} }
func opt(s shape) spec { return spec{optional, s} }

// kinds are the types of binding that Cloudflare's API has
// (https://developers.cloudflare.com/workers/configuration/multipart-upload-metadata/). Those without served are known,
// so that an upload which uses one is refused by name.
var kinds = map[string]kind{
	"plain_text":         {served: true, fields: map[string]spec{"text": req(anyText)}},
	"secret_text":        {served: true, fields: map[string]spec{"text": req(anyText)}},
	"secret_key":         {served: true, fields: secretKeyFields},
	"json":               {served: true, fields: map[string]spec{"json": req(anything)}},
	"text_blob":          {served: true, fields: map[string]spec{"part": req(text)}},
	"data_blob":          {served: true, fields: map[string]spec{"part": req(text)}},
	"wasm_module":        {served: true, fields: map[string]spec{"part": req(text)}},
	"kv_namespace":       {served: true, fields: map[string]spec{"namespace_id": req(text)}},
	"analytics_engine":   {served: true, fields: map[string]spec{"dataset": req(text)}},
	"ratelimit":          {served: true, fields: map[string]spec{"namespace_id": req(text), "simple": req(object)}},
	"queue":              {served: true, fields: map[string]spec{"queue_name": req(text), "delivery_delay": opt(number)}},
	"d1":                 {served: true, fields: map[string]spec{"id": opt(text), "database_id": opt(text)}},
	"version_metadata":   {served: true},
	"assets":             {served: true},
	"inherit":            {served: true, fields: map[string]spec{"old_name": opt(text), "version_id": opt(text)}},
	"dispatch_namespace": {served: true, fields: map[string]spec{"namespace": req(text), "outbound": opt(object)}},
	"service": {served: true, fields: map[string]spec{
		"service": req(text), "environment": opt(anyText), "entrypoint": opt(anyText), "props": opt(object), "binding_interface": opt(anyText)}},

	"ai":                  {fields: map[string]spec{"staging": opt(boolean)}},
	"ai_search":           {fields: map[string]spec{"instance_name": req(text), "namespace": opt(text)}},
	"ai_search_namespace": {fields: map[string]spec{"namespace": req(text)}},
	"browser":             {},
	"browser_rendering":   {},
	"durable_object_namespace": {served: true, fields: map[string]spec{
		"class_name": req(text), "script_name": opt(text), "environment": opt(text), "namespace_id": opt(text), "dispatch_namespace": opt(text)}},
	"flagship":             {fields: map[string]spec{"app_id": req(text)}},
	"hyperdrive":           {fields: map[string]spec{"id": req(text)}},
	"images":               {},
	"logfwdr":              {},
	"media":                {},
	"messaging":            {fields: map[string]spec{"namespace": req(text)}},
	"mtls_certificate":     {fields: map[string]spec{"certificate_id": req(text)}},
	"pipelines":            {fields: map[string]spec{"pipeline": opt(text), "stream": opt(text)}},
	"r2_bucket":            {served: true, fields: map[string]spec{"bucket_name": req(text), "jurisdiction": opt(anyText)}},
	"secrets_store_secret": {served: true, fields: map[string]spec{"store_id": req(text), "secret_name": req(text)}},
	"send_email": {fields: map[string]spec{
		"destination_address": opt(text), "allowed_destination_addresses": opt(array), "allowed_sender_addresses": opt(array)}},
	"tail_consumer": {fields: map[string]spec{"service": req(text)}},
	"vectorize":     {fields: map[string]spec{"index_name": req(text)}},
	"vpc_network":   {fields: map[string]spec{"tunnel_id": opt(text), "network_id": opt(text)}},
	"vpc_service":   {fields: map[string]spec{"service_id": req(text)}},
	"worker_loader": {},
	"workflow":      {fields: map[string]spec{"workflow_name": req(text), "class_name": opt(text), "script_name": opt(text)}},
}

var secretKeyFields = map[string]spec{
	"algorithm": req(anything), "format": req(text), "usages": req(array), "key_base64": opt(text), "key_jwk": opt(object),
}

// Served reports whether this node serves bindings of the type.
func Served(typ string) bool { return kinds[typ].served }

// servedType refuses a binding whose type nobody knows or this node does not serve.
func servedType(name, typ string) error {
	k, ok := kinds[typ]
	if !ok {
		return fault.Newf(fault.Invalid, 10021, "binding %s has the unknown type %q", name, typ)
	}
	if !k.served {
		return fault.Newf(fault.Invalid, 10021, "binding %s of type %s is not supported by this node yet", name, typ)
	}
	return nil
}
