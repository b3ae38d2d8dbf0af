package api

import (
	"slices"

	"atoll.dev/atoll/internal/auth"
)

// The paths of the table. A script's routes are the same in a dispatch namespace and in the account.
const (
	acct           = "/accounts/{account}"
	namespaces     = acct + "/workers/dispatch/namespaces"
	namespace      = namespaces + "/{namespace}"
	userWorkers    = namespace + "/scripts"
	accountScripts = acct + "/workers/scripts"
	zone           = "/zones/{zone}"
	kvAll          = acct + "/storage/kv/namespaces"
	kvOne          = kvAll + "/{kv}"
	queuesAll      = acct + "/queues"
	queueOne       = queuesAll + "/{queue}"
	subscriptions  = acct + "/event_subscriptions/subscriptions"
	r2All          = acct + "/r2/buckets"
	r2One          = r2All + "/{bucket}"
	r2Objects      = r2One + "/objects"
	d1All          = acct + "/d1/database"
	d1One          = d1All + "/{database}"
	secretStores   = acct + "/secrets_store/stores"
	d1Transfer     = d1One + "/transfer/{transfer}"
)

// routes is every endpoint of the API: method, path under /client/v4, what the caller needs, handler.
func routes() []endpoint {
	return slices.Concat(identityRoutes(), zoneRoutes(), namespaceRoutes(), egressRoutes(), accountRoutes(), kvRoutes(), d1Routes(), queueRoutes(), r2Routes(), secretStoreRoutes(), unservedRoutes(),
		scriptRoutes(userWorkers, auth.NamespaceRead, auth.NamespaceWrite),
		scriptRoutes(accountScripts, auth.AccountRead, auth.AccountWrite))
}

func identityRoutes() []endpoint {
	return []endpoint{
		{"GET", "/user", auth.Member, (*API).getUser},
		{"GET", "/user/tokens/verify", auth.Verify, (*API).verifyToken},
		{"GET", "/user/tokens/permission_groups", auth.Member, (*API).listPermissionGroups},
		{"GET", "/memberships", auth.Member, (*API).listMemberships},
		{"GET", "/accounts", auth.Member, (*API).listAccounts},
		{"GET", acct, auth.Member, (*API).getAccount},
		{"POST", "/graphql", auth.Member, (*API).postGraphQL},
		{"GET", acct + "/tokens/verify", auth.Verify, (*API).verifyToken},
		{"GET", acct + "/tokens/permission_groups", auth.Member, (*API).listPermissionGroups},
		{"GET", acct + "/tokens", auth.AccountWrite, (*API).listTokens},
		{"POST", acct + "/tokens", auth.AccountWrite, (*API).postToken},
		{"GET", acct + "/tokens/{token}", auth.AccountWrite, (*API).getToken},
		{"DELETE", acct + "/tokens/{token}", auth.AccountWrite, (*API).deleteToken},
	}
}

func zoneRoutes() []endpoint {
	return []endpoint{
		{"GET", "/zones", auth.AccountRead, (*API).listZones},
		{"POST", "/zones", auth.AccountWrite, (*API).postZone},
		{"GET", zone, auth.AccountRead, (*API).getZone},
		{"GET", zone + "/workers/routes", auth.AccountRead, (*API).listRoutes},
		{"POST", zone + "/workers/routes", auth.AccountWrite, (*API).postRoute},
		{"GET", zone + "/workers/routes/{route}", auth.AccountRead, (*API).getRoute},
		{"PUT", zone + "/workers/routes/{route}", auth.AccountWrite, (*API).putRoute},
		{"DELETE", zone + "/workers/routes/{route}", auth.AccountWrite, (*API).deleteRoute},
	}
}

func namespaceRoutes() []endpoint {
	return []endpoint{
		{"GET", namespaces, auth.AccountRead, (*API).listNamespaces},
		{"POST", namespaces, auth.AccountWrite, (*API).postNamespace},
		{"GET", namespace, auth.NamespaceRead, (*API).getNamespace},
		{"PUT", namespace, auth.AccountWrite, (*API).putNamespace},
		{"PATCH", namespace, auth.AccountWrite, (*API).putNamespace},
		{"DELETE", namespace, auth.AccountWrite, (*API).deleteNamespace},
		{"DELETE", userWorkers, auth.NamespaceWrite, (*API).deleteScripts},
		{"GET", userWorkers + "/{script}", auth.NamespaceRead, (*API).getNamespaceScript},
	}
}

