// The real aws-sdk against a node's R2: every operation that it has, with the checksums and signatures that the SDK sends by
// itself. S3_ENDPOINT, and the access keys of a token that may write and of one that may only read, come from the test.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import * as s3 from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { step } from "./steps.mjs";

const { S3_ENDPOINT: endpoint, KEY_ID, KEY_SECRET, READ_ID, READ_SECRET } = process.env;
const client = (accessKeyId, secretAccessKey, more) =>
  new s3.S3Client({ region: "auto", endpoint, forcePathStyle: true, maxAttempts: 1, credentials: { accessKeyId, secretAccessKey }, ...more });
const c = client(KEY_ID, KEY_SECRET);
const reader = client(READ_ID, READ_SECRET);
const Bucket = "from-aws";
const send = (name, input, by = c) => by.send(new s3[name + "Command"]({ Bucket, ...input }));
const fails = (name, input, code, status, by) =>
  assert.rejects(send(name, input, by), (e) => {
    assert.equal(e.name, code, `${e.name}: ${e.message}`);
    assert.equal(e.$metadata.httpStatusCode, status);
    return true;
  });
const text = async (r) => r.Body.transformToString();
const five = 5 << 20;

await step("buckets", async () => {
  await fails("HeadBucket", {}, "NotFound", 404);
  await fails("ListObjectsV2", {}, "NoSuchBucket", 404);
  await send("CreateBucket");
  await fails("CreateBucket", {}, "BucketAlreadyOwnedByYou", 409);
  await fails("CreateBucket", { Bucket: "Nope" }, "InvalidBucketName", 400);
  await send("HeadBucket");
  assert.ok((await c.send(new s3.ListBucketsCommand({}))).Buckets.some((b) => b.Name === Bucket && b.CreationDate instanceof Date));
  assert.equal((await send("GetBucketLocation")).LocationConstraint, "auto");
});

await step("put, get and head", async () => {
  const put = await send("PutObject", { Key: "dir/ä b+c.txt", Body: "hello", ContentType: "text/plain", CacheControl: "no-store", ContentDisposition: "inline",
    Expires: new Date("2027-01-01T00:00:00Z"), Metadata: { who: "me" }, StorageClass: "STANDARD_IA" });
  assert.equal(put.ETag, `"${createHash("md5").update("hello").digest("hex")}"`);
  assert.ok(put.ChecksumCRC32);
  const got = await send("GetObject", { Key: "dir/ä b+c.txt" });
  assert.equal(await text(got), "hello");
  assert.deepEqual([got.ContentType, got.CacheControl, got.ContentDisposition, got.Metadata, got.StorageClass, got.ETag, got.ContentLength, got.ChecksumCRC32],
    ["text/plain", "no-store", "inline", { who: "me" }, "STANDARD_IA", put.ETag, 5, put.ChecksumCRC32]);
  const head = await send("HeadObject", { Key: "dir/ä b+c.txt" });
  assert.deepEqual([head.ContentLength, head.ETag, head.Metadata], [5, put.ETag, { who: "me" }]);
  await fails("GetObject", { Key: "nope" }, "NoSuchKey", 404);
  await fails("HeadObject", { Key: "nope" }, "NotFound", 404);
});

for (const [name, body, options] of [
  ["small", () => randomBytes(1000)],
  ["inline and more", () => randomBytes(65537)],
  ["large", () => randomBytes(3e6)],
  ["empty", () => Buffer.alloc(0)],
]) {
  await step(`bytes: ${name}`, async () => {
    const data = body();
    for (const algorithm of [undefined, "CRC32", "CRC32C", "SHA1", "SHA256"]) {
      await send("PutObject", { Key: "bytes", Body: data, ChecksumAlgorithm: algorithm });
      const got = await (await send("GetObject", { Key: "bytes" })).Body.transformToByteArray();
      assert.ok(Buffer.from(got).equals(data));
      // A stream goes in chunks, with its checksum behind.
      await send("PutObject", { Key: "streamed", Body: Readable.from([data.subarray(0, 10), data.subarray(10)].filter((b) => b.length)), ContentLength: data.length, ChecksumAlgorithm: algorithm });
      const again = await (await send("GetObject", { Key: "streamed" })).Body.transformToByteArray();
      assert.ok(Buffer.from(again).equals(data));
    }
  });
}

