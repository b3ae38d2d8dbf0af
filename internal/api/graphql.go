package api

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/auth"
	"atoll.dev/atoll/internal/fault"
)

// dataset is one field of an account in the analytics API: groups of figures. A new one is a line in datasets.
type dataset struct {
	fields map[string][]string // what may be asked of a group: of "max", "dimensions" and their like
	rows   func(a *API, ctx context.Context, account atoll.AccountID, args map[string]any) ([]group, error)
}

// group is the figures by the names of dataset.fields.
type group map[string]map[string]any

// datasets are those that a node has, of https://developers.cloudflare.com/analytics/graphql-api/features/data-sets/.
var datasets = map[string]dataset{
	"r2StorageAdaptiveGroups": {
		fields: map[string][]string{
			"max":        {"objectCount", "payloadSize", "metadataSize", "uploadCount"},
			"dimensions": {"bucketName", "datetime", "date"},
		},
		rows: (*API).r2Storage,
	},
	// Queries of D1 are not counted, and so there is no group of them.
	"d1AnalyticsAdaptiveGroups": {
		fields: map[string][]string{
			"sum":        {"readQueries", "writeQueries", "rowsRead", "rowsWritten", "queryBatchResponseBytes"},
			"dimensions": {"databaseId", "date", "datetime", "datetimeHour"},
		},
		rows: func(*API, context.Context, atoll.AccountID, map[string]any) ([]group, error) { return nil, nil },
	},
}

// graphQLError is a mistake in a query, or a refusal.
type graphQLError struct{ message string }

func (e *graphQLError) Error() string { return e.message }

func graphQLFault(format string, args ...any) error {
	return &graphQLError{fmt.Sprintf(format, args...)}
}

// postGraphQL answers a query of the analytics API (https://developers.cloudflare.com/analytics/graphql-api/). Of the
// language it takes queries with variables, aliases and arguments. Cloudflare does not hold variables to the types they are
// declared with, and wrangler relies on it. Errors come with status 200.
func (a *API) postGraphQL(q *request) (any, error) {
	text, err := q.read()
	if err != nil {
		return nil, err
	}
	data, err := a.graphQL(q, text)
	answer := map[string]any{"data": data, "errors": nil}
	if err != nil {
		message := "internal server error"
		if e, ok := err.(*graphQLError); ok {
			message = e.message
		} else if f := fault.Of(err); f != nil && f.Kind != fault.Internal {
			message = f.Message
		} else {
			a.lg.Error("graphql", "err", err)
		}
		answer = map[string]any{"data": nil, "errors": []any{map[string]any{"message": message, "path": nil,
			"extensions": map[string]any{"timestamp": time.Now().UTC().Format(time.RFC3339Nano)}}}}
	}
	b, err := json.Marshal(answer)
	if err != nil {
		return nil, fmt.Errorf("encode answer to a query: %w", err)
	}
	return raw{contentType: "application/json", header: http.Header{}, size: int64(len(b)), write: writeAll(b)}, nil
}

// maxQueryTokens bounds what is parsed of a query.
const maxQueryTokens = 10_000

func (a *API) graphQL(q *request, text []byte) (any, error) {
	var in struct {
		Query         string         `json:"query"`
		OperationName string         `json:"operationName"`
		Variables     map[string]any `json:"variables"`
	}
	if json.Unmarshal(text, &in) != nil {
		return nil, graphQLFault("the request body must be JSON with a query")
	}
	doc, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: in.Query}, maxQueryTokens)
	if err != nil {
		return nil, graphQLFault("cannot parse the query: %v", err)
	}
	op := doc.Operations.ForName(in.OperationName)
	if op == nil || op.Operation != ast.Query {
		return nil, graphQLFault("there is no query of that name in the request")
	}
	x := selection{vars: in.Variables}
	return x.each(op.SelectionSet, "Query", func(f *ast.Field) (any, error) {
		if f.Name != "viewer" {
			return nil, unknownField(f, "Query")
		}
		return x.each(f.SelectionSet, "viewer", func(f *ast.Field) (any, error) {
			if f.Name != "accounts" {
				return nil, unknownField(f, "viewer")
			}
			return a.queryAccount(q, x, f)
		})
	})
}