// accountRoutes are what the account and its own scripts have beside scriptRoutes.
func accountRoutes() []endpoint {
	const one = accountScripts + "/{script}"
	return []endpoint{
		{"POST", acct + "/workers/assets/upload", auth.Session, (*API).postAssets},
		{"GET", acct + "/workers/subdomain", auth.AccountRead, (*API).getSubdomain},
		{"PUT", acct + "/workers/subdomain", auth.AccountWrite, (*API).putSubdomain},
		{"DELETE", acct + "/workers/subdomain", auth.AccountWrite, (*API).deleteSubdomain},
		{"GET", acct + "/workers/services/{script}", auth.AccountRead, (*API).getService},
		{"DELETE", acct + "/workers/services/{script}", auth.AccountWrite, (*API).deleteScript},
		{"GET", acct + "/workers/workers/{script}", auth.AccountRead, (*API).getWorker},
		{"PATCH", acct + "/workers/workers/{script}/versions/latest", auth.AccountWrite, (*API).patchNewestVersion},
		{"GET", acct + "/workers/tails/by-consumer/{script}", auth.AccountRead, (*API).listTailProducers},
		{"GET", acct + "/workers/durable_objects/namespaces", auth.AccountRead, (*API).listDurableObjectNamespaces},
		{"GET", acct + "/workers/durable_objects/namespaces/{class}/objects", auth.AccountRead, (*API).listDurableObjects},
		{"GET", one, auth.AccountRead, (*API).getContent},
		{"GET", one + "/references", auth.AccountRead, (*API).getReferences},
		{"GET", one + "/routes", auth.AccountRead, (*API).getScriptRoutes},
		{"PUT", one + "/routes", auth.AccountWrite, (*API).putScriptRoutes},
		{"GET", one + "/subdomain", auth.AccountRead, (*API).getScriptSubdomain},
		{"POST", one + "/subdomain", auth.AccountWrite, (*API).postScriptSubdomain},
		{"DELETE", one + "/subdomain", auth.AccountWrite, (*API).deleteScriptSubdomain},
		{"GET", one + "/schedules", auth.AccountRead, (*API).getSchedules},
		{"PUT", one + "/schedules", auth.AccountWrite, (*API).putSchedules},
	}
}

// kvRoutes are those of KV. A key is the rest of the path, whether its slashes are escaped, as wrangler sends them, or not,
// as some SDKs do.
func kvRoutes() []endpoint {
	return []endpoint{
		{"GET", kvAll, auth.AccountRead, (*API).listKVNamespaces},
		{"POST", kvAll, auth.AccountWrite, (*API).postKVNamespace},
		{"GET", kvOne, auth.AccountRead, (*API).getKVNamespace},
		{"PUT", kvOne, auth.AccountWrite, (*API).putKVNamespace},
		{"DELETE", kvOne, auth.AccountWrite, (*API).deleteKVNamespace},
		{"GET", kvOne + "/keys", auth.AccountRead, (*API).listKVKeys},
		{"GET", kvOne + "/metadata/*", auth.AccountRead, (*API).getKVMetadata},
		{"GET", kvOne + "/values/*", auth.AccountRead, (*API).getKVValue},
		{"PUT", kvOne + "/values/*", auth.AccountWrite, (*API).putKVValue},
		{"DELETE", kvOne + "/values/*", auth.AccountWrite, (*API).deleteKVValue},
		{"PUT", kvOne + "/bulk", auth.AccountWrite, (*API).putKVPairs},
		{"DELETE", kvOne + "/bulk", auth.AccountWrite, (*API).deleteKVKeys},
		{"POST", kvOne + "/bulk/delete", auth.AccountWrite, (*API).deleteKVKeys},
		{"POST", kvOne + "/bulk/get", auth.AccountRead, (*API).getKVValues},
	}
}

