// What differs between the majors of the TypeScript SDK, behind one shape, so that sdk/contract.mjs reads the same for
// all. Methods that a major lacks are missing here too: contract.mjs then skips the step.
//
// 3 to 6 take (namespace, script, params); 7 takes (script, {dispatch_namespace, ...params}).

/** @returns the client of a major, with the calls of Workers for Platforms in one shape */
export async function connect(major, { baseURL, apiToken, account }) {
  const { default: Cloudflare, toFile } = await import(`cloudflare${major}`);
  const client = new Cloudflare({ baseURL, apiToken, maxRetries: 0 });
  const { namespaces } = client.workersForPlatforms.dispatch;
  const { scripts } = namespaces;
  const account_id = account;

  const positional = {
    update: (ns, name, params) => scripts.update(ns, name, { account_id, ...params }),
    get: (ns, name) => scripts.get(ns, name, { account_id }),
    remove: (ns, name, params) => scripts.delete(ns, name, { account_id, ...params }),
    content: {
      update: (ns, name, params) => scripts.content.update(ns, name, { account_id, ...params }),
      get: (ns, name) => scripts.content.get(ns, name, { account_id }),
    },
    settings: {
      edit: (ns, name, settings) => scripts.settings.edit(ns, name, { account_id, settings }),
      get: (ns, name) => scripts.settings.get(ns, name, { account_id }),
    },
    bindings: (ns, name) => scripts.bindings.get(ns, name, { account_id }),
    secrets: {
      update: (ns, name, secret) => scripts.secrets.update(ns, name, { account_id, ...secret }),
      list: (ns, name) => scripts.secrets.list(ns, name, { account_id }),
      get: scripts.secrets.get && ((ns, name, secret) => scripts.secrets.get(ns, name, secret, { account_id })),
      remove: scripts.secrets.delete && ((ns, name, secret) => scripts.secrets.delete(ns, name, secret, { account_id })),
      bulk: scripts.secrets.bulkUpdate && ((ns, name, secrets) => scripts.secrets.bulkUpdate(ns, name, { account_id, secrets })),
    },
    tags: {
      update: (ns, name, tags) => scripts.tags.update(ns, name, { account_id, body: tags }),
      list: (ns, name) => scripts.tags.list(ns, name, { account_id }),
      remove: (ns, name, tag) => scripts.tags.delete(ns, name, tag, { account_id }),
    },
  };

  const named = {
    update: (ns, name, params) => scripts.update(name, { account_id, dispatch_namespace: ns, ...params }),
    get: (ns, name) => scripts.get(name, { account_id, dispatch_namespace: ns }),
    remove: (ns, name, params) => scripts.delete(name, { account_id, dispatch_namespace: ns, ...params }),
    content: {
      update: (ns, name, params) => scripts.content.update(name, { account_id, dispatch_namespace: ns, ...params }),
      get: (ns, name) => scripts.content.get(name, { account_id, dispatch_namespace: ns }),
    },
    settings: {
      edit: (ns, name, settings) => scripts.settings.edit(name, { account_id, dispatch_namespace: ns, settings }),
      get: (ns, name) => scripts.settings.get(name, { account_id, dispatch_namespace: ns }),
    },
    bindings: (ns, name) => scripts.bindings.get(name, { account_id, dispatch_namespace: ns }),
    secrets: {
      update: (ns, name, secret) => scripts.secrets.update(name, { account_id, dispatch_namespace: ns, ...secret }),
      list: (ns, name) => scripts.secrets.list(name, { account_id, dispatch_namespace: ns }),
      get: (ns, name, secret) => scripts.secrets.get(secret, { account_id, dispatch_namespace: ns, script_name: name }),
      remove: (ns, name, secret) => scripts.secrets.delete(secret, { account_id, dispatch_namespace: ns, script_name: name }),
      bulk: (ns, name, secrets) => scripts.secrets.bulkUpdate(name, { account_id, dispatch_namespace: ns, secrets }),
    },
    tags: {
      update: (ns, name, tags) => scripts.tags.update(name, { account_id, dispatch_namespace: ns, body: tags }),
      list: (ns, name) => scripts.tags.list(name, { account_id, dispatch_namespace: ns }),
      remove: (ns, name, tag) => scripts.tags.delete(tag, { account_id, dispatch_namespace: ns, script_name: name }),
    },
  };

  return {
    client,
    account,
    toFile,
    namespaces: {
      create: (name) => namespaces.create({ account_id, name }),
      list: () => namespaces.list({ account_id }),
      get: (name) => namespaces.get(name, { account_id }),
      remove: (name) => namespaces.delete(name, { account_id }),
    },
    ...(major >= 7 ? named : positional),
  };
}
