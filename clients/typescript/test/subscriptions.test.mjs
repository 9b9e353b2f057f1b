// Subscribing, sharing, and what the server says to it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "./support/server.mjs";
import { at, message, setup } from "./support/setup.mjs";

test("a message arrives with everything that is known of it", async (t) => {
  const { server, connect } = await setup(t);
  const seen = [];
  connect().on("orders:*", null, (data, meta) => seen.push([data, meta]));
  const peer = await server.next();
  assert.deepEqual((await peer.accept({ topic: "orders:*" })).subscribe, "orders:*");
  peer.send({
    event: "message", subscription: "orders:*", topic: "orders:42", type: "placed", data: { total: 1250 },
    id: "01a1fd25", source: "shop", key: "42", timestamp: "2026-11-21T08:07:40.982Z", correlation_id: "r-1",
    content_type: "application/json", position: at(9), novel: 1,
  });
  peer.send({ event: "message", subscription: "orders:*", topic: "pictures", type: null, data_base64: "AP8=", id: null });
  await until(() => seen.length === 2);
  assert.deepEqual(seen[0], [{ total: 1250 }, {
    topic: "orders:42", subscription: "orders:*", type: "placed", id: "01a1fd25", source: "shop", key: "42",
    timestamp: new Date("2026-11-21T08:07:40.982Z"), position: at(9), correlationId: "r-1", contentType: "application/json",
  }]);
  assert.deepEqual(seen[1], [new Uint8Array([0, 255]), { topic: "pictures", subscription: "orders:*" }]);
});

test("handlers of the same event and parameters share one subscription, which ends with the last", async (t) => {
  const { server, connect } = await setup(t);
  const client = connect();
  const seen = [];
  const a = client.on("job", { b: 1, a: { y: 2, x: 3 } }, (data) => seen.push(["a", data]));
  const b = client.on("job", { a: { x: 3, y: 2 }, b: 1 }, (data) => seen.push(["b", data]));
  const c = client.on('job:{"a":{"x":3,"y":2},"b":1}', null, (data) => seen.push(["c", data]));
  const peer = await server.next();
  const topic = 'job:{"a":{"x":3,"y":2},"b":1}';
  assert.deepEqual((await peer.accept({ topic })).params, { b: 1, a: { y: 2, x: 3 } });
  await Promise.all([a.ready, b.ready, c.ready]);
  const late = client.on("job", { a: { x: 3, y: 2 }, b: 1 }, (data) => seen.push(["late", data]));
  await late.ready;
  peer.send(message(topic, 1));
  await until(() => seen.length === 4);
  for (const one of [a, b, late]) one.close();
  a.close();
  peer.send(message(topic, 2));
  await until(() => seen.length === 5);
  assert.deepEqual(seen, [["a", 1], ["b", 1], ["c", 1], ["late", 1], ["c", 2]]);
  assert.equal(peer.unread, 0);
  c.close();
  assert.equal((await peer.next()).unsubscribe, "job");
});

test("a handler that throws, also later, hurts nobody else", async (t) => {
  const { server, connect, errors } = await setup(t);
  const client = connect();
  const seen = [];
  const oops = new Error("oops");
  client.on("room", 1, () => { throw oops; }, { onGap: () => { throw oops; } });
  client.on("room", 1, async () => { throw oops; });
  client.on("room", 1, (data) => seen.push(data), { onGap: (gap) => seen.push(gap) });
  client.onState(() => { throw oops; });
  const peer = await server.next();
  await peer.accept({ topic: "room:1" });
  peer.send(message("room:1", 1), { event: "gap", topic: "room:1", reason: "lost", missed: 3 }, message("room:1", 2));
  await until(() => seen.length === 3);
  assert.deepEqual(seen[1], { topic: "room:1", reason: "lost", missed: 3 });
  await until(() => errors.length === 6);
  assert.ok(errors.every((error) => error === oops), `${errors}`);
});

test("a handler may close itself and others while it is called", async (t) => {
  const { server, connect } = await setup(t);
  const client = connect();
  const seen = [];
  const first = client.on("room", 1, (data) => { seen.push(data); first.close(); second.close(); });
  const second = client.on("room", 1, () => assert.fail("closed"));
  const peer = await server.next();
  await peer.accept({ topic: "room:1" });
  peer.send(message("room:1", 1), message("room:1", 2));
  await peer.accept();
  assert.deepEqual(seen, [1]);
});

