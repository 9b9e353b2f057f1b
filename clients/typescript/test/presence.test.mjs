// Who is there, exactly.

import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "./support/server.mjs";
import { message, setup } from "./support/setup.mjs";

const ada = { client: "c-1", user: "ada", info: { colour: "red" } };
const bob = { client: "c-2", user: "bob" };
const eve = { client: "c-3" };
const whole = (...members) => ({ event: "presence", topic: "room:1", count: members.length, members });
const changed = (count, joined, left) => ({ event: "presence", topic: "room:1", count, joined, left });
const names = (members) => members?.map((member) => member.client).join() ?? null;

async function room(t) {
  const all = await setup(t);
  const client = all.connect();
  const seen = [];
  const onPresence = (roster, { joined, left }) => seen.push([roster.count, names(roster.members), names(joined), names(left)]);
  const subscription = client.on("room", 1, () => {}, { onPresence });
  const peer = await all.server.next();
  return { ...all, client, seen, subscription, onPresence, peer };
}

test("the whole roster first, then what changes", async (t) => {
  const { peer, seen, subscription } = await room(t);
  assert.equal((await peer.accept({ topic: "room:1" })).members, true);
  peer.send(whole(ada), changed(2, [bob], []), changed(2, [eve], [{ client: "c-1" }]), changed(1, [], ["c-2"]));
  await until(() => seen.length === 4);
  assert.deepEqual(seen, [
    [1, "c-1", "c-1", ""], [2, "c-1,c-2", "c-2", ""], [2, "c-2,c-3", "c-3", "c-1"], [1, "c-3", "", "c-2"],
  ]);
  assert.deepEqual(subscription.roster, { topic: "room:1", count: 1, members: [eve] });
});

test("after an interruption the whole roster replaces what was known, and only what differs is told", async (t) => {
  const { server, peer, seen } = await room(t);
  await peer.accept({ topic: "room:1" });
  peer.send(whole(ada, bob));
  await until(() => seen.length === 1);
  peer.cut();
  const second = await server.next();
  assert.equal((await second.accept({ topic: "room:1" })).members, true);
  second.send(whole(bob, eve));
  await until(() => seen.length === 2);
  assert.deepEqual(seen[1], [2, "c-2,c-3", "c-3", "c-1"]);
  second.cut();
  const third = await server.next();
  await third.accept({ topic: "room:1" });
  // A change to what nobody knows on this connection, though it would go with what was known before.
  third.send(changed(3, [ada], []));
  await third.accept({ topic: "room:1", count: 2, members: [bob, eve] });
  third.send(whole(bob, eve), whole(bob, { ...eve, info: "new" }));
  await until(() => seen.length === 3);
  assert.deepEqual(seen[2], [2, "c-2,c-3", "c-3", ""], "the same roster is no news, other information is");
});

test("changes that do not go with what is known make it ask", async (t) => {
  const { server, peer, seen, errors } = await room(t);
  await peer.accept({ topic: "room:1" });
  peer.send(changed(3, [bob], []));
  assert.equal((await peer.next()).presence, "room");
  // Broken off: the next connection begins with a whole one by itself.
  peer.cut();
  const second = await server.next();
  await second.accept({ topic: "room:1" });
  second.send(whole(ada), changed(5, [bob], []));
  const asked = await second.next();
  assert.deepEqual(asked, { id: asked.id, presence: "room", params: 1 });
  second.send(changed(5, [eve], []), { id: asked.id, ok: true, topic: "room:1", count: 3, members: [ada, bob, eve] });
  await until(() => seen.length === 2);
  second.send(changed(2, [], [ada]));
  await until(() => seen.length === 3);
  assert.deepEqual(seen, [[1, "c-1", "c-1", ""], [3, "c-1,c-2,c-3", "c-2,c-3", ""], [2, "c-2,c-3", "", "c-1"]]);
  assert.equal(second.unread, 0);
  assert.deepEqual(errors, []);
});

test("too many to name are a number, until they are fewer", async (t) => {
  const { peer, seen } = await room(t);
  await peer.accept({ topic: "room:1" });
  const count = (count) => ({ event: "presence", topic: "room:1", count });
  peer.send(whole(ada), count(501), count(600), whole(ada, bob));
  await until(() => seen.length === 4);
  assert.deepEqual(seen, [[1, "c-1", "c-1", ""], [501, null, "", ""], [600, null, "", ""], [2, "c-1,c-2", "c-1,c-2", ""]]);
});

test("who comes later is told who is there, and presence can be wanted later", async (t) => {
  const { server, connect } = await setup(t);
  const client = connect();
  const seen = [];
  const data = [];
  const first = client.on("room", 1, (value) => data.push(value));
  const peer = await server.next();
  assert.equal("members" in (await peer.accept({ topic: "room:1" })), false);
  await first.ready;
  assert.equal(first.roster, undefined);
  const onPresence = (roster, { joined }) => seen.push([roster.count, names(joined)]);
  client.on("room", 1, () => {}, { onPresence });
  const asked = await peer.next();
  assert.deepEqual(asked, { id: asked.id, subscribe: "room", params: 1, members: true });
  peer.send(message("room:1", "meanwhile"), { id: asked.id, ok: true, topic: "room:1" });
  const question = await peer.accept({ topic: "room:1", count: 1, members: [ada] });
  assert.equal(question.presence, "room");
  await until(() => seen.length === 1);
  client.on("room", 1, () => {}, { onPresence });
  await until(() => seen.length === 2);
  assert.deepEqual([seen, data], [[[1, "c-1"], [1, "c-1"]], ["meanwhile"]]);
  assert.equal(peer.unread, 0);
});

test("presence that is refused ends who wanted it, and nobody else", async (t) => {
  const { server, connect } = await setup(t);
  const client = connect();
  const seen = [];
  const first = client.on("room", 1, (value) => seen.push(value));
  const peer = await server.next();
  await peer.accept({ topic: "room:1" });
  await first.ready;
  const ended = [];
  const curious = client.on("room", 1, () => {}, { onPresence: () => {}, onEnd: (error) => ended.push(error.code) });
  const asked = await peer.next();
  peer.send({ id: asked.id, error: { code: "FAILED_PRECONDITION", message: "no presence here", retryable: false } }, message("room:1", 1));
  await until(() => seen.length === 1);
  assert.deepEqual(ended, ["FAILED_PRECONDITION"]);
  assert.ok(curious.closed && !first.closed);
});
