// Going on where it was, and saying so where that cannot be.

import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "./support/server.mjs";
import { at, message, setup } from "./support/setup.mjs";

const kept = (offset, data = offset) => message("room:1", data, { position: at(offset) });

async function room(t, options = {}) {
  const all = await setup(t);
  const client = all.connect();
  const seen = [];
  const note = (more = {}) => ({ onGap: ({ reason, missed }) => seen.push([reason, missed]), ...more });
  const subscription = client.on("room", 1, (data) => seen.push(data), note(options));
  return { ...all, client, seen, note, subscription, peer: await all.server.next() };
}

test("a kept topic goes on after the last message, without loss and without a double", async (t) => {
  const { server, peer, seen, subscription } = await room(t);
  await peer.accept({ topic: "room:1", position: at(3) });
  await subscription.ready;
  assert.equal(subscription.position, at(3));
  peer.send(kept(4), kept(5));
  await until(() => seen.length === 2);
  assert.equal(subscription.position, at(5));
  peer.cut();
  const second = await server.next();
  const asked = await second.accept({ topic: "room:1", position: at(5), recovered: true });
  assert.equal(asked.after, at(5));
  // A server that repeats itself is not repeated.
  second.send(kept(5), kept(6), kept(7));
  await until(() => seen.length === 4);
  assert.deepEqual(seen, [4, 5, 6, 7]);
});

test("a connection that breaks before the missed messages came resumes at the same place", async (t) => {
  const { server, peer, seen } = await room(t);
  await peer.accept({ topic: "room:1", position: at(3) });
  peer.cut();
  const second = await server.next();
  // Even if the server names the place where it will be then.
  assert.equal((await second.accept({ topic: "room:1", position: at(9), recovered: true })).after, at(3));
  second.cut();
  const third = await server.next();
  assert.equal((await third.accept({ topic: "room:1", position: at(3), recovered: true })).after, at(3));
  third.send(kept(4));
  await until(() => seen.length === 1);
});

test("what is no longer kept is a gap, and it goes on where the server says", async (t) => {
  const { server, peer, seen, subscription } = await room(t);
  await peer.accept({ topic: "room:1", position: at(3) });
  peer.cut();
  const second = await server.next();
  await second.accept({ topic: "room:1", position: at(20), recovered: false });
  second.send({ event: "gap", topic: "room:1", reason: "history", missed: 17, position: at(20) });
  await until(() => seen.length === 1);
  assert.equal(subscription.position, at(20));
  second.cut();
  const third = await server.next();
  assert.equal((await third.accept({ topic: "room:1", position: at(20), recovered: true })).after, at(20));
  // A history that was rolled back and written anew has smaller offsets: the gap says so.
  third.send({ event: "gap", topic: "room:1", reason: "history", missed: null, position: at(10) }, kept(11), kept(5));
  await until(() => seen.length === 3);
  assert.deepEqual(seen, [["history", 17], ["history", null], 11]);
  assert.equal(subscription.position, at(11));
});

test("an ephemeral topic has a gap after every interruption, and none at its beginning", async (t) => {
  const { server, peer, seen, client, note } = await room(t);
  await peer.accept({ topic: "room:1" });
  peer.send(message("room:1", "a"));
  await until(() => seen.length === 1);
  peer.cut();
  await until(() => client.state === "waiting");
  client.on("room", 1, (data) => seen.push(`new ${data}`), note());
  const second = await server.next();
  assert.equal("after" in (await second.accept({ topic: "room:1" })), false);
  second.send(message("room:1", "b"));
  await until(() => seen.length === 4);
  assert.deepEqual(seen, ["a", ["reconnected", null], "b", "new b"]);
});

test("closed while offline, it is not asked for again", async (t) => {
  const { server, peer, seen, client, subscription } = await room(t);
  await peer.accept({ topic: "room:1", position: at(3) });
  await subscription.ready;
  peer.cut();
  await until(() => client.state === "waiting");
  subscription.close();
  const again = client.on("room", 1, (data) => seen.push(data));
  again.close();
  const other = client.on("other", null, () => {});
  const second = await server.next();
  assert.equal((await second.accept({ topic: "other" })).subscribe, "other");
  await other.ready;
  assert.equal(second.all.length, 1);
  // And who comes then begins at the beginning, not where the old one was.
  client.on("room", 1, (data) => seen.push(data));
  assert.equal("after" in (await second.next()), false);
});