// queueRoutes are those of queues, their consumers and their messages. Whoever may write in the account may send and pull.
func queueRoutes() []endpoint {
	const consumers, messages = queueOne + "/consumers", queueOne + "/messages"
	return []endpoint{
		{"GET", queuesAll, auth.AccountRead, (*API).listQueues},
		{"POST", queuesAll, auth.AccountWrite, (*API).postQueue},
		{"GET", queueOne, auth.AccountRead, (*API).getQueue},
		{"PUT", queueOne, auth.AccountWrite, (*API).putQueue},
		{"PATCH", queueOne, auth.AccountWrite, (*API).patchQueue},
		{"DELETE", queueOne, auth.AccountWrite, (*API).deleteQueue},
		{"GET", queueOne + "/metrics", auth.AccountRead, (*API).getQueueMetrics},
		{"GET", queueOne + "/purge", auth.AccountRead, (*API).getPurge},
		{"POST", queueOne + "/purge", auth.AccountWrite, (*API).postPurge},
		{"GET", consumers, auth.AccountRead, (*API).listConsumers},
		{"POST", consumers, auth.AccountWrite, (*API).postConsumer},
		{"GET", consumers + "/{consumer}", auth.AccountRead, (*API).getConsumer},
		{"PUT", consumers + "/{consumer}", auth.AccountWrite, (*API).putConsumer},
		{"DELETE", consumers + "/{consumer}", auth.AccountWrite, (*API).deleteConsumer},
		{"POST", messages, auth.AccountWrite, (*API).postMessage},
		{"POST", messages + "/batch", auth.AccountWrite, (*API).postMessages},
		{"POST", messages + "/pull", auth.AccountWrite, (*API).pullMessages},
		{"POST", messages + "/ack", auth.AccountWrite, (*API).ackMessages},
		{"GET", subscriptions, auth.AccountRead, (*API).listSubscriptions},
		{"POST", subscriptions, auth.Member, notServed("event subscriptions")},
	}
}

// r2Routes are those of R2. An object's key is the rest of the path, as a KV key is.
func r2Routes() []endpoint {
	return []endpoint{
		{"GET", r2All, auth.AccountRead, (*API).listR2Buckets},
		{"POST", r2All, auth.AccountWrite, (*API).postR2Bucket},
		{"GET", r2One, auth.AccountRead, (*API).getR2Bucket},
		{"PATCH", r2One, auth.AccountWrite, (*API).patchR2Bucket},
		{"DELETE", r2One, auth.AccountWrite, (*API).deleteR2Bucket},
		{"GET", r2Objects, auth.AccountRead, (*API).listR2Objects},
		{"DELETE", r2Objects, auth.AccountWrite, (*API).deleteR2Objects},
		{"GET", r2Objects + "/*", auth.AccountRead, (*API).getR2Object},
		{"PUT", r2Objects + "/*", auth.AccountWrite, (*API).putR2Object},
		{"DELETE", r2Objects + "/*", auth.AccountWrite, (*API).deleteR2Object},
	}
}

// d1Routes are those of D1. A database is named by its id or its name.
func d1Routes() []endpoint {
	return []endpoint{
		{"GET", d1All, auth.AccountRead, (*API).listDatabases},
		{"POST", d1All, auth.AccountWrite, (*API).postDatabase},
		{"GET", d1One, auth.AccountRead, (*API).getDatabase},
		{"PUT", d1One, auth.AccountWrite, (*API).putDatabase},
		{"PATCH", d1One, auth.AccountWrite, (*API).putDatabase},
		{"DELETE", d1One, auth.AccountWrite, (*API).deleteDatabase},
		{"POST", d1One + "/query", auth.AccountWrite, (*API).queryDatabase},
		{"POST", d1One + "/raw", auth.AccountWrite, (*API).queryDatabaseRaw},
		{"POST", d1One + "/import", auth.AccountWrite, (*API).importDatabase},
		{"POST", d1One + "/export", auth.AccountWrite, (*API).exportDatabase},
		{"GET", d1One + "/time_travel/bookmark", auth.AccountRead, (*API).getBookmark},
		{"POST", d1One + "/time_travel/restore", auth.AccountWrite, (*API).restoreDatabase},
		{"PUT", d1Transfer, auth.Session, (*API).putTransfer},
		{"GET", d1Transfer, auth.Session, (*API).getTransfer},
	}
}