// queryAccount answers the field accounts, which a filter narrows to one.
func (a *API) queryAccount(q *request, x selection, f *ast.Field) (any, error) {
	args, err := x.args(f)
	if err != nil {
		return nil, err
	}
	filter, _ := args["filter"].(map[string]any)
	tag, _ := filter["accountTag"].(string)
	account, err := atoll.ParseAccountID(tag)
	if err == nil {
		err = q.who.Check(auth.AccountRead, auth.Target{Account: account})
	}
	if err == nil {
		_, err = a.Store.Account(q.Context(), account)
	}
	if err != nil {
		return nil, graphQLFault("not authorized for that account")
	}
	one, err := x.each(f.SelectionSet, "account", func(f *ast.Field) (any, error) { return a.queryDataset(q.Context(), x, account, f) })
	if err != nil {
		return nil, err
	}
	return []any{one}, nil
}

func (a *API) queryDataset(ctx context.Context, x selection, account atoll.AccountID, f *ast.Field) (any, error) {
	set, ok := datasets[f.Name]
	if !ok {
		return nil, unknownField(f, "account")
	}
	args, err := x.args(f)
	if err != nil {
		return nil, err
	}
	// What is asked for is checked even where there is nothing to tell.
	show := func(g group) (any, error) {
		return x.each(f.SelectionSet, f.Name, func(part *ast.Field) (any, error) {
			known, ok := set.fields[part.Name]
			if !ok {
				return nil, unknownField(part, f.Name)
			}
			return x.each(part.SelectionSet, part.Name, func(leaf *ast.Field) (any, error) {
				if !slices.Contains(known, leaf.Name) || len(leaf.SelectionSet) > 0 {
					return nil, unknownField(leaf, part.Name)
				}
				return g[part.Name][leaf.Name], nil
			})
		})
	}
	if _, err := show(nil); err != nil {
		return nil, err
	}
	rows, err := set.rows(a, ctx, account, args)
	if err != nil {
		return nil, err
	}
	out := []any{}
	for _, g := range rows {
		v, err := show(g)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func unknownField(f *ast.Field, of string) error {
	return graphQLFault("unknown field %q of %s: this node has the datasets %v", f.Name, of, slices.Sorted(maps.Keys(datasets)))
}

// selection walks a query.
type selection struct{ vars map[string]any }

// each answers the fields of a selection under the names that the query gives them.
func (x selection) each(set ast.SelectionSet, of string, answer func(*ast.Field) (any, error)) (any, error) {
	if len(set) == 0 {
		return nil, graphQLFault("%s needs a selection of fields", of)
	}
	out := map[string]any{}
	for _, s := range set {
		f, ok := s.(*ast.Field)
		if !ok || len(f.Directives) > 0 {
			return nil, graphQLFault("fragments and directives are not supported by this node")
		}
		if f.Name == "__typename" {
			out[f.Alias] = of
			continue
		}
		v, err := answer(f)
		if err != nil {
			return nil, err
		}
		out[f.Alias] = v
	}
	return out, nil
}

// args returns the arguments of a field, with the variables' values in their places.
func (x selection) args(f *ast.Field) (map[string]any, error) {
	out := map[string]any{}
	for _, a := range f.Arguments {
		v, err := x.value(a.Value)
		if err != nil {
			return nil, err
		}
		out[a.Name] = v
	}
	return out, nil
}

func (x selection) value(v *ast.Value) (any, error) {
	switch v.Kind {
	case ast.Variable:
		return x.vars[v.Raw], nil
	case ast.IntValue, ast.FloatValue:
		return strconv.ParseFloat(v.Raw, 64)
	case ast.BooleanValue:
		return v.Raw == "true", nil
	case ast.NullValue:
		return nil, nil
	case ast.ListValue:
		list := []any{}
		for _, c := range v.Children {
			item, err := x.value(c.Value)
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		return list, nil
	case ast.ObjectValue:
		object := map[string]any{}
		for _, c := range v.Children {
			item, err := x.value(c.Value)
			if err != nil {
				return nil, err
			}
			object[c.Name] = item
		}
		return object, nil
	}
	return v.Raw, nil // strings and names
}
