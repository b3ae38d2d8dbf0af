package api

import (
	"fmt"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/wire"
)

// The upload protocol, in a namespace and in the account: where the token is, and with which status it comes.
func TestAssetsUpload(t *testing.T) {
	both(t, func(t *testing.T, n *node, ref atoll.ScriptRef, path string, missing int) {
		const one, two = "08f1dfda4574284ab3c21666d1ee8c7d4", "36b8be012ee77df5f269b11b975611d3"
		manifest := fmt.Sprintf(`{"manifest":{"/index.html":{"hash":%q,"size":5},"/a.css":{"hash":%q,"size":0}}}`, one, two)
		session := path + "site/assets-upload-session"
		var begun wire.AssetsUpload
		a := n.ok(&begun, "POST", session, manifest)
		if begun.JWT == "" || len(begun.Buckets) != 1 || len(begun.Buckets[0]) != 2 {
			t.Fatalf("session: %s", a.body)
		}
		if a.AssetsUpload.JWT != begun.JWT || len(a.AssetsUpload.Buckets) != 1 {
			t.Errorf("the envelope has not what the result has: %s", a.body)
		}
		upload := func(token string, fields ...string) answer {
			body, contentType := formOf(t, fields...)
			return n.send("POST", "ACCT/workers/assets/upload?base64=true", token, body, contentType)
		}
		if a = upload(begun.JWT, two, ""); a.status != 202 || !a.Success || strings.TrimSpace(string(a.Result)) != "{}" {
			t.Errorf("the first upload: %d %s", a.status, a.body)
		}
		a = upload(begun.JWT, one, "aGVsbG8=")
		var done wire.AssetsUpload
		if err := jsonInto(a.Result, &done); err != nil || a.status != 201 || done.JWT == "" || a.AssetsUpload.JWT != done.JWT {
			t.Fatalf("the last upload: %d %s", a.status, a.body)
		}
		if a := upload(theToken); a.status != 401 || a.code() != 10000 {
			t.Errorf("with the API's token: %d %s", a.status, a.body)
		}
		if a := upload(begun.JWT, "nope", "eA=="); a.status != 400 || a.code() != 10021 {
			t.Errorf("an unknown hash: %d %s", a.status, a.body)
		}

		body, contentType := formOf(t, "metadata", fmt.Sprintf(`{"assets":{"jwt":%q,"config":{"_headers":"/x\n  bad\n","_redirects":"/a /b /c /d\n"}}}`, done.JWT))
		a = n.send("PUT", path+"site", theToken, body, contentType)
		if a.status != 200 || len(a.Messages) != 3 || !strings.HasPrefix(a.Messages[0].Message, "_redirects:1: ") {
			t.Fatalf("the deploy: %d %s", a.status, a.body)
		}
		var shown wire.Script
		if err := jsonInto(a.Result, &shown); err != nil || !shown.HasAssets || shown.HasModules {
			t.Errorf("the deploy: %s", a.body)
		}
		n.fails(404, 10007, "GET", path+"site/content", "")

		// Again: nothing to upload, and an empty list that clients can go through.
		a = n.ok(&begun, "POST", session, manifest)
		if begun.JWT == "" || !strings.Contains(string(a.Result), `"buckets":[]`) {
			t.Errorf("the second session: %s", a.body)
		}
		n.fails(400, 10021, "POST", session, `{"manifest":{"index.html":{"hash":"`+one+`","size":5}}}`)
		n.fails(413, 10021, "POST", session, `{"manifest":{"/big":{"hash":"`+one+`","size":99999999}}}`)
	})
}