test("the first handler's wishes go with the subscription", async (t) => {
  const { peer, seen, subscription } = await room(t, { after: at(7) });
  const asked = await peer.accept({ topic: "room:1", position: at(7), recovered: true });
  assert.deepEqual([asked.after, asked.recent], [at(7), undefined]);
  assert.equal(subscription.position, at(7));
  peer.send(kept(8));
  await until(() => seen.length === 1);
  assert.equal(subscription.position, at(8));
});

test("recent messages come first, whatever position the answer names", async (t) => {
  for (const position of [at(7), at(10)]) {
    const { peer, seen, subscription, server } = await room(t, { recent: 3 });
    assert.equal((await peer.accept({ topic: "room:1", position })).recent, 3);
    peer.send(kept(8), kept(9), kept(10), kept(11));
    await until(() => seen.length === 4);
    assert.equal(subscription.position, at(11));
    peer.cut();
    const asked = await (await server.next()).next();
    assert.deepEqual([asked.after, asked.recent], [at(11), undefined], "only the first time");
  }
});

test("handlers with different beginnings each get their own past, then all the same", async (t) => {
  const { client, peer, seen, note } = await room(t, { recent: 2 });
  await peer.accept({ topic: "room:1", position: at(8) });
  peer.send(kept(9), kept(10));
  await until(() => seen.length === 2);

  const late = [];
  const joined = client.on("room", 1, (data) => late.push(data), note({ after: at(5) }));
  await joined.ready;
  const first = await peer.next();
  assert.deepEqual(first, { id: first.id, history: "room", params: 1, after: at(5), limit: 100 });
  // What comes live meanwhile has to wait, and what history has as well comes once.
  peer.send(kept(11), { id: first.id, ok: true, topic: "room:1", messages: [kept(6), kept(7)], position: at(7), complete: false });
  const second = await peer.next();
  assert.equal(second.after, at(7));
  const page = [8, 9, 10, 11, 12].map((offset) => kept(offset));
  peer.send(kept(12), { id: second.id, ok: true, topic: "room:1", messages: page, position: at(12), complete: true }, kept(13));
  await until(() => late.length === 8);
  assert.deepEqual(late, [6, 7, 8, 9, 10, 11, 12, 13]);
  assert.deepEqual(seen, [9, 10, 11, 12, 13], "the others did not notice");
  assert.equal(joined.position, at(13));
});

test("a handler that asked for nothing old gets nothing old", async (t) => {
  const { client, peer, seen } = await room(t, { recent: 2 });
  const asked = await peer.next();
  const fresh = [];
  client.on("room", 1, (data) => fresh.push(data));
  peer.send({ id: asked.id, ok: true, topic: "room:1", position: at(8) }, kept(9));
  const question = await peer.next();
  assert.deepEqual([question.history, question.limit], ["room", 1]);
  peer.send({ id: question.id, ok: true, topic: "room:1", messages: [kept(10)], position: at(10), complete: true });
  peer.send(kept(10), kept(11));
  await until(() => seen.length === 3 && fresh.length === 1);
  assert.deepEqual([seen, fresh], [[9, 10, 11], [11]]);
});

test("different beginnings before there is a connection: it begins now, and each reads its own past", async (t) => {
  const { server, client, peer, seen } = await room(t, { recent: 2 });
  const fresh = [];
  client.on("room", 1, (data) => fresh.push(data));
  await peer.next();
  // Broken off before it was answered: both are there when it is asked for again.
  peer.cut();
  const second = await server.next();
  const asked = await second.accept({ topic: "room:1", position: at(8) });
  assert.deepEqual([asked.after, asked.recent], [undefined, undefined]);
  const question = await second.next();
  assert.deepEqual([question.history, question.limit], ["room", 2]);
  second.send(kept(9), { id: question.id, ok: true, topic: "room:1", messages: [kept(8), kept(9)], position: at(9), complete: true });
  await until(() => seen.length === 2 && fresh.length === 1);
  assert.deepEqual([seen, fresh], [[8, 9], [9]]);
});

