// A bucket as a small file server: PUT stores, GET serves with conditions and ranges, DELETE deletes, GET / lists.
export default {
	async fetch(request, env) {
		const key = decodeURIComponent(new URL(request.url).pathname.slice(1));
		switch (request.method) {
			case "PUT": {
				// The body streams through: the Worker never holds it.
				const object = await env.BUCKET.put(key, request.body, { httpMetadata: request.headers });
				return new Response("stored\n", { status: 201, headers: { etag: object.httpEtag } });
			}
			case "DELETE":
				await env.BUCKET.delete(key);
				return new Response(null, { status: 204 });
			case "GET":
				return key === "" ? list(env.BUCKET) : get(env.BUCKET, key, request.headers);
		}
		return new Response("use GET, PUT or DELETE\n", { status: 405 });
	},
};

async function list(bucket) {
	const page = await bucket.list({ limit: 100 });
	return Response.json(page.objects.map(({ key, size, uploaded }) => ({ key, size, uploaded })));
}

async function get(bucket, key, headers) {
	const object = await bucket.get(key, { onlyIf: headers, range: headers });
	if (object === null) return new Response("not found\n", { status: 404 });
	const answer = new Headers({ etag: object.httpEtag, "accept-ranges": "bytes" });
	object.writeHttpMetadata(answer);
	if (!("body" in object)) return new Response(null, { status: 304, headers: answer }); // the condition does not hold
	const { offset, length } = object.range;
	if (length === object.size) return new Response(object.body, { headers: answer });
	answer.set("content-range", `bytes ${offset}-${offset + length - 1}/${object.size}`);
	return new Response(object.body, { status: 206, headers: answer });
}
