// Requests, publishing, and questions.

import assert from "node:assert/strict";
import { test } from "node:test";
import { HELLO, until } from "./support/server.mjs";
import { at, message, setup } from "./support/setup.mjs";

async function ready(t, options) {
  const all = await setup(t, options);
  const client = all.connect();
  await client.connect();
  return { ...all, client, peer: await all.server.next() };
}

test("a request gets its answer, in whatever order answers come", async (t) => {
  const { client, peer } = await ready(t);
  const first = client.request("message.send", { text: "one" });
  const second = client.request("message.send");
  const [a, b] = [await peer.next(), await peer.next()];
  assert.deepEqual(a, { id: a.id, type: "message.send", data: { text: "one" } });
  assert.equal(b.data, null);
  peer.send({ id: b.id, ok: true, data: "second" }, { id: a.id, ok: true });
  assert.equal(await second, "second");
  assert.equal(await first, null);
});

test("an error says everything that the server said", async (t) => {
  const { client, peer } = await ready(t);
  const request = client.request("x");
  const asked = await peer.next();
  const error = { code: "RESOURCE_EXHAUSTED", message: "slow down", retryable: true, retry_after_ms: 120, details: { limit: 5 } };
  peer.send({ id: asked.id, error });
  await assert.rejects(request, {
    name: "QuorateError", code: "RESOURCE_EXHAUSTED", message: "slow down", retryable: true, retryAfter: 120,
    details: { limit: 5 }, outcome: "not_applied",
  });
  const odd = client.request("x");
  peer.send({ id: (await peer.next()).id, error: 5 });
  await assert.rejects(odd, { code: "INTERNAL", outcome: "unknown" });
});

test("progress is reported until the answer; what its handler throws ends nothing", async (t) => {
  const { client, peer, errors } = await ready(t);
  const seen = [];
  const request = client.request("import", {}, {
    onProgress: (progress) => {
      seen.push(progress);
      if (progress === 2) throw new Error("oops");
    },
  });
  const { id } = await peer.next();
  peer.send({ id, progress: 1 }, { id, progress: 2 }, { id, progress: null }, { id, ok: true, data: 3 }, { id, progress: 4 });
  assert.equal(await request, 3);
  assert.deepEqual(seen, [1, 2, null]);
  assert.equal(errors[0].message, "oops");
});

test("aborting tells the server, and the caller at once", async (t) => {
  const { client, peer } = await ready(t);
  const abort = new AbortController();
  const request = client.request("slow", {}, { signal: abort.signal });
  const { id } = await peer.next();
  const why = new Error("no longer needed");
  abort.abort(why);
  await assert.rejects(request, { code: "CANCELLED", outcome: "unknown", cause: why });
  assert.deepEqual(await peer.next(), { cancel: id });
  await assert.rejects(client.request("x", {}, { signal: abort.signal }), { code: "CANCELLED", outcome: "not_applied" });
  assert.equal(peer.unread, 0);
});

test("requests made while offline wait, in order, and are each sent once", async (t) => {
  const { server, connect } = await setup(t, { hello: null });
  const client = connect();
  const answers = [1, 2, 3].map((n) => client.request("say", n));
  const peer = await server.next();
  peer.send(HELLO);
  for (const n of [1, 2, 3]) {
    const frame = await peer.accept({ data: n * 10 });
    assert.equal(frame.data, n);
  }
  assert.deepEqual(await Promise.all(answers), [10, 20, 30]);
});

test("what waits can be aborted or run out of time, and then is never sent", async (t) => {
  const { server, connect } = await setup(t, { hello: null });
  const client = connect();
  const abort = new AbortController();
  const aborted = assert.rejects(client.request("a", 1, { signal: abort.signal }), { code: "CANCELLED", outcome: "not_applied" });
  const late = client.request("b", 1, { timeout: 1 });
  abort.abort();
  await aborted;
  await assert.rejects(late, { code: "DEADLINE_EXCEEDED", outcome: "not_applied" });
  const kept = client.request("c");
  const peer = await server.next();
  peer.send(HELLO);
  assert.equal((await peer.accept({ data: 1 })).type, "c");
  await kept;
});

test("no more than so many requests wait", async (t) => {
  const { server, connect } = await setup(t, { hello: null });
  const client = connect({ queueLimit: 3 });
  const waiting = [1, 2, 3].map((n) => client.publish("room", 1, n));
  await assert.rejects(client.publish("room", 1, 4), { code: "RESOURCE_EXHAUSTED", outcome: "not_applied", retryable: true });
  const peer = await server.next();
  peer.send(HELLO);
  for (let n = 1; n <= 3; n += 1) await peer.accept({ topic: "room:1" });
  await Promise.all(waiting);
});

