package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/cloudflare/cloudflare-go/v6"
	"github.com/cloudflare/cloudflare-go/v6/workers"
	wfp "github.com/cloudflare/cloudflare-go/v6/workers_for_platforms"
)

// The steps about what a script is configured with: content apart from settings, bindings, secrets, tags.

func (d *driver) updateContent() error {
	_, err := d.scripts.Content.Update(d.ctx, namespace, "gopher", wfp.DispatchNamespaceScriptContentUpdateParams{
		AccountID: cloudflare.F(d.account),
		Metadata:  cloudflare.F(workers.WorkerMetadataParam{MainModule: cloudflare.F("gopher.mjs")}),
		Files: cloudflare.F(module("gopher.mjs",
			`export default { fetch: (request, env) => Response.json({ ...env, NEW: "code" }) }`)),
	})
	if err != nil {
		return err
	}
	return errors.Join(d.sees("NEW", "code"), d.sees("SECRET", "hush"), d.sees("TEXT", "plain"))
}

func (d *driver) getBindings() error {
	var names []string
	pages := d.scripts.Bindings.GetAutoPaging(d.ctx, namespace, "gopher",
		wfp.DispatchNamespaceScriptBindingGetParams{AccountID: cloudflare.F(d.account)})
	for pages.Next() {
		b := pages.Current()
		if strings.Contains(b.JSON.RawJSON(), "hush") {
			return errors.New("a secret's value is shown")
		}
		names = append(names, b.Name)
	}
	slices.Sort(names)
	return errors.Join(pages.Err(), same(strings.Join(names, " "), "SECRET TEXT", "bindings"))
}

func (d *driver) getSettings() error {
	got, err := d.scripts.Settings.Get(d.ctx, namespace, "gopher", wfp.DispatchNamespaceScriptSettingGetParams{AccountID: cloudflare.F(d.account)})
	if err != nil {
		return err
	}
	return errors.Join(same(got.CompatibilityDate, "2024-01-01", "compatibility_date"), same(len(got.Bindings), 2, "bindings"),
		same(strings.Join(got.Tags, " "), "customer-123 production", "tags"))
}

func (d *driver) editSettings() error {
	got, err := d.scripts.Settings.Edit(d.ctx, namespace, "gopher", wfp.DispatchNamespaceScriptSettingEditParams{
		AccountID: cloudflare.F(d.account),
		Settings: cloudflare.F(wfp.DispatchNamespaceScriptSettingEditParamsSettings{
			CompatibilityDate: cloudflare.F("2025-01-01"),
			Tags:              cloudflare.F([]string{"customer-123", "free-plan"}),
		}),
	})
	if err != nil {
		return err
	}
	return errors.Join(same(got.CompatibilityDate, "2025-01-01", "compatibility_date"),
		same(strings.Join(got.Tags, " "), "customer-123 free-plan", "tags"), d.sees("SECRET", "hush"))
}

func (d *driver) updateSecret() error {
	made, err := d.scripts.Secrets.Update(d.ctx, namespace, "gopher", wfp.DispatchNamespaceScriptSecretUpdateParams{
		AccountID: cloudflare.F(d.account),
		Body: wfp.DispatchNamespaceScriptSecretUpdateParamsBodyWorkersBindingKindSecretText{
			Name: cloudflare.F("TOKEN"), Text: cloudflare.F("t1"),
			Type: cloudflare.F(wfp.DispatchNamespaceScriptSecretUpdateParamsBodyWorkersBindingKindSecretTextTypeSecretText)},
	})
	if err != nil {
		return err
	}
	return errors.Join(same(made.Name, "TOKEN", "name"), d.sees("TOKEN", "t1"))
}

func (d *driver) listSecrets() error {
	var names []string
	pages := d.scripts.Secrets.ListAutoPaging(d.ctx, namespace, "gopher",
		wfp.DispatchNamespaceScriptSecretListParams{AccountID: cloudflare.F(d.account)})
	for pages.Next() {
		names = append(names, pages.Current().Name)
	}
	slices.Sort(names)
	return errors.Join(pages.Err(), same(strings.Join(names, " "), "SECRET TOKEN", "secrets"))
}

func (d *driver) getSecret() error {
	got, err := d.scripts.Secrets.Get(d.ctx, namespace, "gopher", "TOKEN", wfp.DispatchNamespaceScriptSecretGetParams{AccountID: cloudflare.F(d.account)})
	if err != nil {
		return err
	}
	_, missing := d.scripts.Secrets.Get(d.ctx, namespace, "gopher", "NOPE", wfp.DispatchNamespaceScriptSecretGetParams{AccountID: cloudflare.F(d.account)})
	return errors.Join(same(got.Name, "TOKEN", "name"), refused(missing, 404, 10056))
}

func (d *driver) deleteSecret() error {
	_, err := d.scripts.Secrets.Delete(d.ctx, namespace, "gopher", "TOKEN", wfp.DispatchNamespaceScriptSecretDeleteParams{AccountID: cloudflare.F(d.account)})
	return errors.Join(err, d.sees("TOKEN", nil))
}

func (d *driver) updateTags() error {
	_, err := d.scripts.Tags.Update(d.ctx, namespace, "gopher", wfp.DispatchNamespaceScriptTagUpdateParams{
		AccountID: cloudflare.F(d.account), Body: []string{"red", "green"}})
	return errors.Join(err, d.tagged("green red"))
}

func (d *driver) deleteTag() error {
	_, err := d.scripts.Tags.Delete(d.ctx, namespace, "gopher", "red", wfp.DispatchNamespaceScriptTagDeleteParams{AccountID: cloudflare.F(d.account)})
	return errors.Join(err, d.tagged("green"))
}

// tagged checks the script's tags, sorted and joined.
func (d *driver) tagged(want string) error {
	var tags []string
	pages := d.scripts.Tags.ListAutoPaging(d.ctx, namespace, "gopher", wfp.DispatchNamespaceScriptTagListParams{AccountID: cloudflare.F(d.account)})
	for pages.Next() {
		tags = append(tags, pages.Current())
	}
	slices.Sort(tags)
	return errors.Join(pages.Err(), same(strings.Join(tags, " "), want, "tags"))
}
