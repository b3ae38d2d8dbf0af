package store

import (
	"context"
	"encoding/json"
	"fmt"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/sqlite"
)

// egressDoc is the column egress.rules.
type egressDoc struct {
	Allow []string `json:"allow,omitempty"`
	Deny  []string `json:"deny,omitempty"`
	Ports []string `json:"ports,omitempty"`
	TCP   *bool    `json:"tcp,omitempty"`
}

func scanEgress(row sqlite.Row) (*atoll.EgressRules, error) {
	var doc egressDoc
	var rules []byte
	var modified int64
	if err := row.Scan(&rules, &modified); err != nil {
		return nil, err
	}
	err := json.Unmarshal(rules, &doc)
	return &atoll.EgressRules{Allow: doc.Allow, Deny: doc.Deny, Ports: doc.Ports, TCP: doc.TCP, Modified: fromMicros(modified)}, err
}

func getEgress(ctx context.Context, s sqlite.Session, namespace int64, name atoll.ScriptName) (*atoll.EgressRules, error) {
	r, err := sqlite.One(ctx, s, scanEgress, "SELECT rules, modified FROM egress WHERE namespace = ? AND script = ?", namespace, name)
	if sqlite.Missing(err) {
		return nil, nil
	}
	return r, err
}

// EgressRules returns the egress rules of the script's namespace and its own; nil where there are none. The script need not
// exist, and may be left out.
func (db *DB) EgressRules(ctx context.Context, ref atoll.ScriptRef) (namespace, script *atoll.EgressRules, err error) {
	key, err := namespaceKey(ctx, db.reads, ref.Account, ref.Namespace)
	if err == nil && ref.Namespace != "" {
		namespace, err = getEgress(ctx, db.reads, key, "")
	}
	if err == nil && ref.Name != "" {
		script, err = getEgress(ctx, db.reads, key, ref.Name)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("get egress rules of %s: %w", ref, err)
	}
	return namespace, script, nil
}

// SetEgressRules replaces the egress rules of a script, which need not exist, or without a name those of the namespace.
func (db *DB) SetEgressRules(ctx context.Context, ref atoll.ScriptRef, r atoll.EgressRules) (atoll.EgressRules, error) {
	doc, err := json.Marshal(egressDoc{r.Allow, r.Deny, r.Ports, r.TCP})
	if err != nil {
		return r, fmt.Errorf("set egress rules of %s: %w", ref, err)
	}
	r.Modified = now()
	err = db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		key, err := namespaceKey(ctx, tx, ref.Account, ref.Namespace)
		if err != nil {
			return err
		}
		_, err = sqlite.Run(ctx, tx, "INSERT OR REPLACE INTO egress (namespace, script, rules, modified) VALUES (?, ?, ?, ?)",
			key, ref.Name, string(doc), micros(r.Modified))
		return err
	})
	if err != nil {
		return r, fmt.Errorf("set egress rules of %s: %w", ref, err)
	}
	return r, nil
}

// DeleteEgressRules removes the egress rules of a script, or without a name those of the namespace. That there are none is
// no error.
func (db *DB) DeleteEgressRules(ctx context.Context, ref atoll.ScriptRef) error {
	err := db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		key, err := namespaceKey(ctx, tx, ref.Account, ref.Namespace)
		if err != nil {
			return err
		}
		_, err = sqlite.Run(ctx, tx, "DELETE FROM egress WHERE namespace = ? AND script = ?", key, ref.Name)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete egress rules of %s: %w", ref, err)
	}
	return nil
}

// EgressScripts returns the names of the namespace's scripts that have egress rules of their own, the first limit.
func (db *DB) EgressScripts(ctx context.Context, acct atoll.AccountID, ns atoll.NamespaceName, limit int) ([]atoll.ScriptName, error) {
	key, err := namespaceKey(ctx, db.reads, acct, ns)
	var names []atoll.ScriptName
	if err == nil {
		names, err = sqlite.All(ctx, db.reads, sqlite.Value[atoll.ScriptName], "SELECT script FROM egress WHERE namespace = ? AND script > '' ORDER BY script LIMIT ?", key, limit)
	}
	if err != nil {
		return nil, fmt.Errorf("list egress rules: %w", err)
	}
	return names, nil
}
