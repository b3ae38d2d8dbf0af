package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// asked is the query of `wrangler r2 bucket info`, in its structure.
const asked = `query getR2StorageMetrics($accountTag: String, $filter: R2StorageAdaptiveGroupsFilter_InputObject) {
	viewer { accounts(filter: { accountTag: $accountTag }) { r2StorageAdaptiveGroups(limit: 1 filter: $filter orderBy: [datetime_DESC]) {
		max { objectCount payloadSize size: metadataSize } dimensions { datetime } } } } }`

// askGraphQL sends a query, whose answer has no envelope.
func (n *node) askGraphQL(t testing.TB, token, body string) string {
	t.Helper()
	req, err := http.NewRequest("POST", n.url+"/graphql", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%d %s %v", res.StatusCode, b, err)
	}
	return string(b)
}

func TestGraphQL(t *testing.T) {
	n := newNode(t)
	n.ok(nil, "POST", "ACCT/r2/buckets", `{"name":"one"}`)
	n.ok(nil, "PUT", "ACCT/r2/buckets/one/objects/k", "12345")
	ask := func(token, query string, filter map[string]any) string {
		t.Helper()
		body, _ := json.Marshal(map[string]any{"query": query, "variables": map[string]any{"accountTag": theAccount, "filter": filter}})
		return n.askGraphQL(t, token, string(body))
	}
	now := time.Now()
	day := func(days int) string { return now.AddDate(0, 0, days).UTC().Format("2006-01-02T15:04:05.000Z") }
	filter := map[string]any{"datetime_geq": day(-1), "datetime_leq": day(0), "bucketName": "one"}
	var got struct {
		Data struct {
			Viewer struct {
				Accounts []struct {
					R2 []struct {
						Max struct{ ObjectCount, PayloadSize, Size int }
					} `json:"r2StorageAdaptiveGroups"`
				}
			}
		}
		Errors any
	}
	text := ask(theToken, asked, filter)
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if r := got.Data.Viewer.Accounts[0].R2; len(r) != 1 || r[0].Max.ObjectCount != 1 || r[0].Max.PayloadSize != 5 || r[0].Max.Size == 0 || got.Errors != nil {
		t.Error(text)
	}
	const none = `"r2StorageAdaptiveGroups":[]`
	for _, f := range []map[string]any{{"bucketName": "other"}, {"datetime_leq": day(-1)}, {"AND": []any{map[string]any{"datetime_gt": day(1)}}}} {
		if text := ask(theToken, asked, f); !strings.Contains(text, none) {
			t.Errorf("%v: %s", f, text)
		}
	}
	d1 := `query q($a: string, $filter: ZoneWorkersRequestsFilter_InputObject) { viewer { accounts(filter: {accountTag: $accountTag}) {
		d1AnalyticsAdaptiveGroups(limit: 10000, filter: $filter) { sum { readQueries writeQueries rowsRead rowsWritten } dimensions { datetimeHour } } } } }`
	if text := ask(theToken, d1, nil); text != `{"data":{"viewer":{"accounts":[{"d1AnalyticsAdaptiveGroups":[]}]}},"errors":null}` {
		t.Error(text)
	}
	n.ok(nil, "POST", "ACCT/workers/dispatch/namespaces", `{"name":"production"}`)
	if text := ask(n.mint(true, "production"), asked, filter); !strings.Contains(text, "not authorized") {
		t.Error(text)
	}
	if text := ask(n.mint(false, ""), asked, filter); !strings.Contains(text, `"objectCount":1`) {
		t.Error(text)
	}
	one := `{ viewer { accounts(filter: {accountTag: "` + theAccount + `"}) { %s } } }`
	for _, q := range []string{"", "{", "{ viewer }", "{ nope }", "mutation { viewer { accounts { x } } }", "query a { viewer { __typename } } query b { viewer { __typename } }",
		"{ viewer { accounts { r2StorageAdaptiveGroups { max { objectCount } } } } }", `{ viewer { accounts(filter: {accountTag: "ffffffffffffffffffffffffffffffff"}) { r2StorageAdaptiveGroups { max { objectCount } } } } }`,
		fmt.Sprintf(one, "workersInvocationsAdaptive { sum { requests } }"), fmt.Sprintf(one, "r2StorageAdaptiveGroups { max { nope } }"),
		fmt.Sprintf(one, "r2StorageAdaptiveGroups { nope { objectCount } }"), fmt.Sprintf(one, "r2StorageAdaptiveGroups"), fmt.Sprintf(one, "d1AnalyticsAdaptiveGroups { sum { nope } }"),
		fmt.Sprintf(one, `r2StorageAdaptiveGroups(filter: {nope: "x"}) { max { objectCount } }`), fmt.Sprintf(one, `r2StorageAdaptiveGroups(filter: {datetime_geq: "x"}) { max { objectCount } }`),
		"{ ...f } fragment f on Query { viewer { __typename } }", strings.Repeat("{ a ", 20_000)} {
		if text := ask(theToken, q, nil); !strings.HasPrefix(text, `{"data":null,"errors":[{`) {
			t.Errorf("%.100s: %.300s", q, text)
		}
	}
	n.refused(401, 10000, "nobody", "POST", "/graphql", "{}")
}

// FuzzGraphQL asks anything: it must be answered, with data or an error.
func FuzzGraphQL(f *testing.F) {
	n := newNode(f)
	f.Add(asked)
	f.Add(`{ viewer { accounts(filter: {accountTag: "` + theAccount + `", x: [1, 2.5, true, null, $v, E]}) { a: r2StorageAdaptiveGroups { max { objectCount } } } } }`)
	f.Fuzz(func(t *testing.T, query string) {
		body, err := json.Marshal(map[string]any{"query": query, "variables": map[string]any{"accountTag": theAccount}})
		if err != nil {
			t.Skip()
		}
		text := n.askGraphQL(t, theToken, string(body))
		var got struct {
			Data   any
			Errors []any
		}
		if err := json.Unmarshal([]byte(text), &got); err != nil || (got.Data == nil) != (len(got.Errors) > 0) {
			t.Errorf("%s %v", text, err)
		}
	})
}
