package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cloudflare/cloudflare-go/v6"
	"github.com/cloudflare/cloudflare-go/v6/d1"
	"github.com/cloudflare/cloudflare-go/v6/durable_objects"
	"github.com/cloudflare/cloudflare-go/v6/queues"
	"github.com/cloudflare/cloudflare-go/v6/r2"
	"github.com/cloudflare/cloudflare-go/v6/secrets_store"
	"github.com/cloudflare/cloudflare-go/v6/workers"
)

// The steps about what Workers are bound to: D1, R2, queues, secrets stores, Durable Objects.

func (d *driver) database() error {
	db := d.client.D1.Database
	made, err := db.New(d.ctx, d1.DatabaseNewParams{AccountID: cloudflare.F(d.account), Name: cloudflare.F("shop")})
	if err != nil {
		return err
	}
	var rows []string
	for _, sql := range []string{"CREATE TABLE t (n INTEGER)", "INSERT INTO t VALUES (7)", "SELECT n FROM t"} {
		page, err := db.Query(d.ctx, made.UUID, d1.DatabaseQueryParams{AccountID: cloudflare.F(d.account),
			Body: d1.DatabaseQueryParamsBodyD1SingleQuery{Sql: cloudflare.F(sql)}})
		if err != nil {
			return err
		}
		rows = append(rows, fmt.Sprint(page.Result[0].Success, page.Result[0].Results))
	}
	raw, err := db.Raw(d.ctx, made.UUID, d1.DatabaseRawParams{AccountID: cloudflare.F(d.account),
		Body: d1.DatabaseRawParamsBodyD1SingleQuery{Sql: cloudflare.F("SELECT n FROM t")}})
	if err != nil {
		return err
	}
	got, err := db.Get(d.ctx, made.UUID, d1.DatabaseGetParams{AccountID: cloudflare.F(d.account)})
	if err != nil {
		return err
	}
	_, err = db.Delete(d.ctx, made.UUID, d1.DatabaseDeleteParams{AccountID: cloudflare.F(d.account)})
	list := db.ListAutoPaging(d.ctx, d1.DatabaseListParams{AccountID: cloudflare.F(d.account)})
	return errors.Join(err, same(rows[2], "true [map[n:7]]", "rows"), same(got.Name, "shop", "name"), same(got.NumTables, 1, "tables"),
		same(strings.Join(raw.Result[0].Results.Columns, " "), "n", "columns"), same(list.Next(), false, "listed after it was deleted"), list.Err())
}

func (d *driver) bucket() error {
	buckets := d.client.R2.Buckets
	made, err := buckets.New(d.ctx, r2.BucketNewParams{AccountID: cloudflare.F(d.account), Name: cloudflare.F("gallery")})
	if err != nil {
		return err
	}
	list, err := buckets.List(d.ctx, r2.BucketListParams{AccountID: cloudflare.F(d.account)})
	if err != nil {
		return err
	}
	got, err := buckets.Get(d.ctx, "gallery", r2.BucketGetParams{AccountID: cloudflare.F(d.account)})
	if err != nil {
		return err
	}
	_, err = buckets.Delete(d.ctx, "gallery", r2.BucketDeleteParams{AccountID: cloudflare.F(d.account)})
	return errors.Join(err, same(made.Name, "gallery", "name"), same(len(list.Buckets), 1, "buckets"), same(got.CreationDate, made.CreationDate, "creation date"))
}

func (d *driver) queue() error {
	q, err := d.client.Queues.New(d.ctx, queues.QueueNewParams{AccountID: cloudflare.F(d.account), QueueName: cloudflare.F("jobs")})
	if err != nil {
		return err
	}
	consumer, err := d.client.Queues.Consumers.New(d.ctx, q.QueueID, queues.ConsumerNewParams{AccountID: cloudflare.F(d.account),
		Body: queues.ConsumerNewParamsBodyMqHTTPConsumerRequest{Type: cloudflare.F(queues.ConsumerNewParamsBodyMqHTTPConsumerRequestTypeHTTPPull)}})
	if err != nil {
		return err
	}
	if _, err := d.client.Queues.Messages.Push(d.ctx, q.QueueID, queues.MessagePushParams{AccountID: cloudflare.F(d.account),
		Body: queues.MessagePushParamsBodyMqQueueMessageText{Body: cloudflare.F("hello"), ContentType: cloudflare.F(queues.MessagePushParamsBodyMqQueueMessageTextContentTypeText)}}); err != nil {
		return err
	}
	pulled, err := d.client.Queues.Messages.Pull(d.ctx, q.QueueID, queues.MessagePullParams{AccountID: cloudflare.F(d.account)})
	if err != nil || len(pulled.Messages) != 1 {
		return errors.Join(err, fmt.Errorf("pulled %+v", pulled))
	}
	done, err := d.client.Queues.Messages.Ack(d.ctx, q.QueueID, queues.MessageAckParams{AccountID: cloudflare.F(d.account),
		Acks: cloudflare.F([]queues.MessageAckParamsAck{{LeaseID: cloudflare.F(pulled.Messages[0].LeaseID)}})})
	if err != nil {
		return err
	}
	got, err := d.client.Queues.Get(d.ctx, q.QueueID, queues.QueueGetParams{AccountID: cloudflare.F(d.account)})
	if err != nil {
		return err
	}
	_, err = d.client.Queues.Consumers.Delete(d.ctx, q.QueueID, consumer.ConsumerID, queues.ConsumerDeleteParams{AccountID: cloudflare.F(d.account)})
	_, gone := d.client.Queues.Delete(d.ctx, q.QueueID, queues.QueueDeleteParams{AccountID: cloudflare.F(d.account)})
	return errors.Join(err, gone, same(pulled.Messages[0].Body, "hello", "body"), same(done.AckCount, 1, "acknowledged"),
		same(got.ConsumersTotalCount, 1, "consumers"), same(string(consumer.Type), "http_pull", "type"))
}

