package deploy

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/store"
)

// Delete removes a script with all its versions.
func (s *Service) Delete(ctx context.Context, ref atoll.ScriptRef) error {
	release, err := s.locks.acquire(ctx, ref)
	if err != nil {
		return fmt.Errorf("delete %s: %w", ref, err)
	}
	defer release()
	return s.deleteLocked(ctx, ref)
}

func (s *Service) deleteLocked(ctx context.Context, ref atoll.ScriptRef) error {
	defer s.run.Publish(ref)
	if err := s.store.DeleteScript(ctx, ref); err != nil {
		return err
	}
	s.lg.Info("script deleted", "account", ref.Account, "script", ref.String())
	return nil
}

// maxDelete is how many scripts one bulk deletion removes at most.
const maxDelete = 1000

// DeleteTagged removes scripts of a dispatch namespace that match the filter, the first limit (at most and by default
// 1000) by name, and says whether there are more. Each is deleted in its own turn, after whatever change of it is under
// way, and only if it still matches then. On an error, some are deleted.
func (s *Service) DeleteTagged(ctx context.Context, account atoll.AccountID, ns atoll.NamespaceName, filter []store.TagTerm, limit int) (deleted []atoll.ScriptName, more bool, err error) {
	if len(filter) == 0 {
		return nil, false, fault.New(fault.Invalid, 10021, "a bulk deletion needs a tag filter: ?tags=tag:yes")
	}
	if limit <= 0 || limit > maxDelete {
		limit = maxDelete
	}
	list, next, err := s.store.Scripts(ctx, account, ns, store.ScriptFilter{Tags: filter, Limit: limit})
	if err != nil {
		return nil, false, fmt.Errorf("delete scripts of %s: %w", ns, err)
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(64) // the store writes what comes together in one transaction
	for _, script := range list {
		group.Go(func() error {
			gone, err := s.deleteMatching(ctx, script.Ref, filter)
			if gone {
				mu.Lock()
				defer mu.Unlock()
				deleted = append(deleted, script.Ref.Name)
			}
			return err
		})
	}
	err = group.Wait()
	slices.Sort(deleted)
	if err != nil {
		return deleted, true, fmt.Errorf("delete scripts of %s: %w", ns, err)
	}
	return deleted, next != "", nil
}

// deleteMatching deletes the script if it is still there and still matches.
func (s *Service) deleteMatching(ctx context.Context, ref atoll.ScriptRef, filter []store.TagTerm) (bool, error) {
	release, err := s.locks.acquire(ctx, ref)
	if err != nil {
		return false, err
	}
	defer release()
	tags, err := s.store.Tags(ctx, ref)
	if err == nil {
		for _, term := range filter {
			if slices.Contains(tags, term.Tag) != term.Want {
				return false, nil
			}
		}
		err = s.deleteLocked(ctx, ref)
	}
	if isMissing(err, ref) {
		return false, nil
	}
	return err == nil, err
}