test("what was under way when the connection broke is not repeated; questions are", async (t) => {
  const { server, connect } = await setup(t);
  const client = connect();
  const unknown = { code: "UNAVAILABLE", outcome: "unknown" };
  const failed = [client.request("pay", 1), client.publish("room", 1, "hi")].map((made) => assert.rejects(made, unknown));
  const roster = client.presence("room", 1);
  const page = client.history("room", 1, { limit: 2 });
  const first = await server.next();
  for (let n = 0; n < 4; n += 1) await first.next();
  const later = client.request("later");
  await first.next();
  const laterFailed = assert.rejects(later, unknown);
  first.cut();
  await Promise.all([...failed, laterFailed]);
  const second = await server.next();
  const asked = await second.accept({ topic: "room:1", count: 1, members: [{ client: "c-9", user: "ada", info: { name: "Ada" } }] });
  assert.deepEqual(asked, { id: asked.id, presence: "room", params: 1 });
  assert.deepEqual(await roster, { topic: "room:1", count: 1, members: [{ client: "c-9", user: "ada", info: { name: "Ada" } }] });
  const told = await second.accept({ topic: "room:1", messages: [message("room:1", "a", { position: at(1) })], position: at(1), complete: true });
  assert.deepEqual(told, { id: told.id, history: "room", params: 1, limit: 2 });
  const { messages, position, complete, gap } = await page;
  assert.deepEqual([messages[0].data, messages[0].meta.position, position, complete, gap], ["a", at(1), at(1), true, undefined]);
  assert.equal(second.all.length, 2, "nothing else was sent");
});

test("publishing says where to, and what of it comes back", async (t) => {
  const { client, peer } = await ready(t);
  const published = client.publish("room", { id: 7 }, { text: "hi" }, { echo: false, type: "said" });
  const frame = await peer.accept({ topic: 'room:{"id":7}', position: at(3) });
  assert.deepEqual(frame, { id: frame.id, publish: "room", params: { id: 7 }, data: { text: "hi" }, event_type: "said", echo: false });
  assert.deepEqual(await published, { topic: 'room:{"id":7}', position: at(3) });
  const plain = client.publish("news", null, undefined);
  const bare = await peer.accept();
  assert.deepEqual(bare, { id: bare.id, publish: "news", data: null });
  assert.deepEqual(await plain, { topic: "news" });
});

test("history that is no longer there is a gap", async (t) => {
  const { client, peer } = await ready(t);
  const page = client.history("room", 1, { after: at(1) });
  assert.equal((await peer.accept({ topic: "room:1", gap: { missed: 17, position: at(99) } })).after, at(1));
  const { messages, position, gap } = await page;
  assert.deepEqual(messages, []);
  assert.equal(position, at(99));
  assert.deepEqual(gap, { topic: "room:1", reason: "history", missed: 17, position: at(99) });
});

test("presence of too many to name is their number", async (t) => {
  const { client, peer } = await ready(t);
  const roster = client.presence("stadium");
  await peer.accept({ topic: "stadium", count: 12_345 });
  assert.deepEqual(await roster, { topic: "stadium", count: 12_345, members: null });
});

test("never more are under way than the server takes, and none is lost", async (t) => {
  const { client, peer } = await ready(t, { hello: { ...HELLO, max_requests: 2 } });
  const answers = [1, 2, 3, 4, 5].map((n) => client.request("double", n));
  for (let n = 1; n <= 5; n += 2) {
    const frames = [await peer.next()];
    if (n < 5) frames.push(await peer.next());
    assert.equal(peer.unread, 0);
    assert.equal(peer.all.length, Math.min(n + 1, 5));
    peer.send(...frames.reverse().map((frame) => ({ id: frame.id, ok: true, data: frame.data * 2 })));
  }
  assert.deepEqual(await Promise.all(answers), [2, 4, 6, 8, 10]);
});

test("what was given up is under way until the server has answered it", async (t) => {
  const { client, peer } = await ready(t, { hello: { ...HELLO, max_requests: 1 } });
  const abort = new AbortController();
  const first = client.request("slow", null, { signal: abort.signal });
  const { id } = await peer.next();
  const second = client.request("quick");
  abort.abort();
  await assert.rejects(first, { code: "CANCELLED" });
  assert.deepEqual(await peer.next(), { cancel: id });
  assert.equal(peer.unread, 0);
  peer.send({ id, progress: 1 }, { id, error: { code: "CANCELLED", message: "cancelled", retryable: false } });
  assert.equal((await peer.accept({ data: 2 })).type, "quick");
  assert.equal(await second, 2);
});

test("a backlog is worked off in order, however long", async (t) => {
  const { server, connect } = await setup(t, { hello: null });
  const client = connect();
  const answers = Array.from({ length: 60 }, (_, n) => client.request("echo", n));
  const peer = await server.next();
  peer.send(HELLO);
  for (let n = 0; n < 60; n += 1) {
    const frame = await peer.next();
    assert.equal(frame.data, n);
    peer.send({ id: frame.id, ok: true, data: n });
  }
  assert.deepEqual(await Promise.all(answers), Array.from({ length: 60 }, (_, n) => n));
});

test("what cannot be sent is refused before it is", async (t) => {
  const { client, peer } = await ready(t, { hello: { ...HELLO, max_frame_bytes: 100 } });
  const invalid = { code: "INVALID_ARGUMENT", outcome: "not_applied" };
  await assert.rejects(client.request("x", "é".repeat(50)), invalid);
  await assert.rejects(client.request("x", "x".repeat(101)), invalid);
  await assert.rejects(client.request("x", 1n), invalid);
  const cycle = {};
  cycle.self = cycle;
  await assert.rejects(client.publish("room", 1, cycle), invalid);
  const fits = client.request("x", "é".repeat(20));
  await peer.accept({ data: 1 });
  await fits;
  assert.equal(peer.all.length, 1);
});
