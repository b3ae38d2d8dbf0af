package auth

import (
	"testing"

	"atoll.dev/atoll/internal/fault"
)

// TestCheck covers every permission × every kind of principal. A capital letter allows; the letters stand for the target:
// the own account without a namespace, its namespace p, its namespace q, another account.
func TestCheck(t *testing.T) {
	targets := map[byte]Target{
		'A': {Account: "a"}, 'P': {Account: "a", NamespaceID: "p"}, 'Q': {Account: "a", NamespaceID: "q"},
		'O': {Account: "other", NamespaceID: "p"},
	}
	principals := map[string]Principal{
		"node":            {TokenID: "1", Scope: Scope{Write: true}},
		"account-write":   {TokenID: "1", Account: "a", Scope: Scope{Write: true}},
		"account-read":    {TokenID: "1", Account: "a"},
		"namespace-write": {TokenID: "1", Account: "a", Scope: Scope{Write: true, NamespaceID: "p"}},
		"namespace-read":  {TokenID: "1", Account: "a", Scope: Scope{NamespaceID: "p"}},
		"zero":            {},
	}
	want := map[Permission]map[string]string{
		Nobody:         {},
		Verify:         {"node": "APQO", "account-write": "APQ", "account-read": "APQ", "namespace-write": "APQ", "namespace-read": "APQ"},
		Member:         {"node": "APQO", "account-write": "APQ", "account-read": "APQ", "namespace-write": "APQ", "namespace-read": "APQ"},
		AccountRead:    {"node": "APQO", "account-write": "APQ", "account-read": "APQ"},
		AccountWrite:   {"node": "APQO", "account-write": "APQ"},
		NamespaceRead:  {"node": "APQO", "account-write": "APQ", "account-read": "APQ", "namespace-write": "P", "namespace-read": "P"},
		NamespaceWrite: {"node": "APQO", "account-write": "APQ", "namespace-write": "P"},
		Probe:          {"node": "APQO", "account-write": "APQ", "account-read": "APQ"},
		Probe + 1:      {},
	}
	for need, allowed := range want {
		for who, p := range principals {
			for letter, target := range targets {
				var expect bool
				for i := range allowed[who] {
					expect = expect || allowed[who][i] == letter
				}
				err := p.Check(need, target)
				if (err == nil) != expect {
					t.Errorf("%s: Check(%s, %c) = %v, want allowed: %v", who, need, letter, err, expect)
				}
				if err != nil && need != Probe && fault.KindOf(err) != fault.Forbidden {
					t.Errorf("%s: Check(%s, %c) = %v, want Forbidden", who, need, letter, err)
				}
			}
		}
	}
	if err := principals["namespace-read"].Check(Probe, targets['A']); fault.Of(err) == nil || fault.Of(err).Code != 10007 {
		t.Errorf("a namespace's token that probes is told %v, want 10007", err)
	}
}
