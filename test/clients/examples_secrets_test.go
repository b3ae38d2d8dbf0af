package clients_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// The example of a secrets store, with every wrangler command for stores and their secrets.
func TestExampleSecretsStore(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	w := n.example("bindings/secrets-store")
	secrets := func(args ...string) string {
		t.Helper()
		return w.ok(append(append([]string{"secrets-store"}, args...), "--remote")...)
	}
	id := func(output string) string {
		t.Helper()
		m := regexp.MustCompile(`ID: (\w{32})`).FindStringSubmatch(output)
		if m == nil {
			t.Fatalf("no id in:\n%s", output)
		}
		return m[1]
	}
	store := id(secrets("store", "create", "keys"))
	matches(t, secrets("store", "list"), `keys.*`+store)
	w.edit("wrangler.jsonc", `"store_id": "<id of the store>"`, `"store_id": "`+store+`"`)
	matches(t, w.fails("deploy"), `Secrets Store binding 'KEY' references store '`+store+`' and secret 'signing-key' which were not found`)
	secret := id(secrets("secret", "create", store, "--name", "signing-key", "--value", "first", "--scopes", "workers", "--comment", "signs"))
	matches(t, secrets("secret", "list", store), `signing-key`)
	matches(t, secrets("secret", "get", store, "--secret-id", secret), `signs`)
	w.ok("deploy")
	sign := func(key string) string {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte("text"))
		return fmt.Sprintf("%x\n", mac.Sum(nil))
	}
	if got := n.sends("POST", "signer", "/", "text"); got.Status != 200 || got.Body != sign("first") {
		t.Errorf("%d %q", got.Status, got.Body)
	}
	secrets("secret", "update", store, "--secret-id", secret, "--value", "second")
	if got := n.sends("POST", "signer", "/", "text"); got.Body != sign("second") {
		t.Errorf("after an update: %d %q", got.Status, got.Body)
	}
	secrets("secret", "duplicate", store, "--secret-id", secret, "--name", "copy", "--scopes", "workers")
	secrets("secret", "delete", store, "--secret-id", secret)
	if got := n.sends("POST", "signer", "/", "text"); got.Status != 503 || !strings.Contains(got.Body, `Secret "signing-key" not found`) {
		t.Errorf("after its end: %d %q", got.Status, got.Body)
	}
	matches(t, w.fails("secrets-store", "secret", "get", store, "--secret-id", secret, "--remote"), `secret_not_found`)
	matches(t, w.fails("secrets-store", "store", "delete", store, "--remote"), `store_not_empty`)
}
