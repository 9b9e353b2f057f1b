// Against the real hub, over a network that breaks.

import assert from "node:assert/strict";
import { test } from "node:test";
import { WebSocket } from "ws";
import { canonicalJson, QuorateClient } from "../dist/client.js";
import { Hub, Network } from "./support/hub.mjs";
import { until } from "./support/server.mjs";
import { QUICK } from "./support/setup.mjs";

async function setup(t) {
  const hub = await Hub.start();
  const network = await Network.to(hub.address);
  const errors = [];
  const clients = [];
  const connect = (more = {}) => {
    const client = new QuorateClient(network.url, { WebSocket, backoff: QUICK, onError: (error) => errors.push(error), ...more });
    clients.push(client);
    return client;
  };
  t.after(async () => {
    for (const client of clients) client.close();
    await network.stop();
    await hub.kill();
  });
  return { hub, network, connect, errors };
}

/** A handler's record. */
function witness() {
  const events = [];
  return { events, handler: (data) => events.push(data), onGap: (gap) => events.push(gap.reason) };
}

test("hub: topics with parameters of every kind are told apart, and patterns see them all", async (t) => {
  const { hub, connect } = await setup(t);
  const client = connect();
  const all = [];
  await client.on("*", null, (data, meta) => all.push(meta.topic)).ready;
  const seen = [];
  const kinds = [42, "forty two", { b: [1.5, { d: null, c: "é" }], a: 1e-7 }, { b: [1.5, { d: null, c: "e" }], a: 1e-7 }, [true], 1e21, 0.1];
  for (const params of kinds) await client.on("room", params, (data) => seen.push([params, data])).ready;
  for (const params of kinds) {
    const key = typeof params === "string" ? params : canonicalJson(params);
    await hub.publish(`room:${key}`, `for ${key}`);
  }
  await until(() => seen.length === kinds.length && all.length === kinds.length);
  assert.deepEqual(seen, kinds.map((params) => [params, `for ${typeof params === "string" ? params : canonicalJson(params)}`]));
});

