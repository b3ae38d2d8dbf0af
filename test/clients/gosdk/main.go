// Command gosdk drives cloudflare-go through Workers for Platforms against a node of Atoll. It is to the Go client what
// sdk/contract.mjs is to the TypeScript ones: it takes the node's addresses from the environment and prints one line of
// JSON a step, which the tests of package clients_test turn into subtests. A module of its own keeps the client's
// dependencies out of the product's. One goroutine, one step after the other.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/cloudflare/cloudflare-go/v6"
	"github.com/cloudflare/cloudflare-go/v6/option"
	wfp "github.com/cloudflare/cloudflare-go/v6/workers_for_platforms"
)

// A driver has the client and what the steps need to know of the node.
type driver struct {
	ctx        context.Context
	client     *cloudflare.Client
	spaces     *wfp.DispatchNamespaceService
	scripts    *wfp.DispatchNamespaceScriptService
	account    string
	edge, zone string
}

const namespace = "production"

func main() {
	client := cloudflare.NewClient(
		option.WithBaseURL(os.Getenv("BASE_URL")+"/"),
		option.WithAPIToken(os.Getenv("API_TOKEN")),
		option.WithMaxRetries(0))
	spaces := client.WorkersForPlatforms.Dispatch.Namespaces
	d := &driver{ctx: context.Background(), client: client, spaces: spaces, scripts: spaces.Scripts, account: os.Getenv("ACCOUNT"),
		edge: os.Getenv("EDGE_URL"), zone: os.Getenv("ZONE")}
	out := json.NewEncoder(os.Stdout)
	for _, s := range []struct {
		name string
		run  func() error
	}{
		{"namespaces-create", d.createNamespace},
		{"namespaces-list", d.listNamespaces},
		{"namespaces-get", d.getNamespace},
		{"namespaces-delete", d.deleteNamespace},
		{"scripts-update", d.update},
		{"scripts-update-refused", d.updateRefused},
		{"scripts-get", d.get},
		{"content-get", d.getContent},
		{"content-update", d.updateContent},
		{"bindings-get", d.getBindings},
		{"settings-get", d.getSettings},
		{"settings-edit", d.editSettings},
		{"secrets-update", d.updateSecret},
		{"secrets-list", d.listSecrets},
		{"secrets-get", d.getSecret},
		{"secrets-delete", d.deleteSecret},
		{"tags-update", d.updateTags},
		{"tags-delete", d.deleteTag},
		{"scripts-delete", d.delete},
		{"account-identity", d.identity},
		{"account-script", d.ordinaryScript},
		{"account-route", d.route},
		{"account-versions", d.versions},
		{"account-kv", d.values},
		{"d1", d.database},
		{"r2-buckets", d.bucket},
		{"queues", d.queue},
		{"secrets-store", d.secretStore},
		{"durable-objects", d.durableObjects},
	} {
		line := map[string]any{"step": s.name, "ok": true}
		if err := s.run(); err != nil {
			line["ok"], line["error"] = false, err.Error()
		}
		if err := out.Encode(line); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func (d *driver) createNamespace() error {
	made, err := d.spaces.New(d.ctx, wfp.DispatchNamespaceNewParams{AccountID: cloudflare.F(d.account), Name: cloudflare.F("extra")})
	if err != nil {
		return err
	}
	return same(made.NamespaceName, "extra", "namespace_name")
}

func (d *driver) listNamespaces() error {
	var names []string
	pages := d.spaces.ListAutoPaging(d.ctx, wfp.DispatchNamespaceListParams{AccountID: cloudflare.F(d.account)})
	for pages.Next() {
		names = append(names, pages.Current().NamespaceName)
	}
	slices.Sort(names)
	return errors.Join(pages.Err(), same(strings.Join(names, " "), "extra production", "namespaces"))
}

func (d *driver) getNamespace() error {
	got, err := d.spaces.Get(d.ctx, "extra", wfp.DispatchNamespaceGetParams{AccountID: cloudflare.F(d.account)})
	if err != nil {
		return err
	}
	return errors.Join(same(len(got.NamespaceID), 36, "length of namespace_id"), same(got.CreatedOn.IsZero(), false, "no created_on"))
}

func (d *driver) deleteNamespace() error {
	_, err := d.spaces.Delete(d.ctx, "extra", wfp.DispatchNamespaceDeleteParams{AccountID: cloudflare.F(d.account)})
	if err != nil {
		return err
	}
	_, err = d.spaces.Get(d.ctx, "extra", wfp.DispatchNamespaceGetParams{AccountID: cloudflare.F(d.account)})
	return refused(err, 404, 100119)
}

// module is a file of an upload, as a reader that tells its name and type.
func module(name, text string) []io.Reader {
	return []io.Reader{cloudflare.FileParam(strings.NewReader(text), name, "application/javascript+module").Value}
}

const showing = `export default { async fetch(request, env) { return Response.json({ ...env }) } }`

func (d *driver) update() error {
	made, err := d.scripts.Update(d.ctx, namespace, "gopher", wfp.DispatchNamespaceScriptUpdateParams{
		AccountID: cloudflare.F(d.account),
		Metadata: cloudflare.F(wfp.DispatchNamespaceScriptUpdateParamsMetadata{
			MainModule:        cloudflare.F("gopher.mjs"),
			CompatibilityDate: cloudflare.F("2024-01-01"),
			Tags:              cloudflare.F([]string{"customer-123", "production"}),
			Bindings: cloudflare.F([]wfp.DispatchNamespaceScriptUpdateParamsMetadataBindingUnion{
				wfp.DispatchNamespaceScriptUpdateParamsMetadataBindingsWorkersBindingKindPlainText{
					Name: cloudflare.F("TEXT"), Text: cloudflare.F("plain"),
					Type: cloudflare.F(wfp.DispatchNamespaceScriptUpdateParamsMetadataBindingsWorkersBindingKindPlainTextTypePlainText)},
				wfp.DispatchNamespaceScriptUpdateParamsMetadataBindingsWorkersBindingKindSecretText{
					Name: cloudflare.F("SECRET"), Text: cloudflare.F("hush"),
					Type: cloudflare.F(wfp.DispatchNamespaceScriptUpdateParamsMetadataBindingsWorkersBindingKindSecretTextTypeSecretText)},
			}),
		}),
		Files: cloudflare.F(module("gopher.mjs", showing)),
	})
	if err != nil {
		return err
	}
	return errors.Join(same(made.ID, "gopher", "id"), d.sees("TEXT", "plain"), d.sees("SECRET", "hush"))
}

func (d *driver) updateRefused() error {
	_, err := d.scripts.Update(d.ctx, namespace, "bad", wfp.DispatchNamespaceScriptUpdateParams{
		AccountID: cloudflare.F(d.account),
		Metadata:  cloudflare.F(wfp.DispatchNamespaceScriptUpdateParamsMetadata{MainModule: cloudflare.F("bad.mjs")}),
		Files:     cloudflare.F(module("bad.mjs", "throw new Error('at the top')")),
	})
	return refused(err, 400, 10021)
}

func (d *driver) get() error {
	got, err := d.scripts.Get(d.ctx, namespace, "gopher", wfp.DispatchNamespaceScriptGetParams{AccountID: cloudflare.F(d.account)})
	if err != nil {
		return err
	}
	return errors.Join(same(got.DispatchNamespace, namespace, "dispatch_namespace"), same(got.Script.ID, "gopher", "script.id"))
}

func (d *driver) getContent() error {
	resp, err := d.scripts.Content.Get(d.ctx, namespace, "gopher", wfp.DispatchNamespaceScriptContentGetParams{AccountID: cloudflare.F(d.account)})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	return same(strings.Contains(string(text), "Response.json"), true, "the content holds the module")
}

func (d *driver) delete() error {
	_, err := d.scripts.Delete(d.ctx, namespace, "gopher", wfp.DispatchNamespaceScriptDeleteParams{
		AccountID: cloudflare.F(d.account), Force: cloudflare.F(true)})
	if err != nil {
		return err
	}
	_, err = d.scripts.Get(d.ctx, namespace, "gopher", wfp.DispatchNamespaceScriptGetParams{AccountID: cloudflare.F(d.account)})
	return refused(err, 404, 10092)
}

// env asks the customer's Worker through the edge what is in its env.
func (d *driver) env() (map[string]any, error) {
	req, err := http.NewRequestWithContext(d.ctx, "GET", d.edge+"/", nil)
	if err != nil {
		return nil, err
	}
	req.Host = "gopher." + d.zone
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var env map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&env); err != nil {
		return nil, fmt.Errorf("the Worker answers %d: %w", resp.StatusCode, err)
	}
	return env, nil
}

// sees checks one name of the Worker's env; nil means that it must be missing.
func (d *driver) sees(name string, want any) error {
	env, err := d.env()
	if err != nil {
		return err
	}
	return same(env[name], want, "env."+name)
}

func same[T comparable](got, want T, what string) error {
	if got != want {
		return fmt.Errorf("%s: got %v, want %v", what, got, want)
	}
	return nil
}

// refused checks that err is the API's refusal with this status and code.
func refused(err error, status int, code int64) error {
	var e *cloudflare.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("not refused by the API: %w", err)
	}
	if e.StatusCode != status || len(e.Errors) == 0 || e.Errors[0].Code != code {
		return fmt.Errorf("refused otherwise than with %d and %d: %w", status, code, err)
	}
	return nil
}
