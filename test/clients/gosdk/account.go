package main

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/cloudflare/cloudflare-go/v6"
	"github.com/cloudflare/cloudflare-go/v6/accounts"
	"github.com/cloudflare/cloudflare-go/v6/kv"
	"github.com/cloudflare/cloudflare-go/v6/shared"
	"github.com/cloudflare/cloudflare-go/v6/workers"
	"github.com/cloudflare/cloudflare-go/v6/zones"
)

// The steps about what an account has beside dispatch namespaces: who am I, ordinary scripts, routes, KV.

func (d *driver) identity() error {
	token, err := d.client.User.Tokens.Verify(d.ctx)
	if err != nil {
		return err
	}
	var ids []string
	pages := d.client.Accounts.ListAutoPaging(d.ctx, accounts.AccountListParams{})
	for pages.Next() {
		ids = append(ids, pages.Current().ID)
	}
	return errors.Join(pages.Err(), same(string(token.Status), "active", "status"), same(strings.Join(ids, " "), d.account, "accounts"))
}

func (d *driver) ordinaryScript() error {
	made, err := d.client.Workers.Scripts.Update(d.ctx, "plain", workers.ScriptUpdateParams{
		AccountID: cloudflare.F(d.account),
		Metadata:  cloudflare.F(workers.ScriptUpdateParamsMetadata{MainModule: cloudflare.F("plain.mjs")}),
		Files:     cloudflare.F(module("plain.mjs", `export default { fetch: () => new Response("plain") }`)),
	})
	if err != nil {
		return err
	}
	var names []string
	pages := d.client.Workers.Scripts.ListAutoPaging(d.ctx, workers.ScriptListParams{AccountID: cloudflare.F(d.account)})
	for pages.Next() {
		names = append(names, pages.Current().ID)
	}
	return errors.Join(pages.Err(), same(made.ID, "plain", "id"), same(strings.Join(names, " "), "dispatcher plain", "scripts"))
}

func (d *driver) route() error {
	if err := d.routeTo("plain"); err != nil {
		return err
	}
	text, err := d.page("plain", "/")
	return errors.Join(err, same(text, "plain", "the route's answer"))
}

// routeTo gives a script the host of its name.
func (d *driver) routeTo(script string) error {
	found, err := d.client.Zones.List(d.ctx, zones.ZoneListParams{Name: cloudflare.F(d.zone)})
	if err != nil {
		return err
	}
	if len(found.Result) != 1 {
		return errors.New("the zone is not listed")
	}
	pattern := script + "." + d.zone + "/*"
	made, err := d.client.Workers.Routes.New(d.ctx, workers.RouteNewParams{
		ZoneID: cloudflare.F(found.Result[0].ID), Pattern: cloudflare.F(pattern), Script: cloudflare.F(script)})
	if err != nil {
		return err
	}
	return same(made.Pattern, pattern, "pattern")
}

// page is what the host of that name answers through the edge.
func (d *driver) page(host, path string) (string, error) {
	req, err := http.NewRequestWithContext(d.ctx, "GET", d.edge+path, nil)
	if err != nil {
		return "", err
	}
	req.Host = host + "." + d.zone
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), errors.Join(err, same(resp.StatusCode, 200, "status of "+host+path))
}

func (d *driver) versions() error {
	var ids []string
	pages := d.client.Workers.Scripts.Versions.ListAutoPaging(d.ctx, "plain", workers.ScriptVersionListParams{AccountID: cloudflare.F(d.account)})
	for pages.Next() {
		ids = append(ids, pages.Current().ID)
	}
	if err := errors.Join(pages.Err(), same(len(ids), 1, "versions")); err != nil {
		return err
	}
	_, err := d.client.Workers.Scripts.Deployments.New(d.ctx, "plain", workers.ScriptDeploymentNewParams{
		AccountID: cloudflare.F(d.account),
		Deployment: workers.DeploymentParam{
			Strategy: cloudflare.F(workers.DeploymentStrategyPercentage),
			Versions: cloudflare.F([]workers.DeploymentVersionParam{{VersionID: cloudflare.F(ids[0]), Percentage: cloudflare.F(100.0)}}),
		},
	})
	if err != nil {
		return err
	}
	list, err := d.client.Workers.Scripts.Deployments.List(d.ctx, "plain", workers.ScriptDeploymentListParams{AccountID: cloudflare.F(d.account)})
	if err != nil {
		return err
	}
	return same(len(list.Deployments), 2, "deployments")
}

func (d *driver) values() error {
	account := cloudflare.F(d.account)
	made, err := d.client.KV.Namespaces.New(d.ctx, kv.NamespaceNewParams{AccountID: account, Title: cloudflare.F("gophers")})
	if err != nil {
		return err
	}
	values := d.client.KV.Namespaces.Values
	_, err = values.Update(d.ctx, made.ID, "dir/a key", kv.NamespaceValueUpdateParams{
		AccountID: account, Metadata: cloudflare.F[any](map[string]any{"n": 1}),
		Value: cloudflare.F[kv.NamespaceValueUpdateParamsValueUnion](shared.UnionString("a value"))})
	if err != nil {
		return err
	}
	resp, err := values.Get(d.ctx, made.ID, "dir/a key", kv.NamespaceValueGetParams{AccountID: account})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var keys []string
	pages := d.client.KV.Namespaces.Keys.ListAutoPaging(d.ctx, made.ID, kv.NamespaceKeyListParams{AccountID: account})
	for pages.Next() {
		keys = append(keys, pages.Current().Name)
	}
	_, gone := d.client.KV.Namespaces.Delete(d.ctx, made.ID, kv.NamespaceDeleteParams{AccountID: account})
	return errors.Join(pages.Err(), gone, same(string(text), "a value", "value"), same(strings.Join(keys, ","), "dir/a key", "keys"))
}
