package deploy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/upload"
)

// Exists tells whether the account has the resource that a binding names. ids are the values of the binding's fields that
// name it, in the order of [resources]: one, but for a secret of a secrets store.
type Exists func(ctx context.Context, account atoll.AccountID, ids ...string) (bool, error)

// Resources tell of each type of binding to something that an account owns, beside its scripts and dispatch namespaces,
// how that is looked for. A type that is missing has its bindings refused, so no upload is bound to what nobody checks.
type Resources map[string]Exists

// Named makes an Exists of the method of a store whose resources have one name.
func Named(exists func(ctx context.Context, account atoll.AccountID, id string) (bool, error)) Exists {
	return func(ctx context.Context, account atoll.AccountID, ids ...string) (bool, error) {
		return exists(ctx, account, ids[0])
	}
}

// resource says how a type of binding names what it is to, and what Cloudflare answers where the account has none such.
type resource struct {
	fields  []string // "a|b" is the field a or else b
	code    int
	missing string // %[1]s is the binding's name, %[2]s and on what it names
}

// resources are all types of binding to what [Resources] look for. A binding is to the uploading account's own: the store
// is asked with the account, whatever the upload says.
// https://developers.cloudflare.com/cloudflare-for-platforms/workers-for-platforms/configuration/bindings/
var resources = map[string]resource{
	"kv_namespace": {[]string{"namespace_id"}, 10041,
		"KV namespace '%[2]s' not found. Verify that the namespace exists in your account and that the namespace_id of binding %[1]s is correct."},
	"d1": {[]string{"id|database_id"}, 10181, "D1 binding '%[1]s' references database '%[2]s' which was not found."},
	"r2_bucket": {[]string{"bucket_name"}, 10085,
		"R2 bucket '%[2]s' not found. Verify that the bucket exists in your account and that the bucket_name of binding %[1]s is correct."},
	"queue":      {[]string{"queue_name"}, 11000, "Queue '%[2]s' not found. Please verify it exists and try again."},
	"hyperdrive": {[]string{"id"}, 10157, "Hyperdrive binding '%[1]s' references config '%[2]s' which was not found."},
	"secrets_store_secret": {[]string{"store_id", "secret_name"}, 10182,
		"Secrets Store binding '%[1]s' references store '%[2]s' and secret '%[3]s' which were not found."},
}

// checkResource makes sure that the account has what a binding is to.
func (s *Service) checkResource(ctx context.Context, ref atoll.ScriptRef, b atoll.Binding) error {
	kind, ok := resources[b.Type]
	if !ok {
		return nil
	}
	exists := s.res[b.Type]
	if exists == nil {
		return fault.Newf(fault.Invalid, 10021, "binding %s of type %s is not supported by this node", b.Name, b.Type)
	}
	ids, named := make([]string, len(kind.fields)), []any{b.Name}
	for i, field := range kind.fields {
		for name := range strings.SplitSeq(field, "|") {
			if ids[i] == "" {
				ids[i] = upload.StringField(b, name)
			}
		}
		if ids[i] == "" {
			return fault.Newf(fault.Invalid, 10021, "binding %s of type %s must have a valid `%s` specified", b.Name, b.Type, strings.Split(field, "|")[0])
		}
		named = append(named, ids[i])
	}
	found, err := exists(ctx, ref.Account, ids...)
	if err != nil {
		return fmt.Errorf("find %s of binding %s: %w", b.Type, b.Name, err)
	}
	if !found {
		return fault.Newf(fault.Invalid, kind.code, kind.missing, named...)
	}
	return nil
}

// ResourceTypes lists the types of binding that [Resources] are asked for.
func ResourceTypes() []string { return slices.Sorted(maps.Keys(resources)) }
