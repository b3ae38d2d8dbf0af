package store

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/sqlite"
)

// AssetClaims looks up what clients called content of a script, and of its whole namespace. The script need not exist.
func (db *DB) AssetClaims(ctx context.Context, ref atoll.ScriptRef, claims []string) (own, shared map[string]atoll.AssetClaim, err error) {
	own, shared = map[string]atoll.AssetClaim{}, map[string]atoll.AssetClaim{}
	key, err := namespaceKey(ctx, db.reads, ref.Account, ref.Namespace)
	if err != nil {
		return nil, nil, fmt.Errorf("find asset claims of %s: %w", ref, err)
	}
	for _, claim := range claims {
		rows, err := sqlite.All(ctx, db.reads, scanClaim, claimQuery, key, ref.Name, claim)
		if err != nil {
			return nil, nil, fmt.Errorf("find asset claims of %s: %w", ref, err)
		}
		for _, r := range rows {
			r.Claim = claim
			if r.script == "" {
				shared[claim] = r.AssetClaim
			} else {
				own[claim] = r.AssetClaim
			}
		}
	}
	return own, shared, nil
}

const claimQuery = "SELECT script, blob, size, type FROM asset_claims WHERE namespace = ? AND script IN (?, '') AND claim = ?"

type claimRow struct {
	atoll.AssetClaim
	script string
}

func scanClaim(row sqlite.Row) (r claimRow, err error) {
	var blob []byte
	err = row.Scan(&r.script, &blob, &r.Size, &r.Type)
	r.Blob = hex.EncodeToString(blob)
	return r, err
}

// PutAssetClaims remembers what a client calls content that is stored, for its script and, those of shared, for the whole
// namespace. What was called so before is not any more.
func (db *DB) PutAssetClaims(ctx context.Context, ref atoll.ScriptRef, own, shared []atoll.AssetClaim) error {
	err := db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		key, err := namespaceKey(ctx, tx, ref.Account, ref.Namespace)
		if err != nil {
			return err
		}
		for _, set := range []struct {
			script atoll.ScriptName
			claims []atoll.AssetClaim
		}{{ref.Name, own}, {"", shared}} {
			for _, c := range set.claims {
				blob, err := hex.DecodeString(c.Blob)
				if err != nil {
					return fmt.Errorf("hash %q is not hex", c.Blob)
				}
				_, err = sqlite.Run(ctx, tx, "INSERT OR REPLACE INTO asset_claims (namespace, script, claim, blob, size, type) VALUES (?, ?, ?, ?, ?, ?)",
					key, set.script, c.Claim, blob, c.Size, c.Type)
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("put asset claims of %s: %w", ref, err)
	}
	return nil
}

// putAssets notes which files the new version v needs, which is the newest of its script.
func (r *scriptRow) putAssets(ctx context.Context, tx sqlite.Session, v *atoll.Version, files []string) error {
	var list []byte // of files; nil: the version has none
	if v.Assets != nil {
		var err error
		if list, err = hex.DecodeString(v.Assets.Manifest); err != nil || len(list) == 0 {
			return fmt.Errorf("assets: hash %q is not hex", v.Assets.Manifest)
		}
	}
	before, err := sqlite.One(ctx, tx, sqlite.Value[[]byte], "SELECT assets FROM scripts WHERE key = ?", r.key)
	if err != nil || bytes.Equal(before, list) {
		return err
	}
	hashes, err := sqlite.All(ctx, tx, sqlite.Value[[]byte], "SELECT hash FROM asset_files WHERE script = ? AND last IS NULL", r.key)
	if err != nil {
		return err
	}
	gone := make(map[string]bool, len(hashes))
	for _, h := range hashes {
		gone[string(h)] = true
	}
	added := map[string]bool{}
	for _, f := range files {
		h, err := hex.DecodeString(f)
		if err != nil {
			return fmt.Errorf("assets: hash %q is not hex", f)
		}
		if added[string(h)] || gone[string(h)] {
			delete(gone, string(h))
			added[string(h)] = true
			continue
		}
		added[string(h)] = true
		if _, err := sqlite.Run(ctx, tx, "INSERT INTO asset_files (script, hash, first) VALUES (?, ?, ?)", r.key, h, v.Number); err != nil {
			return err
		}
	}
	for h := range gone {
		_, err := sqlite.Run(ctx, tx, "UPDATE asset_files SET last = ? WHERE script = ? AND hash = ? AND last IS NULL", v.Number-1, r.key, []byte(h))
		if err != nil {
			return err
		}
	}
	_, err = sqlite.Run(ctx, tx, "UPDATE scripts SET assets = ? WHERE key = ?", list, r.key)
	return err
}

// pruneAssets removes the files that only versions up to the given number needed, and not the active one.
func (r *scriptRow) pruneAssets(ctx context.Context, tx sqlite.Session, upTo int) error {
	_, err := sqlite.Run(ctx, tx, "DELETE FROM asset_files WHERE script = ? AND last <= ? AND NOT (first <= ? AND last >= ?)", r.key, upTo, r.active, r.active)
	return err
}