await step("wrong checksums and bodies", async () => {
  await fails("PutObject", { Key: "wrong", Body: "hello", ChecksumSHA256: Buffer.alloc(32).toString("base64") }, "BadDigest", 400);
  await fails("PutObject", { Key: "wrong", Body: "hello", ContentMD5: Buffer.alloc(16).toString("base64") }, "BadDigest", 400);
  await fails("PutObject", { Key: "wrong", Body: "hello", ContentMD5: "x" }, "InvalidDigest", 400);
  await fails("HeadObject", { Key: "wrong" }, "NotFound", 404);
});

await step("ranges", async () => {
  await send("PutObject", { Key: "digits", Body: "0123456789" });
  for (const [range, want, header] of [["bytes=2-4", "234", "bytes 2-4/10"], ["bytes=7-", "789", "bytes 7-9/10"], ["bytes=-2", "89", "bytes 8-9/10"], ["bytes=5-99", "56789", "bytes 5-9/10"]]) {
    const got = await send("GetObject", { Key: "digits", Range: range });
    assert.deepEqual([await text(got), got.ContentRange, got.$metadata.httpStatusCode], [want, header, 206]);
  }
  await fails("GetObject", { Key: "digits", Range: "bytes=10-" }, "InvalidRange", 416);
});

await step("conditions", async () => {
  const { ETag } = await send("PutObject", { Key: "cond", Body: "1" });
  await fails("PutObject", { Key: "cond", Body: "2", IfNoneMatch: "*" }, "PreconditionFailed", 412);
  await fails("PutObject", { Key: "cond", Body: "2", IfMatch: '"0"' }, "PreconditionFailed", 412);
  await send("PutObject", { Key: "cond", Body: "2", IfMatch: ETag });
  await fails("GetObject", { Key: "cond", IfMatch: ETag }, "PreconditionFailed", 412);
  const now = (await send("HeadObject", { Key: "cond" })).ETag;
  await assert.rejects(send("GetObject", { Key: "cond", IfNoneMatch: now }), (e) => e.$metadata.httpStatusCode === 304);
  await assert.rejects(send("GetObject", { Key: "cond", IfModifiedSince: new Date(Date.now() + 5000) }), (e) => e.$metadata.httpStatusCode === 304);
  await send("GetObject", { Key: "cond", IfUnmodifiedSince: new Date(Date.now() + 5000), IfMatch: now });
  await fails("GetObject", { Key: "cond", IfUnmodifiedSince: new Date(1e12) }, "PreconditionFailed", 412);
});

await step("customer's keys", async () => {
  const key = randomBytes(32);
  const sse = { SSECustomerAlgorithm: "AES256", SSECustomerKey: key.toString("base64"), SSECustomerKeyMD5: createHash("md5").update(key).digest("base64") };
  const put = await send("PutObject", { Key: "sealed", Body: "secret", ...sse });
  assert.equal(put.SSECustomerKeyMD5, sse.SSECustomerKeyMD5);
  assert.equal(await text(await send("GetObject", { Key: "sealed", ...sse })), "secret");
  await fails("GetObject", { Key: "sealed" }, "InvalidArgument", 400);
  const other = randomBytes(32);
  await fails("GetObject", { Key: "sealed", SSECustomerAlgorithm: "AES256", SSECustomerKey: other.toString("base64"), SSECustomerKeyMD5: createHash("md5").update(other).digest("base64") }, "AccessDenied", 403);
});