test("reading the past survives a broken connection", async (t) => {
  const { server, client, peer, seen } = await room(t);
  await peer.accept({ topic: "room:1", position: at(8) });
  const late = [];
  client.on("room", 1, (data) => late.push(data), { after: at(6) });
  await peer.next();
  peer.send(kept(9));
  await until(() => seen.length === 1);
  peer.cut();
  const second = await server.next();
  assert.equal((await second.next()).after, at(9));
  const again = await second.next();
  assert.deepEqual([again.history, again.after], ["room", at(6)]);
  // History answers before the subscription is there again.
  second.send({ id: again.id, ok: true, topic: "room:1", messages: [7, 8, 9, 10].map((n) => kept(n)), position: at(10), complete: true });
  await until(() => late.length === 4);
  second.send({ id: second.all[0].id, ok: true, topic: "room:1", position: at(9), recovered: true }, kept(10), kept(11));
  await until(() => late.length === 5 && seen.length === 3);
  assert.deepEqual([late, seen], [[7, 8, 9, 10, 11], [9, 10, 11]]);
});

test("a past that is not to be had is a gap, and the present goes on", async (t) => {
  const { client, peer, errors } = await room(t);
  await peer.accept({ topic: "room:1", position: at(8) });
  const late = [];
  const onGap = ({ reason, missed }) => late.push([reason, missed]);
  client.on("room", 1, (data) => late.push(data), { after: at(1), onGap });
  const question = await peer.next();
  peer.send({ id: question.id, ok: true, topic: "room:1", gap: { missed: 6, position: at(8) }, complete: true }, kept(9));
  await until(() => late.length === 2);

  client.on("room", 1, (data) => late.push(`second ${data}`), { after: at(1), onGap });
  const busy = await peer.next();
  peer.send({ id: busy.id, error: { code: "UNAVAILABLE", message: "later", retryable: true, retry_after_ms: 1 } });
  const refused = await peer.next();
  peer.send({ id: refused.id, error: { code: "PERMISSION_DENIED", message: "no history for you", retryable: false } }, kept(10));
  await until(() => late.length === 5);
  assert.deepEqual(late, [["history", 6], 9, 10, ["history", null], "second 10"]);
  assert.equal(errors[0].message, "no history for you");
});

test("a past wanted of a topic that keeps none is a gap", async (t) => {
  const { client, peer } = await room(t);
  await peer.accept({ topic: "room:1" });
  const late = [];
  client.on("room", 1, (data) => late.push(data), { after: at(1), onGap: ({ reason }) => late.push(reason) });
  client.on("room", 1, (data) => late.push(data), { recent: 5 });
  await until(() => late.length === 1);
  peer.send(message("room:1", "now"));
  await until(() => late.length === 3);
  assert.deepEqual(late, ["history", "now", "now"]);
  assert.equal(peer.unread, 0);
});

test("more live messages than are held while the past is read come from history", async (t) => {
  const { client, peer, seen } = await room(t);
  await peer.accept({ topic: "room:1", position: at(0) });
  const late = [];
  client.on("room", 1, (data) => late.push(data), { recent: 1 });
  const first = await peer.next();
  const live = Array.from({ length: 1_500 }, (_, n) => kept(n + 2));
  peer.send(...live);
  await until(() => seen.length === 1_500);
  peer.send({ id: first.id, ok: true, topic: "room:1", messages: [kept(1)], position: at(1), complete: true });
  for (let next = 2; next <= 1_501; next += 100) {
    const question = await peer.next();
    assert.equal(question.after, at(next - 1));
    const page = live.slice(next - 2, next + 98);
    peer.send({ id: question.id, ok: true, topic: "room:1", messages: page, position: page.at(-1).position, complete: next + 100 > 1_501 });
  }
  await until(() => late.length === 1_501);
  peer.send(kept(1_502));
  await until(() => late.length === 1_502);
  assert.deepEqual(late, Array.from({ length: 1_502 }, (_, n) => n + 1));
});

test("positions of a pattern's messages are not its own", async (t) => {
  const { server, connect } = await setup(t);
  const seen = [];
  connect().on("room:*", null, (data) => seen.push(data));
  const peer = await server.next();
  await peer.accept({ topic: "room:*" });
  const of = (topic, offset) => ({ event: "message", subscription: "room:*", topic, data: `${topic} ${offset}`, position: at(offset) });
  peer.send(of("room:1", 5), of("room:2", 1), of("room:1", 6));
  await until(() => seen.length === 3);
  peer.cut();
  assert.equal("after" in (await (await server.next()).next()), false);
});
