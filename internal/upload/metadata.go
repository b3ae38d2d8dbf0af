package upload

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

// Metadata is all of an upload but its modules, or a change of settings
// (https://developers.cloudflare.com/workers/configuration/multipart-upload-metadata/). A nil field was not sent; what
// that means, the default or what was there before, depends on the request.
type Metadata struct {
	MainModule         string          // the entry of an ES module Worker
	BodyPart           string          // the entry of a service-worker script
	Bindings           []atoll.Binding // nil: not sent; empty: none. Of type inherit too
	KeepBindings       []string        // types of bindings that the previous version's are kept of
	CompatibilityDate  string
	CompatibilityFlags []string
	Limits             *atoll.Limits
	Logpush            *bool
	Observability      json.RawMessage
	Placement          json.RawMessage
	Tags               []string
	TailConsumers      json.RawMessage
	UsageModel         string
	Annotations        map[string]string
	Migrations         *Migrations
	Assets             *Assets                    // see assets.go
	KeepAssets         *bool                      // true: the version before's assets stay, where Assets has none
	Extra              map[string]json.RawMessage // the fields that have no meaning here, as sent
}

// document reads the fields of one JSON object by name, exactly as spelled, and remembers the first error.
type document struct {
	root string
	obj  map[string]json.RawMessage
	err  error
}

// parseMetadata reads and checks a metadata or settings object.
func parseMetadata(root string, raw json.RawMessage, lim Limits) (*Metadata, error) {
	d := document{root: root}
	if json.Unmarshal(raw, &d.obj) != nil || d.obj == nil {
		return nil, fault.Newf(fault.Invalid, 10021, "could not read content for part %s", root)
	}
	md := &Metadata{
		MainModule:         d.string("main_module"),
		BodyPart:           d.string("body_part"),
		KeepBindings:       d.strings("keep_bindings"),
		CompatibilityDate:  d.date("compatibility_date"),
		CompatibilityFlags: d.strings("compatibility_flags"),
		Limits:             d.limits(),
		Logpush:            d.bool("logpush"),
		Observability:      d.observability(),
		Placement:          d.placement(),
		Tags:               d.strings("tags"),
		TailConsumers:      d.consumers("tail_consumers"),
		UsageModel:         d.usageModel(),
		Annotations:        d.annotations(),
		Migrations:         d.migrations(),
		Assets:             d.assets(),
		KeepAssets:         d.bool("keep_assets"),
	}
	if raw := d.take("bindings"); raw != nil && d.err == nil {
		md.Bindings, d.err = parseBindings(root, raw, lim)
	}
	if md.Tags != nil && d.err == nil {
		md.Tags, d.err = atoll.ParseTags(md.Tags)
	}
	md.Extra = d.rest()
	if d.err == nil && md.MainModule != "" && md.BodyPart != "" {
		d.err = fault.Newf(fault.Invalid, 10021, "%s has both main_module and body_part: a Worker has one of them", root)
	}
	if d.err != nil {
		return nil, d.err
	}
	return md, nil
}

// take returns a field and removes it, nil where it is missing or null.
func (d *document) take(name string) json.RawMessage {
	raw := d.obj[name]
	delete(d.obj, name)
	if raw == nil || isNull(raw) {
		return nil
	}
	return raw
}

func (d *document) wrong(name, want string) {
	if d.err == nil {
		d.err = wrongField(d.root, name, want)
	}
}

func wrongField(root, name, want string) error {
	return fault.Newf(fault.Invalid, 10021, "%s.%s must be %s", root, name, want)
}

func (d *document) string(name string) (s string) {
	if raw := d.take(name); raw != nil && json.Unmarshal(raw, &s) != nil {
		d.wrong(name, "a string")
	}
	return s
}

func (d *document) strings(name string) (list []string) {
	if raw := d.take(name); raw != nil && json.Unmarshal(raw, &list) != nil {
		d.wrong(name, "an array of strings")
	}
	return list
}

func (d *document) bool(name string) (b *bool) {
	if raw := d.take(name); raw != nil && json.Unmarshal(raw, &b) != nil {
		d.wrong(name, "true or false")
	}
	return b
}

// object takes a field that must be an object, with its fields.
func (d *document) object(name string) (json.RawMessage, document) {
	inner := document{root: d.root + "." + name}
	raw := d.take(name)
	if raw != nil && json.Unmarshal(raw, &inner.obj) != nil {
		d.wrong(name, "an object")
		return nil, inner
	}
	return bytes.TrimSpace(raw), inner
}