await step("lists", async () => {
  for (const key of ["l/a", "l/b/1", "l/b/2", "l/c", "l/d/1", "l/e & <é>"]) await send("PutObject", { Key: key, Body: key });
  const keys = [], prefixes = [];
  for await (const page of s3.paginateListObjectsV2({ client: c, pageSize: 2 }, { Bucket, Prefix: "l/", Delimiter: "/" })) {
    keys.push(...(page.Contents ?? []).map((o) => o.Key));
    prefixes.push(...(page.CommonPrefixes ?? []).map((p) => p.Prefix));
  }
  assert.deepEqual([keys, prefixes], [["l/a", "l/c", "l/e & <é>"], ["l/b/", "l/d/"]]);
  const old = [];
  for (let Marker; ; ) {
    const page = await send("ListObjects", { Prefix: "l/", Delimiter: "/", MaxKeys: 2, Marker, EncodingType: "url" });
    old.push(...(page.Contents ?? []).map((o) => decodeURIComponent(o.Key)), ...(page.CommonPrefixes ?? []).map((p) => decodeURIComponent(p.Prefix)));
    if (!page.IsTruncated) break;
    Marker = decodeURIComponent(page.NextMarker);
  }
  assert.deepEqual(old.sort(), ["l/a", "l/b/", "l/c", "l/d/", "l/e & <é>"]);
  const after = await send("ListObjectsV2", { Prefix: "l/", StartAfter: "l/c", MaxKeys: 1 });
  assert.deepEqual([after.Contents[0].Key, after.KeyCount, after.IsTruncated, after.Contents[0].Size], ["l/d/1", 1, true, 5]);
  assert.equal((await send("ListObjectsV2", { MaxKeys: 0 })).KeyCount, 0);
});

await step("copies", async () => {
  await send("PutObject", { Key: "original", Body: "to copy", ContentType: "a/b", Metadata: { x: "1" } });
  const copy = await send("CopyObject", { Key: "copy", CopySource: `${Bucket}/original` });
  assert.ok(copy.CopyObjectResult.ETag);
  let got = await send("GetObject", { Key: "copy" });
  assert.deepEqual([await text(got), got.ContentType, got.Metadata], ["to copy", "a/b", { x: "1" }]);
  await send("CopyObject", { Key: "copy", CopySource: `/${Bucket}/copy`, MetadataDirective: "REPLACE", ContentType: "c/d" });
  got = await send("GetObject", { Key: "copy" });
  assert.deepEqual([await text(got), got.ContentType, got.Metadata], ["to copy", "c/d", {}]);
  await fails("CopyObject", { Key: "copy", CopySource: `${Bucket}/nope` }, "NoSuchKey", 404);
  await fails("CopyObject", { Key: "copy", CopySource: "elsewhere/nope" }, "NoSuchBucket", 404);
  await fails("CopyObject", { Key: "copy", CopySource: `${Bucket}/original`, CopySourceIfMatch: '"0"' }, "PreconditionFailed", 412);
});

await step("multipart by hand", async () => {
  const Key = "multi", data = randomBytes(five + 1234);
  const { UploadId } = await send("CreateMultipartUpload", { Key, Metadata: { m: "1" } });
  const part = (PartNumber, Body) => send("UploadPart", { Key, UploadId, PartNumber, Body });
  const two = await part(2, data.subarray(five));
  const one = await part(1, data.subarray(0, five));
  assert.ok((await send("ListMultipartUploads")).Uploads.some((u) => u.UploadId === UploadId && u.Key === Key));
  assert.deepEqual((await send("ListParts", { Key, UploadId })).Parts.map((p) => [p.PartNumber, p.Size, p.ETag]), [[1, five, one.ETag], [2, 1234, two.ETag]]);
  const complete = (Parts) => ({ Key, UploadId, MultipartUpload: { Parts } });
  await fails("CompleteMultipartUpload", complete([{ PartNumber: 1, ETag: '"0"' }]), "InvalidPart", 400);
  await fails("CompleteMultipartUpload", complete([{ PartNumber: 2, ETag: two.ETag }, { PartNumber: 1, ETag: one.ETag }]), "InvalidPartOrder", 400);
  const done = await send("CompleteMultipartUpload", complete([{ PartNumber: 1, ETag: one.ETag }, { PartNumber: 2, ETag: two.ETag }]));
  assert.match(done.ETag, /^"[0-9a-f]{32}-2"$/);
  const got = await send("GetObject", { Key });
  assert.ok(Buffer.from(await got.Body.transformToByteArray()).equals(data));
  assert.deepEqual(got.Metadata, { m: "1" });
  await fails("UploadPart", { Key, UploadId, PartNumber: 1, Body: "x" }, "NoSuchUpload", 404);
  const copied = await send("CreateMultipartUpload", { Key: "copied" });
  const p = await send("UploadPartCopy", { Key: "copied", UploadId: copied.UploadId, PartNumber: 1, CopySource: `${Bucket}/multi`, CopySourceRange: `bytes=${five - 2}-${five + 1}` });
  await send("CompleteMultipartUpload", { Key: "copied", UploadId: copied.UploadId, MultipartUpload: { Parts: [{ PartNumber: 1, ETag: p.CopyPartResult.ETag }] } });
  assert.ok(Buffer.from(await (await send("GetObject", { Key: "copied" })).Body.transformToByteArray()).equals(data.subarray(five - 2, five + 2)));
  const aborted = await send("CreateMultipartUpload", { Key: "aborted" });
  await send("AbortMultipartUpload", { Key: "aborted", UploadId: aborted.UploadId });
  await fails("AbortMultipartUpload", { Key: "aborted", UploadId: "made up" }, "NoSuchUpload", 404);
});