func (d *driver) secretStore() error {
	stores := d.client.SecretsStore.Stores
	store, err := stores.New(d.ctx, secrets_store.StoreNewParams{AccountID: cloudflare.F(d.account), Name: cloudflare.F("keys")})
	if err != nil {
		return err
	}
	page, err := stores.Secrets.New(d.ctx, store.ID, secrets_store.StoreSecretNewParams{AccountID: cloudflare.F(d.account),
		Body: []secrets_store.StoreSecretNewParamsBody{{Name: cloudflare.F("signing"), Value: cloudflare.F("hush"), Scopes: cloudflare.F([]string{"workers"})}}})
	if err != nil || len(page.Result) != 1 {
		return errors.Join(err, fmt.Errorf("made %+v", page))
	}
	id := page.Result[0].ID
	got, err := stores.Secrets.Edit(d.ctx, store.ID, id, secrets_store.StoreSecretEditParams{AccountID: cloudflare.F(d.account), Comment: cloudflare.F("of mine")})
	if err != nil {
		return err
	}
	_, full := stores.Delete(d.ctx, store.ID, secrets_store.StoreDeleteParams{AccountID: cloudflare.F(d.account)})
	_, err = stores.Secrets.Delete(d.ctx, store.ID, id, secrets_store.StoreSecretDeleteParams{AccountID: cloudflare.F(d.account)})
	_, gone := stores.Delete(d.ctx, store.ID, secrets_store.StoreDeleteParams{AccountID: cloudflare.F(d.account)})
	return errors.Join(err, gone, same(full != nil, true, "a store that holds something is refused"), same(got.Name, "signing", "name"),
		same(got.Comment, "of mine", "comment"), same(string(got.Status), "active", "status"))
}

func (d *driver) durableObjects() error {
	_, err := d.client.Workers.Scripts.Update(d.ctx, "counters", workers.ScriptUpdateParams{
		AccountID: cloudflare.F(d.account),
		Metadata: cloudflare.F(workers.ScriptUpdateParamsMetadata{
			MainModule: cloudflare.F("counters.mjs"), CompatibilityDate: cloudflare.F("2026-11-01"),
			Bindings: cloudflare.F([]workers.ScriptUpdateParamsMetadataBindingUnion{workers.ScriptUpdateParamsMetadataBindingsWorkersBindingKindDurableObjectNamespace{
				Name: cloudflare.F("COUNTER"), ClassName: cloudflare.F("Counter"),
				Type: cloudflare.F(workers.ScriptUpdateParamsMetadataBindingsWorkersBindingKindDurableObjectNamespaceTypeDurableObjectNamespace)}}),
			Migrations: cloudflare.F[workers.ScriptUpdateParamsMetadataMigrationsUnion](workers.SingleStepMigrationParam{
				NewTag: cloudflare.F("v1"), NewSqliteClasses: cloudflare.F([]string{"Counter"})}),
		}),
		Files: cloudflare.F(module("counters.mjs", `import { DurableObject } from "cloudflare:workers";
			export class Counter extends DurableObject { async fetch() { await this.ctx.storage.put("n", 1); return new Response("ok"); } }
			export default { fetch(request, env) { return env.COUNTER.getByName(request.url).fetch(request); } };`)),
	})
	if err != nil {
		return err
	}
	if err := d.routeTo("counters"); err != nil {
		return err
	}
	for i := range 5 {
		if _, err := d.page("counters", fmt.Sprintf("/%d", i)); err != nil {
			return err
		}
	}
	spaces := d.client.DurableObjects.Namespaces
	var names, ids []string
	list := spaces.ListAutoPaging(d.ctx, durable_objects.NamespaceListParams{AccountID: cloudflare.F(d.account)})
	for list.Next() {
		ns := list.Current()
		names = append(names, fmt.Sprint(ns.Class, ns.Script, ns.UseSqlite))
		objects := spaces.Objects.ListAutoPaging(d.ctx, ns.ID, durable_objects.NamespaceObjectListParams{AccountID: cloudflare.F(d.account), Limit: cloudflare.F(2.0)})
		for objects.Next() {
			ids = append(ids, objects.Current().ID)
		}
		if objects.Err() != nil {
			return objects.Err()
		}
	}
	slices.Sort(ids)
	return errors.Join(list.Err(), same(strings.Join(names, " "), fmt.Sprint("Counter", "counters", true), "classes"), same(len(slices.Compact(ids)), 5, "objects"))
}
