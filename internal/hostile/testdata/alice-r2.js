// Alice's Worker with a bucket: it stores an object and begins an upload, whose id it tells.
export default {
	async fetch(request, env) {
		await env.BUCKET.put("alice-key", "alice's object");
		const upload = await env.BUCKET.createMultipartUpload("alice-upload");
		return new Response(upload.uploadId);
	},
};
