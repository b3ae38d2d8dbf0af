package api

import "atoll.dev/atoll/internal/auth"

// routes is every endpoint of the API: method, path under /client/v4, what the caller needs, handler.
func routes() []route {
	const (
		acct = "/accounts/{account}"
		ns   = acct + "/workers/dispatch/namespaces/{namespace}"
		zone = "/zones/{zone}"
	)
	table := []route{
		{"GET", "/user", auth.Member, (*API).getUser},
		{"GET", "/user/tokens/verify", auth.Verify, (*API).verifyToken},
		{"GET", "/user/tokens/permission_groups", auth.Member, (*API).listPermissionGroups},
		{"GET", "/memberships", auth.Member, (*API).listMemberships},
		{"GET", "/accounts", auth.Member, (*API).listAccounts},
		{"GET", acct, auth.Member, (*API).getAccount},

		{"GET", acct + "/tokens/verify", auth.Verify, (*API).verifyToken},
		{"GET", acct + "/tokens/permission_groups", auth.Member, (*API).listPermissionGroups},
		{"GET", acct + "/tokens", auth.AccountWrite, (*API).listTokens},
		{"POST", acct + "/tokens", auth.AccountWrite, (*API).postToken},
		{"GET", acct + "/tokens/{token}", auth.AccountWrite, (*API).getToken},
		{"DELETE", acct + "/tokens/{token}", auth.AccountWrite, (*API).deleteToken},

		{"GET", "/zones", auth.AccountRead, (*API).listZones},
		{"POST", "/zones", auth.AccountWrite, (*API).postZone},
		{"GET", zone, auth.AccountRead, (*API).getZone},
		{"GET", zone + "/workers/routes", auth.AccountRead, (*API).listRoutes},
		{"POST", zone + "/workers/routes", auth.AccountWrite, (*API).postRoute},
		{"GET", zone + "/workers/routes/{route}", auth.AccountRead, (*API).getRoute},
		{"PUT", zone + "/workers/routes/{route}", auth.AccountWrite, (*API).putRoute},
		{"DELETE", zone + "/workers/routes/{route}", auth.AccountWrite, (*API).deleteRoute},

		{"GET", acct + "/workers/subdomain", auth.AccountRead, (*API).getSubdomain},
		{"PUT", acct + "/workers/subdomain", auth.AccountWrite, (*API).putSubdomain},
		{"DELETE", acct + "/workers/subdomain", auth.AccountWrite, (*API).deleteSubdomain},

		{"GET", acct + "/workers/dispatch/namespaces", auth.AccountRead, (*API).listNamespaces},
		{"POST", acct + "/workers/dispatch/namespaces", auth.AccountWrite, (*API).postNamespace},
		{"GET", ns, auth.NamespaceRead, (*API).getNamespace},
		{"PUT", ns, auth.AccountWrite, (*API).putNamespace},
		{"PATCH", ns, auth.AccountWrite, (*API).putNamespace},
		{"DELETE", ns, auth.AccountWrite, (*API).deleteNamespace},
	}
	return table
}