test("what comes and goes while it connects is not asked for", async (t) => {
  const { server, connect } = await setup(t);
  const client = connect();
  client.on("gone", null, () => {}).close();
  const stays = client.on("stays", null, () => {});
  client.on("stays", null, () => {}).close();
  for (let i = 0; i < 20; i += 1) client.on("churn", i % 2, () => {}).close();
  const peer = await server.next();
  assert.equal((await peer.accept({ topic: "stays" })).subscribe, "stays");
  await stays.ready;
  assert.equal(peer.all.length, 1);
});

test("while one request is under way no other is sent for the same, and the last wish counts", async (t) => {
  const { server, connect } = await setup(t);
  const client = connect();
  const seen = [];
  const first = client.on("room", 1, () => assert.fail("closed"));
  const peer = await server.next();
  const asked = await peer.next();
  first.close();
  await assert.rejects(first.ready, { code: "CANCELLED" });
  client.on("room", 1, () => assert.fail("closed")).close();
  const wanted = client.on("room", 1, (data) => seen.push(data));
  wanted.close();
  // Nobody wants it when it is made: so it is taken back.
  peer.send({ id: asked.id, ok: true, topic: "room:1" }, message("room:1", "to nobody"));
  const back = await peer.next();
  assert.equal(back.unsubscribe, "room");
  // And wanted again while that is under way: what still comes is of the old one.
  const again = client.on("room", 1, (data) => seen.push(data));
  assert.equal(peer.unread, 0);
  peer.send(message("room:1", "old"), { id: back.id, ok: true, topic: "room:1" });
  const anew = await peer.accept({ topic: "room:1" });
  assert.equal(anew.subscribe, "room");
  await again.ready;
  peer.send(message("room:1", "new"));
  await until(() => seen.length === 1);
  assert.deepEqual(seen, ["new"]);
  assert.equal(peer.all.length, 3);
});

test("an unsubscribe that the server does not know of is as good as one it does", async (t) => {
  const { server, connect } = await setup(t);
  const client = connect();
  const room = client.on("room", 1, () => {});
  const peer = await server.next();
  await peer.accept({ topic: "room:1" });
  await room.ready;
  room.close();
  const asked = await peer.next();
  const again = client.on("room", 1, () => {});
  peer.send({ id: asked.id, error: { code: "NOT_FOUND", message: "is not subscribed to", retryable: false } });
  await peer.accept({ topic: "room:1" });
  await again.ready;
});

test("a refusal for good ends the subscription and is told once", async (t) => {
  const { server, connect, errors } = await setup(t);
  const client = connect();
  const ended = [];
  const room = client.on("room", 1, () => {}, { onEnd: (error) => ended.push(error) });
  const quiet = client.on("room", 1, () => {});
  const peer = await server.next();
  const asked = await peer.next();
  peer.send({ id: asked.id, error: { code: "PERMISSION_DENIED", message: "members only", retryable: false } });
  await assert.rejects(room.ready, { code: "PERMISSION_DENIED", message: "members only" });
  assert.deepEqual(ended.map((error) => error.code), ["PERMISSION_DENIED"]);
  assert.deepEqual(errors, ended, "who has no onEnd is told through onError");
  assert.ok(room.closed && quiet.closed);
  room.close();
  // It is not asked for again, unless somebody does.
  peer.cut();
  const next = await server.next();
  const again = client.on("room", 1, () => {});
  await next.accept({ topic: "room:1" });
  await again.ready;
  assert.equal(next.all.length, 1);
});

test("a refusal that may pass is tried again when the server says", async (t) => {
  const { server, connect, errors } = await setup(t);
  const room = connect().on("room", 1, () => {});
  const peer = await server.next();
  for (const extra of [{ retry_after_ms: 1 }, {}]) {
    const asked = await peer.next();
    peer.send({ id: asked.id, error: { code: "UNAVAILABLE", message: "not now", retryable: true, ...extra } });
  }
  await peer.accept({ topic: "room:1" });
  await room.ready;
  assert.deepEqual(errors.map((error) => error.message), ["not now", "not now"]);
});

test("the server may end a subscription; it is not made again by itself", async (t) => {
  const { server, connect } = await setup(t);
  const client = connect();
  const ended = [];
  client.on("room", 1, () => {}, { onEnd: (error) => ended.push(error.message) });
  const peer = await server.next();
  await peer.accept({ topic: "room:1" });
  peer.send({ event: "unsubscribed", topic: "room:1", reason: "banned" });
  await until(() => ended.length === 1);
  assert.match(ended[0], /room:1.*banned/);
  peer.cut();
  const next = await server.next();
  client.on("other", null, () => {});
  assert.equal((await next.next()).subscribe, "other");
});

