package api

import (
	"fmt"

	"atoll.dev/atoll/internal/atoll"
)

func (a *API) getTags(q *request) (any, error) {
	tags, err := a.Store.Tags(q.Context(), q.ref)
	if err != nil {
		return nil, fmt.Errorf("list tags: %w", err)
	}
	return orEmpty(tags), nil
}

// putTags replaces all tags; null is none.
func (a *API) putTags(q *request) (any, error) {
	var tags []string
	if err := q.decode(&tags); err != nil {
		return nil, err
	}
	tags, err := atoll.ParseTags(tags)
	if err != nil {
		return nil, err
	}
	tags, err = a.Store.SetTags(q.Context(), q.ref, tags)
	if err != nil {
		return nil, fmt.Errorf("set tags: %w", err)
	}
	return orEmpty(tags), nil
}

// putTag adds one tag.
func (a *API) putTag(q *request) (any, error) {
	tags, err := atoll.ParseTags([]string{q.path("tag")})
	if err != nil {
		return nil, err
	}
	tags, err = a.Store.AddTag(q.Context(), q.ref, tags[0])
	if err != nil {
		return nil, fmt.Errorf("add tag: %w", err)
	}
	return orEmpty(tags), nil
}

// deleteTag takes one tag away. One that is not there is no error, so that the request can be repeated.
func (a *API) deleteTag(q *request) (any, error) {
	if err := a.Store.RemoveTag(q.Context(), q.ref, q.path("tag")); err != nil {
		return nil, fmt.Errorf("remove tag: %w", err)
	}
	return nil, nil
}
