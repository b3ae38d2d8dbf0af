package upload

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"atoll.dev/atoll/internal/fault"
)

// This file reads documents that were flattened into form fields, as the TypeScript SDKs do:
//
//	metadata[main_module]        worker.mjs
//	metadata[bindings][][type]   plain_text
//	metadata[bindings][][name]   GREETING
//	metadata[bindings][][text]   hi
//
// "[]" means an element of an array, without its number, so which element a field belongs to must be found out. There
// are two orders. SDK 7 sends fields as it meets them, and an element ends where one of its fields comes again. SDKs 3
// and 4 keep fields in a map by name, so all types come first, then all names, then the texts of those bindings that
// have one. There, an element that lacks a field shifts the others; the fields that each type of binding takes (see
// kinds in kind.go) tell which elements can have it. Where that leaves a doubt the document is refused: a guess
// would give one binding the value of another. Types are lost as well, and come back by the name of the field.

// field is one flattened leaf.
type field struct{ name, value string }

// leaf is a field with its name taken apart; "" in path stands for "[]".
type leaf struct {
	path  []string
	value string
}

const maxNesting = 32

// flat is one document being put together again.
type flat struct {
	root    string
	grouped bool // fields of one name come together: the order of SDKs 3 and 4
}

// unbracket returns the document that fields were made of, as JSON.
func unbracket(root string, fields []field) (json.RawMessage, error) {
	leaves := make([]leaf, len(fields))
	for i, f := range fields {
		path, ok := splitBrackets(strings.TrimPrefix(f.name, root))
		if !ok {
			return nil, fault.Newf(fault.Invalid, 10021, "could not parse the name of the field %q", f.name)
		}
		leaves[i] = leaf{path, f.value}
	}
	doc := flat{root: root, grouped: isGrouped(fields)}
	tree, err := doc.object(nil, leaves)
	if err != nil {
		return nil, err
	}
	return json.Marshal(tree)
}

// splitBrackets parses "[a][][b]" into "a", "", "b".
func splitBrackets(s string) ([]string, bool) {
	var path []string
	for s != "" {
		if s[0] != '[' || len(path) == maxNesting {
			return nil, false
		}
		key, rest, ok := strings.Cut(s[1:], "]")
		if !ok {
			return nil, false
		}
		path, s = append(path, key), rest
	}
	return path, len(path) > 0 && path[0] != ""
}

// isGrouped reports whether no name comes again after another one did. A document without arrays of objects looks the
// same in both orders, and reads the same.
func isGrouped(fields []field) bool {
	seen := map[string]bool{}
	for i, f := range fields {
		if i > 0 && fields[i-1].name == f.name {
			continue
		}
		if seen[f.name] {
			return false
		}
		seen[f.name] = true
	}
	return true
}

// object puts together the object at prefix.
func (d flat) object(prefix []string, leaves []leaf) (map[string]any, error) {
	obj := map[string]any{}
	for _, group := range byHead(leaves) {
		v, err := d.value(append(prefix[:len(prefix):len(prefix)], group.key), group.leaves)
		if err != nil {
			return nil, err
		}
		obj[group.key] = v
	}
	return obj, nil
}

// value puts together whatever is at prefix: a scalar, an array or an object.
func (d flat) value(prefix []string, leaves []leaf) (any, error) {
	scalars, elements := 0, 0
	for _, l := range leaves {
		switch {
		case len(l.path) == 0:
			scalars++
		case l.path[0] == "":
			elements++
		}
	}
	switch {
	case scalars == 1 && len(leaves) == 1:
		return scalar(prefix, leaves[0].value), nil
	case scalars > 0:
		return nil, d.refuse(prefix, "was sent twice")
	case elements == len(leaves):
		return d.array(append(prefix, ""), cutHead(leaves))
	case elements > 0:
		return nil, d.refuse(prefix, "is an array in one field and an object in another")
	}
	return d.object(prefix, leaves)
}

