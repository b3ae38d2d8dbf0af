package api

import (
	"context"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/r2"
)

// r2Storage is r2StorageAdaptiveGroups: what each bucket holds. A node keeps today's figures alone, so there is one group a
// bucket, of now, unless the filter asks for another time.
func (a *API) r2Storage(ctx context.Context, account atoll.AccountID, args map[string]any) ([]group, error) {
	now := time.Now().UTC()
	bucket := ""
	filters := []any{args["filter"]}
	for i := 0; i < len(filters); i++ {
		f, _ := filters[i].(map[string]any)
		for name, v := range f {
			text, _ := v.(string)
			switch name {
			case "AND":
				all, _ := v.([]any)
				filters = append(filters, all...)
			case "bucketName":
				bucket = text
			default:
				holds, err := holdsAt(now, name, text)
				if err != nil {
					return nil, err
				}
				if !holds {
					return nil, nil
				}
			}
		}
	}
	list, err := a.r2Figures(ctx, account, bucket)
	if err != nil {
		return nil, err
	}
	var out []group
	for _, b := range list {
		out = append(out, group{
			"max":        {"objectCount": b.Objects, "payloadSize": b.Bytes, "metadataSize": b.Head, "uploadCount": b.Uploads},
			"dimensions": {"bucketName": b.Name, "datetime": now.Format(time.RFC3339), "date": now.Format(time.DateOnly)},
		})
	}
	limit, ok := args["limit"].(float64)
	if ok && limit >= 0 && int(limit) < len(out) {
		out = out[:int(limit)]
	}
	return out, nil
}

func (a *API) r2Figures(ctx context.Context, account atoll.AccountID, bucket string) ([]r2.Bucket, error) {
	if bucket == "" {
		return a.R2.Buckets(ctx, account, r2.BucketList{Limit: 10_000})
	}
	b, err := a.R2.Bucket(ctx, r2.Ref{Account: account, Name: bucket})
	if fault.KindOf(err) == fault.NotFound {
		return nil, nil
	}
	return []r2.Bucket{b}, err
}

// holdsAt tells whether a filter by time, such as datetime_geq, holds at a time.
func holdsAt(now time.Time, name, text string) (bool, error) {
	layout, base := time.RFC3339, ""
	if n, ok := cutOp(name, "date"); ok {
		layout, base, now = time.DateOnly, n, now.Truncate(24*time.Hour)
	} else if n, ok := cutOp(name, "datetime"); ok {
		base = n
	} else {
		return false, graphQLFault("unknown filter %q: this dataset has datetime, date and bucketName", name)
	}
	t, err := time.Parse(layout, text)
	if err != nil {
		return false, graphQLFault("filter %s: %q is not a time", name, text)
	}
	switch base {
	case "_geq":
		return !now.Before(t), nil
	case "_gt":
		return now.After(t), nil
	case "_leq", "_lt":
		// Clients ask up to now by their own clock.
		return !now.After(t.Add(time.Minute)), nil
	}
	return now.Equal(t), nil
}

// cutOp returns what stands behind a dimension's name in that of a filter.
func cutOp(name, dimension string) (op string, ok bool) {
	for _, op := range []string{"", "_geq", "_gt", "_leq", "_lt"} {
		if name == dimension+op {
			return op, true
		}
	}
	return "", false
}
