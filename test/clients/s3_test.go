package clients_test

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
)

// TestS3 runs the real aws-sdk against a node's buckets: at the path that the API's listener has for them, by the access keys
// that tokens are.
func TestS3(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	var groups []struct{ ID string } // reading, writing
	n.result("GET", n.base()+"/user/tokens/permission_groups", "", "", &groups)
	for i, name := range []string{"READ", "KEY"} {
		var token struct{ ID, Value string }
		n.result("POST", n.acct()+"/tokens", "application/json", `{"name":"s3","policies":[{"effect":"allow","permission_groups":[{"id":"`+groups[i].ID+
			`"}],"resources":{"com.cloudflare.api.account.`+n.account+`":"*"}}]}`, &token)
		sum := sha256.Sum256([]byte(token.Value))
		n.driving = append(n.driving, name+"_ID="+token.ID, name+"_SECRET="+hex.EncodeToString(sum[:]))
	}
	n.driving = append(n.driving, "S3_ENDPOINT="+n.api+"/s3")
	n.drive("node_modules/.bin/node", "sdk/s3.mjs", "3")
}