// adopt makes the first error inside an object d's own.
func (d *document) adopt(inner document) {
	if d.err == nil {
		d.err = inner.err
	}
}

func (d *document) date(name string) string {
	s := d.string(name)
	if s == "" {
		return ""
	}
	if _, err := time.Parse(time.DateOnly, s); err != nil {
		d.wrong(name, "a date like 2026-11-23")
	}
	// In UTC, as the engine and wrangler have it: what holds from a day on is not known before that day.
	if today := time.Now().UTC().Format(time.DateOnly); s > today && d.err == nil {
		d.err = fault.Newf(fault.Invalid, 10021, "%s.%s cannot be in the future: %s is after today, which is %s (UTC)", d.root, name, s, today)
	}
	return s
}

// MaxCPUMs and MaxSubRequests are the most a script may ask for
// (https://developers.cloudflare.com/workers/platform/limits/).
const (
	MaxCPUMs       = 300_000
	MaxSubRequests = 10_000_000
)

func (d *document) limits() *atoll.Limits {
	raw, in := d.object("limits")
	if raw == nil {
		return nil
	}
	l := &atoll.Limits{CPUMs: in.count("cpu_ms", MaxCPUMs), SubRequests: in.count("subrequests", MaxSubRequests)}
	d.adopt(in)
	return l
}

// count takes a whole number from 1 to most, 0 where there is none.
func (d *document) count(name string, most int64) (n int64) {
	raw := d.take(name)
	if raw == nil {
		return 0
	}
	if json.Unmarshal(raw, &n) != nil || n < 1 || n > most {
		d.err = wrongField(d.root, name, "a whole number from 1 to "+strconv.FormatInt(most, 10))
	}
	return n
}

func (d *document) observability() json.RawMessage {
	raw, in := d.object("observability")
	in.bool("enabled")
	in.rate("head_sampling_rate")
	for _, name := range []string{"logs", "traces"} {
		_, part := in.object(name)
		part.bool("enabled")
		part.bool("invocation_logs")
		part.bool("persist")
		part.rate("head_sampling_rate")
		part.strings("destinations")
		part.string("propagation_policy")
		in.adopt(part)
	}
	d.adopt(in)
	return raw
}

// rate takes a share from 0 to 1.
func (d *document) rate(name string) {
	var f float64
	if raw := d.take(name); raw != nil && (json.Unmarshal(raw, &f) != nil || f < 0 || f > 1) {
		d.wrong(name, "a number from 0 to 1")
	}
}

func (d *document) placement() json.RawMessage {
	raw, in := d.object("placement")
	in.string("mode")
	in.string("region")
	in.string("host")
	in.string("hostname")
	d.adopt(in)
	return raw
}

// consumers takes a list of tail Workers.
func (d *document) consumers(name string) json.RawMessage {
	raw := d.take(name)
	if raw == nil {
		return nil
	}
	var list []map[string]json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		d.wrong(name, "an array of objects with a service")
		return nil
	}
	for _, c := range list {
		if asString(c["service"]) == "" {
			d.wrong(name, "an array of objects with a service")
		}
	}
	return bytes.TrimSpace(raw)
}

func (d *document) usageModel() string {
	s := d.string("usage_model")
	switch s {
	case "", "standard", "bundled", "unbound":
	default:
		d.wrong("usage_model", "standard, bundled or unbound")
	}
	return s
}

// annotationBytes is what Cloudflare keeps of a deployment's message; the rest is cut off.
const annotationBytes = 1000

func (d *document) annotations() map[string]string {
	var m map[string]*string
	raw := d.take("annotations")
	if raw == nil {
		return nil
	}
	if json.Unmarshal(raw, &m) != nil || len(m) > 32 {
		d.wrong("annotations", "an object of at most 32 strings")
	}
	out := map[string]string{}
	for k, v := range m {
		if v != nil {
			out[truncate(k, annotationBytes)] = truncate(*v, annotationBytes)
		}
	}
	return out
}

// truncate cuts s to at most n bytes, between characters.
func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// rest returns the fields that nothing took.
func (d *document) rest() map[string]json.RawMessage {
	if raw := d.obj["exports"]; raw != nil && !isNull(raw) && !hasShape(raw, object) {
		d.wrong("exports", "an object")
	}
	if raw := d.obj["streaming_tail_consumers"]; raw != nil && !isNull(raw) && !hasShape(raw, array) {
		d.wrong("streaming_tail_consumers", "an array of objects with a service")
	}
	if len(d.obj) == 0 {
		return nil
	}
	return d.obj
}