await step("multipart by the uploader", async () => {
  const data = randomBytes(12e6);
  await new Upload({ client: c, params: { Bucket, Key: "uploaded", Body: Readable.from(data.toString("base64").match(/.{1,100000}/g)) }, partSize: five }).done();
  assert.equal(await text(await send("GetObject", { Key: "uploaded" })), data.toString("base64"));
});

await step("presigned links", async () => {
  const url = await getSignedUrl(c, new s3.PutObjectCommand({ Bucket, Key: "signed/ü.txt", ContentType: "text/plain" }), { expiresIn: 60 });
  assert.equal((await fetch(url, { method: "PUT", body: "by a link", headers: { "content-type": "text/plain" } })).status, 200);
  const get = await getSignedUrl(c, new s3.GetObjectCommand({ Bucket, Key: "signed/ü.txt", ResponseContentDisposition: "attachment" }), { expiresIn: 60 });
  const got = await fetch(get);
  assert.deepEqual([got.status, await got.text(), got.headers.get("content-disposition")], [200, "by a link", "attachment"]);
  assert.equal((await fetch(get.replace("signed/", "other/"))).status, 403);
  assert.equal((await fetch(get.replace("X-Amz-Expires=60", "X-Amz-Expires=600"))).status, 403);
  assert.equal((await fetch(get, { method: "DELETE" })).status, 403);
  const old = await getSignedUrl(c, new s3.GetObjectCommand({ Bucket, Key: "signed/ü.txt" }), { expiresIn: 60, signingDate: new Date(Date.now() - 3600e3) });
  assert.equal((await fetch(old)).status, 403);
});

await step("who may what", async () => {
  assert.equal(await text(await send("GetObject", { Key: "digits" }, reader)), "0123456789");
  await send("ListObjectsV2", {}, reader);
  for (const [name, input] of [["PutObject", { Key: "x", Body: "x" }], ["DeleteObject", { Key: "digits" }], ["DeleteObjects", { Delete: { Objects: [{ Key: "digits" }] } }],
    ["CreateBucket", { Bucket: "more" }], ["DeleteBucket", {}], ["CreateMultipartUpload", { Key: "x" }], ["CopyObject", { Key: "x", CopySource: `${Bucket}/digits` }]]) {
    await fails(name, input, "AccessDenied", 403, reader);
  }
  await fails("GetObject", { Key: "digits" }, "SignatureDoesNotMatch", 403, client(KEY_ID, READ_SECRET));
  await fails("GetObject", { Key: "digits" }, "Unauthorized", 401, client("0".repeat(32), KEY_SECRET));
  assert.equal((await fetch(`${endpoint}/${Bucket}/digits`)).status, 400);
});

await step("what is not there", async () => {
  await fails("GetBucketCors", {}, "NotImplemented", 501);
  await fails("PutObjectTagging", { Key: "digits", Tagging: { TagSet: [] } }, "NotImplemented", 501);
  await fails("PutObject", { Key: "x", Body: "x", Tagging: "a=b" }, "NotImplemented", 501);
  await fails("GetObject", { Key: "digits", VersionId: "1" }, "NotImplemented", 501);
});

await step("deletions", async () => {
  await fails("DeleteBucket", {}, "BucketNotEmpty", 409);
  await send("DeleteObject", { Key: "digits" });
  await send("DeleteObject", { Key: "digits" });
  for (;;) {
    const { Contents } = await send("ListObjectsV2");
    if (!Contents) break;
    const out = await send("DeleteObjects", { Delete: { Objects: Contents.map(({ Key }) => ({ Key })) } });
    assert.equal(out.Deleted.length, Contents.length);
  }
  await send("DeleteBucket");
});
