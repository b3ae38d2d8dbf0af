package client

import (
	"context"
	"fmt"
	"iter"
	"net/url"
	"strconv"

	"atoll.dev/atoll/internal/wire"
)

// pageSize is how many items a call for a list asks for.
const pageSize = 1000

// byCursor walks a list that is paged by cursor. A server that gives the same cursor again ends it with an error
// instead of never.
func byCursor[T any](ctx context.Context, c *Client, r request) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		r.query = clone(r.query)
		r.query.Set("limit", strconv.Itoa(pageSize))
		for {
			env, err := callIn[[]T](ctx, c, r)
			if err != nil {
				yield(zero, err)
				return
			}
			for _, item := range env.Result {
				if !yield(item, nil) {
					return
				}
			}
			next := ""
			if env.ResultInfo != nil {
				next = env.ResultInfo.Cursor
			}
			if next == "" {
				return
			}
			if next == r.query.Get("cursor") {
				yield(zero, fmt.Errorf("list %s: the cursor does not move", r.path))
				return
			}
			r.query.Set("cursor", next)
		}
	}
}

// byPage gathers a list that is paged by number, up to the page that the answer calls the last.
func byPage[T any](ctx context.Context, c *Client, r request, call func(context.Context, *Client, request) (wire.Response[[]T], error)) ([]T, error) {
	var all []T
	r.query = clone(r.query)
	r.query.Set("per_page", strconv.Itoa(pageSize))
	for page := 1; ; page++ {
		r.query.Set("page", strconv.Itoa(page))
		env, err := call(ctx, c, r)
		if err != nil {
			return nil, err
		}
		all = append(all, env.Result...)
		info := env.ResultInfo
		if info == nil || len(env.Result) == 0 || info.TotalCount == nil || len(all) >= *info.TotalCount {
			return all, nil
		}
	}
}

func clone(q url.Values) url.Values {
	out := url.Values{}
	for k, v := range q {
		out[k] = append([]string(nil), v...)
	}
	return out
}