// unservedRoutes are what Cloudflare has and a node has not yet: a clear refusal reads better than a missing route.
func unservedRoutes() []endpoint {
	var all []endpoint
	for _, u := range []struct{ pattern, what string }{
		{r2All + "/{bucket}/lifecycle", "lifecycle rules of buckets"},
		{r2All + "/{bucket}/cors", "CORS rules of buckets"},
		{r2All + "/{bucket}/lock", "locks of buckets"},
		{r2All + "/{bucket}/domains/*", "public addresses of buckets"},
		{r2All + "/{bucket}/sippy", "Sippy"},
		{r2All + "/{bucket}/local-uploads", "local uploads to buckets"},
		{acct + "/r2/*", "this part of R2"},
		{acct + "/r2-catalog", "catalogs of buckets"},
		{acct + "/r2-catalog/*", "catalogs of buckets"},
		{acct + "/event_notifications/*", "notifications of buckets"},
		{subscriptions + "/*", "event subscriptions"},
		{acct + "/hyperdrive/*", "Hyperdrive"},
		{acct + "/vectorize/*", "Vectorize"},
		{acct + "/workflows", "Workflows"},
		{acct + "/workflows/*", "Workflows"},
		{acct + "/ai/*", "AI"},
		{acct + "/containers/*", "containers"},
		{acct + "/pipelines", "Pipelines"},
		{acct + "/pipelines/*", "Pipelines"},
		{acct + "/pages/*", "Pages"},
		{acct + "/mtls_certificates", "client certificates"},
		{acct + "/mtls_certificates/*", "client certificates"},
		{acct + "/connectivity/*", "VPC services"},
		{acct + "/workers/domains", "custom domains"},
		{acct + "/workers/domains/*", "custom domains"},
		{acct + "/workers/observability/*", "stored logs"},
		{acct + "/analytics_engine/*", "analytics"},
		{acct + "/logpush/*", "log exports"},
		{zone + "/custom_hostnames", "custom hostnames"},
		{zone + "/custom_hostnames/*", "custom hostnames"},
	} {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			all = append(all, endpoint{method, u.pattern, auth.Member, notServed(u.what)})
		}
	}
	return all
}

// scriptRoutes are the routes of scripts in a dispatch namespace, and of those in the account. wrangler asks for the
// settings and secrets of an account script before it deploys a namesake of it into a namespace.
func scriptRoutes(all string, read, write auth.Permission) []endpoint {
	one, probe := all+"/{script}", read
	if probe == auth.AccountRead {
		probe = auth.Probe
	}
	return []endpoint{
		{"GET", all, read, (*API).listScripts},
		{"PUT", one, write, (*API).putScript},
		{"DELETE", one, write, (*API).deleteScript},
		{"GET", one + "/content", read, (*API).getContent},
		{"PUT", one + "/content", write, (*API).putContent},
		{"GET", one + "/content/v2", read, (*API).getContent},
		{"GET", one + "/bindings", read, (*API).getBindings},
		{"GET", one + "/settings", probe, (*API).getSettings},
		{"PATCH", one + "/settings", write, (*API).patchSettings},
		{"GET", one + "/script-settings", read, (*API).getScriptSettings},
		{"PATCH", one + "/script-settings", write, (*API).patchScriptSettings},
		{"GET", one + "/secrets", probe, (*API).listSecrets},
		{"PUT", one + "/secrets", write, (*API).putSecret},
		{"GET", one + "/secrets/{secret}", read, (*API).getSecret},
		{"DELETE", one + "/secrets/{secret}", write, (*API).deleteSecret},
		{"PATCH", one + "/secrets-bulk", write, (*API).patchSecrets},
		{"GET", one + "/tags", read, (*API).getTags},
		{"PUT", one + "/tags", write, (*API).putTags},
		{"PUT", one + "/tags/{tag}", write, (*API).putTag},
		{"DELETE", one + "/tags/{tag}", write, (*API).deleteTag},
		{"GET", one + "/versions", read, (*API).listVersions},
		{"POST", one + "/versions", write, (*API).postVersion},
		{"GET", one + "/versions/{version}", read, (*API).getVersion},
		{"GET", one + "/deployments", read, (*API).listDeployments},
		{"POST", one + "/deployments", write, (*API).postDeployment},
		{"GET", one + "/deployments/{deployment}", read, (*API).getDeployment},
		{"POST", one + "/assets-upload-session", write, (*API).postAssetsSession},
		{"POST", one + "/tails", write, notServed("live tails")},
	}
}