test("hub: churn leaves exactly what is wanted", async (t) => {
  const { hub, network, connect, errors } = await setup(t);
  const client = connect();
  const seen = [];
  let open = [];
  for (let n = 0; n < 300; n += 1) {
    const topic = n % 5;
    open.push(client.on("room", topic, (data) => seen.push([n, data])));
    if (n % 3 !== 0) open.splice(n % open.length, 1)[0].close();
    if (n % 50 === 17) network.cut();
    if (n % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  for (const subscription of open) subscription.close();
  open = [];
  const kept = client.on("room", 3, (data) => seen.push(["kept", data]));
  await kept.ready;
  seen.length = 0;
  for (let topic = 0; topic < 5; topic += 1) await hub.publish(`room:${topic}`, topic);
  await until(() => seen.length > 0);
  const roundTrip = client.on("other", null, () => {});
  await roundTrip.ready;
  assert.deepEqual(seen, [["kept", 3]]);
  assert.deepEqual(errors, []);
});

test("hub: an interruption is a gap on a topic that keeps nothing, and it goes on", async (t) => {
  const { hub, network, connect } = await setup(t);
  const client = connect();
  const { events, handler, onGap } = witness();
  await client.on("news", null, handler, { onGap }).ready;
  await hub.publish("news", 1);
  await until(() => events.length === 1);
  network.cut({ open: false });
  await until(() => client.state === "waiting");
  await hub.publish("news", 2);
  network.heal();
  await until(() => events.length === 2);
  await hub.publish("news", 3);
  await until(() => events.length === 3);
  assert.deepEqual(events, [1, "reconnected", 3]);
});

for (const seed of [1, 2, 3]) {
  test(`hub: on a kept topic nothing is lost, doubled or out of order, however often the network breaks (${seed})`, async (t) => {
    const { hub, network, connect, errors } = await setup(t);
    let state = seed * 7_919;
    const random = (below) => (state = (state * 1_103_515_245 + 12_345) % 2 ** 31) % below;
    const client = connect();
    const records = [];
    let published = 0;
    const publish = async () => hub.publish("room:1", (published += 1));
    for (let n = 0; n < 20; n += 1) await publish();
    for (let step = 0; step < 150; step += 1) {
      const what = random(12);
      if (what < 7) await publish();
      else if (what === 7) network.cut();
      else if (what === 8 && records.length < 12) {
        const { events, handler, onGap } = witness();
        const options = records.length % 3 === 1 ? { recent: 4 } : {};
        // Who reads on where another one is.
        const known = records.at(-1)?.subscription.position;
        if (records.length % 3 === 2 && known !== undefined) options.after = known;
        const subscription = client.on("room", 1, handler, { ...options, onGap });
        records.push({ events, subscription });
      } else await new Promise((resolve) => setTimeout(resolve, random(10)));
    }
    const { events, handler, onGap } = witness();
    records.push({ events, subscription: client.on("room", 1, handler, { onGap }) });
    await Promise.all(records.map(({ subscription }) => subscription.ready));
    await until(async () => {
      await publish();
      return records.every((record) => record.events.length > 0);
    });
    await until(() => records.every((record) => record.events.at(-1) === published));
    for (const { events } of records) {
      assert.deepEqual(events, Array.from({ length: events.length }, (_, n) => events[0] + n));
    }
    assert.deepEqual(errors, []);
    const page = await client.history("room", 1, { limit: 3 });
    assert.deepEqual(page.messages.map((message) => message.data), [published - 2, published - 1, published]);
    assert.equal(page.position, page.messages.at(-1).meta.position);
    assert.ok(page.complete);
  });
}

test("hub: what is no longer kept is a gap, and it goes on from there", async (t) => {
  const { hub, network, connect } = await setup(t);
  const client = connect();
  const { events, handler } = witness();
  const gaps = [];
  const brief = client.on("brief", 1, handler, { onGap: (gap) => gaps.push(gap) });
  await brief.ready;
  await hub.publish("brief:1", 1);
  await until(() => events.length === 1);
  const known = brief.position;
  network.cut({ open: false });
  await until(() => client.state === "waiting");
  for (let n = 2; n <= 20; n += 1) await hub.publish("brief:1", n);
  network.heal();
  await until(() => gaps.length === 1);
  assert.deepEqual([gaps[0].reason, gaps[0].missed, gaps[0].topic], ["history", 19, "brief:1"]);
  assert.equal(brief.position, gaps[0].position);
  await hub.publish("brief:1", 21);
  await until(() => events.length === 2);
  assert.deepEqual(events, [1, 21]);
  // The same for who joins with an old position, and asks by itself.
  const late = witness();
  client.on("brief", 1, late.handler, { after: known, onGap: late.onGap });
  await until(() => late.events.length === 1);
  await hub.publish("brief:1", 22);
  await until(() => late.events.length === 2);
  assert.deepEqual(late.events, ["history", 22]);
  const page = await client.history("brief", 1, { after: known });
  assert.deepEqual([page.messages, page.gap.missed], [[], 21]);
});

test("hub: a history that was lost with its server is a gap, also if positions look alike", async (t) => {
  const { hub, network, connect } = await setup(t);
  const client = connect();
  const { events, handler, onGap } = witness();
  await client.on("room", 1, handler, { onGap }).ready;
  for (let n = 1; n <= 3; n += 1) await hub.publish("room:1", `old ${n}`);
  await until(() => events.length === 3);
  network.cut({ open: false });
  await hub.kill();
  const next = await Hub.start();
  t.after(() => next.kill());
  for (let n = 1; n <= 5; n += 1) await next.publish("room:1", `new ${n}`);
  network.target = next.address;
  network.heal();
  await until(() => events.length === 4);
  await next.publish("room:1", "new 6");
  await until(() => events.length === 5);
  assert.deepEqual(events, ["old 1", "old 2", "old 3", "history", "new 6"]);
});

test("hub: a connection over which nothing comes any more is noticed", async (t) => {
  const { hub, network, connect } = await setup(t);
  // What a browser says of its network makes the client look; else the heartbeat does, every 15 s.
  const browser = new EventTarget();
  globalThis.addEventListener = browser.addEventListener.bind(browser);
  t.after(() => delete globalThis.addEventListener);
  const client = connect({ pongTimeout: 50 });
  const { events, handler, onGap } = witness();
  await client.on("news", null, handler, { onGap }).ready;
  network.freeze();
  await hub.publish("news", "nobody sees this");
  browser.dispatchEvent(new Event("offline"));
  await until(() => events.length === 1);
  await hub.publish("news", "again");
  await until(() => events.length === 2);
  assert.deepEqual(events, ["reconnected", "again"]);
});

test("hub: a drain sends everybody away and says when to come back", async (t) => {
  const { hub, network, connect } = await setup(t);
  const client = connect();
  await client.connect();
  let waiting;
  client.onState((state, detail) => state === "waiting" && (waiting ??= detail));
  const drained = hub.post("/drain");
  await until(() => waiting !== undefined);
  await drained;
  assert.ok(waiting.retryIn >= 0 && waiting.retryIn <= 10_000, `${waiting.retryIn}`);
  assert.match(waiting.reason, /1012/);
  const next = await Hub.start();
  t.after(() => next.kill());
  network.target = next.address;
  await until(() => client.state === "ready");
});

test("hub: an instance that was killed is replaced, and everything is there again", async (t) => {
  const { hub, network, connect, errors } = await setup(t);
  const client = connect();
  const seen = [];
  const topics = Array.from({ length: 40 }, (_, n) => n);
  await Promise.all(topics.map((n) => client.on("news", n, (data) => seen.push([n, data]), { onGap: () => seen.push(n) }).ready));
  await hub.kill();
  await until(() => client.state === "waiting");
  const next = await Hub.start();
  t.after(() => next.kill());
  network.target = next.address;
  await until(() => seen.length === topics.length);
  for (const n of topics) await next.publish(`news:${n}`, n);
  await until(() => seen.length === 2 * topics.length);
  assert.deepEqual(seen.slice(topics.length), topics.map((n) => [n, n]));
  assert.deepEqual(errors, []);
});

test("hub: it refuses what it does not allow, and goes on", async (t) => {
  const { connect } = await setup(t);
  const client = connect();
  await assert.rejects(client.request("no.such.thing"), { code: "UNIMPLEMENTED", outcome: "not_applied" });
  await assert.rejects(client.on("bad name", null, () => {}, { onEnd: () => {} }).ready, { code: "INVALID_ARGUMENT" });
  await client.on("good", null, () => {}).ready;
});

test("hub: requests are answered, with progress, and can be given up", async (t) => {
  const { connect } = await setup(t);
  const client = connect();
  assert.deepEqual(await client.request("echo", { any: ["thing", null, 1.5] }), { any: ["thing", null, 1.5] });
  const seen = [];
  assert.equal(await client.request("count", 3, { onProgress: ({ done }) => seen.push(done) }), 3);
  assert.deepEqual(seen, [1, 2, 3]);
  await assert.rejects(client.request("fail", { why: "so" }), {
    code: "RESOURCE_EXHAUSTED", message: "not today", details: { why: "so" }, retryable: true, retryAfter: 1500,
  });
  await assert.rejects(client.request("count", "three"), { code: "INVALID_ARGUMENT" });
  // What was given up makes room for others. (More messages at once the server takes for a flood.)
  const aborts = Array.from({ length: 30 }, () => new AbortController());
  const waits = aborts.map((abort) => client.request("wait", null, { signal: abort.signal }));
  await client.request("echo");
  for (const abort of aborts) abort.abort();
  for (const wait of waits) await assert.rejects(wait, { code: "CANCELLED", outcome: "unknown" });
  const numbers = Array.from({ length: 20 }, (_, n) => n);
  assert.deepEqual(await Promise.all(numbers.map((n) => client.request("echo", n))), numbers);
});

test("hub: what one says the others hear, and itself only if it wants to", async (t) => {
  const { network, connect } = await setup(t);
  const [ada, bob] = [connect(), connect()];
  const heard = { ada: [], bob: [] };
  await ada.on("chat", 7, ({ text }) => heard.ada.push(text)).ready;
  const room = bob.on("chat", 7, ({ text }, meta) => heard.bob.push([text, meta.source]), { recent: 10 });
  await room.ready;
  const published = await ada.publish("chat", 7, { text: "to all" });
  assert.equal(published.topic, "chat:7");
  await ada.publish("chat", 7, { text: "to others" }, { echo: false });
  await ada.publish("chat", 7, { text: "again to all" });
  await until(() => heard.ada.length === 2 && heard.bob.length === 3);
  assert.deepEqual(heard.ada, ["to all", "again to all"]);
  assert.deepEqual(heard.bob.map(([text]) => text), ["to all", "to others", "again to all"]);
  assert.ok(heard.bob.every(([, source]) => source === ada.id), `${JSON.stringify(heard.bob)}`);
  await assert.rejects(ada.publish("chat", 7, { text: "" }), { code: "INVALID_ARGUMENT" });
  await assert.rejects(ada.publish("chat", "seven", { text: "hi" }), { code: "INVALID_ARGUMENT" });
  await assert.rejects(ada.publish("room", 7, "hi"), { code: "PERMISSION_DENIED" });
  // What is said while the network is away is said when it is back.
  network.cut({ open: false });
  await until(() => ada.state === "waiting" && bob.state === "waiting");
  const later = ada.publish("chat", 7, { text: "later" });
  network.heal();
  await later;
  await until(() => heard.ada.length === 3 && heard.bob.length === 4);
});

test("hub: a token is shown, renewed, and asked for again; who is revoked stays away", async (t) => {
  const { hub, network, errors } = await setup(t);
  const reasons = [];
  let lifetime = 60_000;
  const token = async (reason) => {
    reasons.push(reason);
    return (await hub.post("/token", { user: "ada", lifetime_ms: lifetime })).text();
  };
  const url = network.url.replace("/live/", "/private/");
  const client = new QuorateClient(url, { WebSocket, token, backoff: QUICK, onError: (error) => errors.push(error) });
  t.after(() => client.close());
  const seen = [];
  await client.on("chat", 7, ({ text }, meta) => seen.push([text, meta.source])).ready;
  const who = await client.request("who");
  assert.deepEqual(who, { client: client.id, user: "ada" });
  await client.publish("chat", 7, { text: "hi" });
  await until(() => seen.length === 1);
  assert.deepEqual(seen, [["hi", "ada"]]);
  assert.deepEqual(reasons, ["connecting"]);

  // Short-lived ones are renewed.
  lifetime = 1_500;
  network.cut();
  await until(() => reasons.includes("expiring"));
  await until(async () => (await client.request("who")).user === "ada");
  lifetime = 60_000;
  const asked = reasons.length;
  await until(() => reasons.length > asked);
  assert.equal((await client.request("who")).user, "ada");

  const states = [];
  client.onState((state) => states.push(state));
  await hub.post("/revoke/ada");
  await until(() => client.state === "stopped");
  assert.deepEqual(states, ["stopped"]);
  await assert.rejects(client.request("who"), { code: "PERMISSION_DENIED" });
  assert.deepEqual(errors, []);

  const bad = new QuorateClient(url, { WebSocket, token: () => "made up", backoff: QUICK, onError: (error) => errors.push(error) });
  t.after(() => bad.close());
  bad.connect();
  await until(() => errors.length >= 2);
  assert.ok(errors.every((error) => error.code === "UNAUTHENTICATED"), `${errors}`);
});

test("hub: who is there is exact, also after the network was away", async (t) => {
  const { hub, network, connect, errors } = await setup(t);
  const steady = connect();
  // Straight to the hub: what happens to the network does not happen to this one.
  const other = new QuorateClient(hub.url, { WebSocket, backoff: QUICK });
  t.after(() => other.close());
  const rosters = [];
  const told = new Map();
  const follow = (roster, { joined, left }) => {
    rosters.push(roster);
    for (const member of left) assert.ok(told.delete(member.client), `${member.client} left without having joined`);
    for (const member of joined) told.set(member.client, member);
    assert.deepEqual([...told.keys()].sort(), roster.members.map((member) => member.client).sort());
  };
  const here = (...clients) => () => {
    const ids = rosters.at(-1)?.members.map((member) => member.client).sort();
    return JSON.stringify(ids) === JSON.stringify(clients.map((client) => client.id).sort());
  };
  // First without, then with: presence can be wanted later.
  await steady.on("chat", 5, () => {}).ready;
  await steady.on("chat", 5, () => {}, { onPresence: follow }).ready;
  await until(here(steady));
  const shared = other.on("chat", 5, () => {});
  await shared.ready;
  await until(here(steady, other));
  assert.equal((await steady.presence("chat", 5)).count, 2);
  network.cut({ open: false });
  await until(() => steady.state === "waiting");
  shared.close();
  await other.request("echo");
  network.heal();
  await until(() => steady.state === "ready");
  await until(here(steady));
  await other.on("chat", 5, () => {}).ready;
  await until(here(steady, other));
  other.close();
  await until(here(steady));
  assert.deepEqual(errors, []);
});