test("what the server subscribed the client to is heard by who listens", async (t) => {
  const { server, connect } = await setup(t);
  const client = connect();
  await client.connect();
  const peer = await server.next();
  peer.send({ event: "subscribed", topic: "room:1" }, message("room:1", "nobody listens"));
  const seenByThen = client.request("x");
  await peer.accept();
  await seenByThen;
  const seen = [];
  const room = client.on("room", 1, (data) => seen.push(data));
  await peer.accept({ topic: "room:1" });
  await room.ready;
  peer.send(message("room:1", "heard"));
  await until(() => seen.length === 1);
  assert.deepEqual(seen, ["heard"]);
});

test("parameters that mean the same to the server share what it has", async (t) => {
  const { server, connect } = await setup(t);
  const client = connect();
  const seen = [];
  const a = client.on("job", { id: 7 }, (data) => seen.push(["a", data]));
  const b = client.on("job", { id: 7, colour: null }, (data) => seen.push(["b", data]));
  const peer = await server.next();
  const topic = 'job:{"id":7}';
  await peer.accept({ topic });
  await peer.accept({ topic });
  await Promise.all([a.ready, b.ready]);
  peer.send(message(topic, 1));
  await until(() => seen.length === 2);
  a.close();
  peer.send(message(topic, 2));
  await until(() => seen.length === 3);
  assert.equal(peer.unread, 0, "b still needs it");
  b.close();
  assert.equal((await peer.next()).unsubscribe, "job");
  assert.deepEqual(seen, [["a", 1], ["b", 1], ["b", 2]]);
});

test("one that shares a name is made again if the other's end took it along", async (t) => {
  const { server, connect } = await setup(t);
  const client = connect();
  const seen = [];
  const topic = 'job:{"id":7}';
  const a = client.on("job", { id: 7 }, () => {});
  const peer = await server.next();
  await peer.accept({ topic });
  await a.ready;
  const b = client.on("job", { id: 7, colour: null }, (data) => seen.push(data), { onGap: (gap) => seen.push(gap.reason) });
  const asked = await peer.next();
  a.close();
  const ending = await peer.next();
  peer.send({ id: asked.id, ok: true, topic });
  await b.ready;
  peer.send({ id: ending.id, ok: true, topic });
  assert.deepEqual((await peer.accept({ topic })).params, { id: 7, colour: null });
  peer.send(message(topic, 1));
  await until(() => seen.length === 2);
  assert.deepEqual(seen, ["reconnected", 1]);
});

test("a message that cannot be read is reported, and the next one arrives", async (t) => {
  const { server, connect, errors } = await setup(t);
  const seen = [];
  connect().on("room", 1, (data) => seen.push(data));
  const peer = await server.next();
  await peer.accept({ topic: "room:1" });
  peer.send({ event: "undecodable", subscription: "room:1", topic: "room:1", error: "not JSON" }, message("room:1", 1));
  await until(() => seen.length === 1);
  assert.match(errors[0].message, /room:1.*not JSON/);
});

test("frames that come before the answer find their subscription", async (t) => {
  const { server, connect } = await setup(t);
  const seen = [];
  const room = connect().on("room", 1, (data) => seen.push(data), { onPresence: (roster) => seen.push(roster.count) });
  const peer = await server.next();
  const asked = await peer.next();
  assert.equal(asked.members, true);
  peer.send(
    { event: "presence", topic: "room:1", count: 1, members: [{ client: "c-1" }] },
    message("room:1", "early"),
    { id: asked.id, ok: true, topic: "room:1" },
    message("room:1", "late"),
  );
  await until(() => seen.length === 3);
  assert.deepEqual(seen, [1, "early", "late"]);
  await room.ready;
});

test("what can never be subscribed to is refused at once", async (t) => {
  const { connect } = await setup(t);
  const client = connect();
  const invalid = { code: "INVALID_ARGUMENT" };
  assert.throws(() => client.on("", null, () => {}), invalid);
  assert.throws(() => client.on("room", () => {}, () => {}), invalid);
  assert.throws(() => client.on("room", 1n, () => {}), invalid);
  assert.throws(() => client.on("room", 1, () => {}, { after: at(1), recent: 1 }), invalid);
  assert.equal(client.state, "connecting");
});