// array puts together an array; the leaves' paths begin inside its elements.
func (d flat) array(prefix []string, leaves []leaf) (any, error) {
	list := []any{}
	for _, l := range leaves {
		if len(l.path) == 0 {
			list = append(list, scalar(prefix, l.value))
		}
	}
	if len(list) == len(leaves) {
		return list, nil
	}
	plain := 0
	for _, l := range leaves {
		if len(l.path) == 0 || l.path[0] == "" {
			return nil, d.refuse(prefix, "is an array of arrays or of mixed values, whose borders are lost: send "+d.root+" as one JSON part instead")
		}
		if !slices.Contains(l.path, "") {
			plain++
		}
	}
	if plain == 0 && isFree(prefix) {
		return nil, d.refuse(prefix, "is an array whose elements cannot be told apart: send "+d.root+" as one JSON part instead")
	}
	elements, err := d.elements(prefix, leaves)
	if err != nil {
		return nil, err
	}
	for _, e := range elements {
		v, err := d.value(prefix, e)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// elements deals the leaves of an array of objects out to its elements.
func (d flat) elements(prefix []string, leaves []leaf) ([][]leaf, error) {
	isBindings := len(prefix) == 2 && prefix[0] == "bindings"
	if !d.grouped {
		elements := inOrder(leaves)
		if isBindings {
			return elements, d.checkOwners(prefix, elements)
		}
		return elements, nil
	}
	n, has := 1, func(int, string) use { return optional }
	if isBindings {
		types, names := valuesAt(leaves, "type"), valuesAt(leaves, "name")
		if len(types) == 0 || len(names) != len(types) {
			return nil, d.refuse(prefix, "must have a type and a name in each element")
		}
		for i, t := range types {
			if err := servedType(names[i], t); err != nil {
				return nil, err
			}
		}
		n, has = len(types), func(i int, key string) use { return kinds[types[i]].uses(key) }
	}
	groups := byPath(leaves)
	for _, g := range groups {
		if !g.nested {
			n = max(n, len(g.leaves))
		}
	}
	elements := make([][]leaf, n)
	for _, g := range groups {
		owners, ok := owners(n, len(g.leaves), g.nested, func(i int) use { return has(i, g.leaves[0].path[0]) })
		if !ok {
			return nil, d.doubt(prefix, g.leaves[0])
		}
		for i, l := range g.leaves {
			o := owners[min(i, len(owners)-1)]
			elements[o] = append(elements[o], l)
		}
	}
	return elements, nil
}

// owners finds the elements that count leaves of one name belong to, in their order. Leaves of a nested array can be
// any number an element, so they need one sole owner.
func owners(n, count int, nested bool, has func(int) use) ([]int, bool) {
	var must, may []int
	for i := range n {
		switch has(i) {
		case required:
			must = append(must, i)
			may = append(may, i)
		case optional:
			may = append(may, i)
		}
	}
	switch {
	case nested:
		return may, len(may) == 1
	case len(may) == count:
		return may, true
	}
	return must, len(must) == count
}

// inOrder splits leaves where one comes again that the element has already. Leaves of arrays inside it may repeat.
func inOrder(leaves []leaf) [][]leaf {
	var elements [][]leaf
	seen := map[string]bool{}
	for _, l := range leaves {
		key := strings.Join(l.path, "][")
		plain := !slices.Contains(l.path, "")
		if len(elements) == 0 || plain && seen[key] {
			elements = append(elements, nil)
			clear(seen)
		}
		seen[key] = plain
		last := len(elements) - 1
		elements[last] = append(elements[last], l)
	}
	return elements
}

// checkOwners refuses bindings with a field that their type does not have: it is the first of the next binding then, and
// nothing has told the border.
func (d flat) checkOwners(prefix []string, elements [][]leaf) error {
	for _, e := range elements {
		types := valuesAt(e, "type")
		for _, l := range e {
			if len(types) == 1 && kinds[types[0]].uses(l.path[0]) == unused {
				return d.doubt(prefix, l)
			}
		}
	}
	return nil
}

func (d flat) doubt(prefix []string, l leaf) error {
	return d.refuse(append(prefix, l.path...), "could belong to more than one element: send "+d.root+" as one JSON part instead")
}

type group struct {
	key    string
	leaves []leaf
	nested bool // goes through an array inside the element
}

// byHead groups leaves by the first key of their paths, which it cuts off; groups are in order of appearance.
func byHead(leaves []leaf) []group {
	groups, at := []group{}, map[string]int{}
	for _, l := range leaves {
		key := l.path[0]
		i, ok := at[key]
		if !ok {
			i, at[key] = len(groups), len(groups)
			groups = append(groups, group{key: key})
		}
		groups[i].leaves = append(groups[i].leaves, leaf{l.path[1:], l.value})
	}
	return groups
}

// byPath groups leaves by their whole paths, and those that go through an inner array by what comes before it.
func byPath(leaves []leaf) []group {
	groups := map[string]group{}
	for _, l := range leaves {
		path := l.path
		inner := slices.Index(path, "")
		if inner >= 0 {
			path = path[:inner+1]
		}
		key := strings.Join(path, "][")
		g := groups[key]
		groups[key] = group{key, append(g.leaves, l), inner >= 0}
	}
	return slices.SortedFunc(maps.Values(groups), func(a, b group) int { return strings.Compare(a.key, b.key) })
}

func cutHead(leaves []leaf) []leaf {
	out := make([]leaf, len(leaves))
	for i, l := range leaves {
		out[i] = leaf{l.path[1:], l.value}
	}
	return out
}

func valuesAt(leaves []leaf, key string) []string {
	var vs []string
	for _, l := range leaves {
		if len(l.path) == 1 && l.path[0] == key {
			vs = append(vs, l.value)
		}
	}
	return vs
}

// scalar gives a value the type it had before it was flattened, by the name of its field. In a json binding nobody
// knows: there, what reads as a boolean or as a number in JavaScript's own spelling becomes one.
func scalar(path []string, s string) any {
	last := path[len(path)-1]
	free := isFree(path)
	if (free || booleans[last]) && (s == "true" || s == "false") && path[0] != "annotations" {
		return s == "true"
	}
	if (free || numbers[last]) && path[0] != "annotations" {
		f, err := strconv.ParseFloat(s, 64)
		if err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) && strconv.FormatFloat(f, 'f', -1, 64) == s && len(s) <= 21 {
			return json.Number(s)
		}
	}
	return s
}

// isFree reports whether path lies in a value of the customer's own making.
func isFree(path []string) bool {
	return len(path) > 2 && path[0] == "bindings" && (path[2] == "json" || path[2] == "props")
}

var (
	booleans = set("logpush", "keep_assets", "enabled", "invocation_logs", "persist", "cross_version_cache",
		"run_worker_first", "serve_directly")
	numbers = set("cpu_ms", "subrequests", "head_sampling_rate", "delivery_delay", "limit", "period", "mitigation_timeout")
)

func set(keys ...string) map[string]bool {
	m := map[string]bool{}
	for _, k := range keys {
		m[k] = true
	}
	return m
}

func (d flat) refuse(path []string, why string) error {
	name := d.root
	for _, p := range path {
		name += "[" + p + "]"
	}
	return fault.Newf(fault.Invalid, 10021, "%s %s", name, why)
}
