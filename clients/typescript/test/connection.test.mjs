// Connecting, staying connected, and giving up.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { WebSocket } from "ws";
import { QuorateClient } from "../dist/client.js";
import { HELLO, Server, until } from "./support/server.mjs";
import { at, message, QUICK, setup } from "./support/setup.mjs";

test("connects with the first thing it is used for, and not before", async (t) => {
  const { server, connect } = await setup(t);
  const client = connect();
  const states = [];
  client.onState((state) => states.push(state));
  // Who is told that it is ready can ask what it is connected to.
  const told = [];
  client.onState((state) => state === "ready" && told.push(client.id, client.instance));
  assert.equal(client.state, "idle");
  const room = client.on("room", 42, () => {});
  const peer = await server.next();
  assert.equal(peer.protocol, "quorate.v1");
  const frame = await peer.accept({ topic: "room:42" });
  assert.deepEqual(frame, { id: frame.id, subscribe: "room", params: 42 });
  await room.ready;
  assert.deepEqual(states, ["connecting", "ready"]);
  assert.deepEqual(told, ["c-1", "test"]);
  assert.equal(client.id, "c-1");
  assert.equal(client.instance, "test");
});

test("connect() settles when the client is ready, also after failed attempts", async (t) => {
  const { server, connect } = await setup(t, { hello: null });
  const client = connect();
  const ready = client.connect();
  (await server.next()).cut();
  (await server.next()).close(1011, "not now");
  (await server.next()).send(HELLO);
  await ready;
  assert.equal(client.state, "ready");
  await client.connect();
});

test("connect() does not wait for the next attempt, unless the server named the time", async (t) => {
  const { server, connect } = await setup(t, { hello: null });
  const client = connect({ backoff: { initial: 3_600_000, max: 3_600_000 } });
  client.connect();
  (await server.next()).cut();
  await until(() => client.state === "waiting");
  server.hello = HELLO;
  await client.connect();

  const peer = await server.next();
  peer.send({ event: "closing", reason: "restarting", retry_after_ms: 3_600_000 });
  peer.close(1012, "restarting");
  await until(() => client.state === "waiting");
  client.connect();
  assert.equal(client.state, "waiting");
});

test("attempts that get no hello in time are given up", async (t) => {
  const { server, connect } = await setup(t, { hello: null });
  const client = connect({ connectTimeout: 20 });
  const ready = client.connect();
  await server.next();
  server.hello = HELLO;
  await ready;
});

test("a server that is not there is tried until it is", async (t) => {
  const { server, connect } = await setup(t);
  await server.stop();
  const client = connect();
  let waits = 0;
  client.onState((state, detail) => {
    if (state !== "waiting") return;
    waits += 1;
    assert.ok(detail.retryIn <= QUICK.max, `${detail.retryIn}`);
  });
  client.connect();
  await until(() => waits >= 5);
  const again = await Server.start({ port: server.port });
  t.after(() => again.stop());
  await until(() => client.state === "ready");
});

test("a farewell that says when to come back is obeyed, and hints do not shorten it", async (t) => {
  const { server, connect } = await setup(t);
  const { hint } = browser(t);
  const client = connect();
  await client.connect();
  const peer = await server.next();
  let waiting;
  client.onState((state, detail) => state === "waiting" && (waiting = detail));
  peer.send({ event: "closing", reason: "restarting", retry_after_ms: 60_000 });
  peer.close(1012, "restarting");
  await until(() => waiting !== undefined);
  assert.equal(waiting.retryIn, 60_000);
  assert.match(waiting.reason, /1012/);
  hint("online");
  assert.equal(client.state, "waiting");
});

test("without a time in the farewell it comes back by its own delay", async (t) => {
  const { server, connect } = await setup(t);
  const client = connect();
  await client.connect();
  (await server.next()).close(1012);
  await server.next();
  await until(() => client.state === "ready");
});

test("4403 stops it: nothing is tried until connect() is called, and then everything goes on", async (t) => {
  const { server, connect } = await setup(t);
  const client = connect();
  const seen = [];
  client.on("room", 1, (data) => seen.push(data));
  const peer = await server.next();
  await peer.accept({ topic: "room:1" });
  const waiting = client.request("slow", {});
  await peer.next();
  const failed = assert.rejects(waiting, { code: "UNAVAILABLE", outcome: "unknown" });
  peer.send({ event: "closing", reason: "revoked" });
  peer.close(4403, "revoked");
  await failed;
  await until(() => client.state === "stopped");
  await assert.rejects(client.request("x"), { code: "PERMISSION_DENIED", outcome: "not_applied", retryable: false });
  assert.throws(() => client.on("room", 2, () => {}), { code: "PERMISSION_DENIED" });
  assert.equal(server.connections, 1);

  const ready = client.connect();
  const second = await server.next();
  await second.accept({ topic: "room:1" });
  await ready;
  second.send(message("room:1", "again"));
  await until(() => seen.length === 1);
});

test("without an answer to its ping the connection is given up, and late replies of it reach nobody", async (t) => {
  const { server, connect } = await setup(t, { hello: { ...HELLO, heartbeat_ms: 10 } });
  const client = connect({ pongTimeout: 40 });
  const seen = [];
  client.on("room", 1, (data) => seen.push(data));
  const old = await server.next();
  await old.accept({ topic: "room:1", position: at(1) });
  const first = client.request("say", 1);
  const asked = await old.next();
  // The side of the server stays open: it does not know, and goes on talking.
  old.answersPings = false;
  old.socket._socket.pause();
  await assert.rejects(first, { code: "UNAVAILABLE", outcome: "unknown", retryable: true });
  const fresh = await server.next();
  const again = await fresh.accept({ topic: "room:1", position: at(1), recovered: true });
  assert.equal(again.after, at(1));
  const second = client.request("say", 2);
  const askedAgain = await fresh.next();
  assert.notEqual(askedAgain.id, asked.id);
  old.send(message("room:1", "late", { position: at(2) }), { id: asked.id, ok: true, data: "late" }, { id: askedAgain.id, ok: true, data: "late" });
  fresh.send(message("room:1", "fresh", { position: at(2) }), { id: askedAgain.id, ok: true, data: "fresh" });
  assert.equal(await second, "fresh");
  assert.deepEqual(seen, ["fresh"]);
});

test("a late answer on the same connection to what was given up is nobody's", async (t) => {
  const { server, connect, errors } = await setup(t);
  const client = connect();
  await client.connect();
  const peer = await server.next();
  await assert.rejects(client.request("slow", null, { timeout: 30 }), { code: "DEADLINE_EXCEEDED", outcome: "unknown" });
  const asked = await peer.next();
  assert.deepEqual(await peer.next(), { cancel: asked.id });
  peer.send({ id: asked.id, ok: true, data: 1 }, { id: asked.id, progress: 1 }, { id: 999, ok: true }, { id: "text", ok: true });
  const next = client.request("quick");
  await peer.accept({ data: 2 });
  assert.equal(await next, 2);
  assert.deepEqual(errors, []);
});

test("what a browser says of network and page makes it try at once, or look whether it is connected", async (t) => {
  const { server, connect } = await setup(t);
  const { hint, listeners } = browser(t);
  const client = connect({ backoff: { initial: 60_000, max: 60_000 } });
  await client.connect();
  const peer = await server.next();
  hint("offline");
  await until(() => peer.all.some((frame) => frame.ping));
  for (const event of ["online", "visibilitychange", "pageshow"]) {
    (await currentPeer(server, peer, event)).cut();
    await until(() => client.state === "waiting");
    hint(event);
    await until(() => client.state === "ready");
  }
  client.close();
  assert.equal(listeners(), 0);

  async function currentPeer(server, first, event) {
    return event === "online" ? first : await server.next();
  }
});

test("frames that are strange are skipped, and do no harm", async (t) => {
  const { server, connect, errors } = await setup(t);
  const client = connect();
  const seen = [];
  client.on("room", 1, (data) => seen.push(data));
  const peer = await server.next();
  await peer.accept({ topic: "room:1", novel: true });
  peer.send(
    { event: "novelty", topic: "room:1" }, { event: "message" }, { event: "gap", topic: 5 }, { novel: 1 }, {},
    { event: "message", subscription: "room:1", topic: 7, data: "odd", timestamp: "never", id: 5, novel: {} },
    { event: "presence", topic: "room:1", members: [1, null, {}, { client: 5 }], count: "many" },
    { event: "state", state: "ready" }, { event: "message", subscription: "other", topic: "other", data: 1 },
    { event: "hello" }, { id: null, error: null }, { id: {}, ok: true },
    "[1]", "null", "{", "\"text\"",
  );
  peer.socket.send(Buffer.from([1, 2, 3]), { binary: true });
  peer.send(message("room:1", "plain"));
  await until(() => seen.length === 2);
  assert.deepEqual(seen, ["odd", "plain"]);
  assert.equal(errors.length, 4, "one for each of what is no frame");
  assert.equal(server.connections, 1);
});

test("two clients know nothing of each other", async (t) => {
  const { server, connect } = await setup(t);
  const seen = { a: [], b: [] };
  const [a, b] = [connect(), connect()];
  a.on("room", 1, (data) => seen.a.push(data));
  const first = await server.next();
  b.on("room", 1, (data) => seen.b.push(data));
  const second = await server.next();
  await first.accept({ topic: "room:1" });
  await second.accept({ topic: "room:1" });
  a.close();
  await first.closed;
  second.send(message("room:1", "for b"));
  await until(() => seen.b.length === 1);
  assert.deepEqual(seen, { a: [], b: ["for b"] });
});

test("close() ends everything: requests, subscriptions, and the process that waits for nothing else", async (t) => {
  const { server, connect } = await setup(t);
  const client = connect();
  const room = client.on("room", 1, () => assert.fail("closed"));
  const peer = await server.next();
  await peer.next();
  const request = assert.rejects(client.request("x"), { code: "UNAVAILABLE", outcome: "unknown" });
  await peer.next();
  const states = [];
  client.onState((state) => states.push(state));
  client.close();
  await request;
  await assert.rejects(room.ready, { code: "CANCELLED" });
  assert.ok(room.closed);
  assert.deepEqual(states, ["closed"]);
  assert.equal(await peer.closed, 1000);
  await assert.rejects(client.connect(), { code: "CANCELLED" });
  await assert.rejects(client.request("x"), { code: "CANCELLED", outcome: "not_applied" });
  assert.throws(() => client.on("room", 1, () => {}), { code: "CANCELLED" });
  client.close();

  // The server answers nothing: every timer there is, is running when it is closed.
  const script = `
    import { WebSocket } from "ws";
    import { QuorateClient } from ${JSON.stringify(new URL("../dist/client.js", import.meta.url))};
    const client = new QuorateClient(${JSON.stringify(server.url)}, { WebSocket });
    client.on("room", 1, () => {}, { recent: 5 });
    client.request("x").catch((error) => console.log(error.code));
    client.history("room", 1).catch((error) => console.log(error.code));
    await client.connect();
    client.close();`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], { cwd: new URL(".", import.meta.url) });
  let output = "";
  child.stdout.on("data", (data) => (output += data));
  child.stderr.on("data", (data) => (output += data));
  const [code] = await once(child, "exit");
  assert.equal(code, 0, output);
  assert.deepEqual(output.trim().split("\n").sort(), ["CANCELLED", "UNAVAILABLE"]);
});

test("close() while it connects leaves nothing behind", async (t) => {
  const { server, connect } = await setup(t, { hello: null });
  const client = connect();
  const ready = assert.rejects(client.connect(), { code: "CANCELLED" });
  client.close();
  await ready;
  const other = connect();
  other.connect();
  const peer = await server.next();
  other.close();
  peer.send(HELLO);
  await peer.closed;
  assert.equal(other.state, "closed");
});

test("an address that can never work is said so at once", () => {
  assert.throws(() => new QuorateClient("ftp://host/", { WebSocket }), { code: "INVALID_ARGUMENT" });
  assert.throws(() => new QuorateClient("/ws", { WebSocket }), { code: "INVALID_ARGUMENT" });
  for (const [given, expected] of [["http://host/ws", "ws://host/ws"], ["https://host/ws#x", "wss://host/ws"]]) {
    let address;
    const client = new QuorateClient(given, { WebSocket: class { constructor(url) { address = url; throw new Error("enough"); } } });
    assert.throws(() => client.on("room", 1, () => {}), /enough/);
    assert.equal(client.state, "stopped");
    assert.equal(address, expected);
  }
});

test("the platform's WebSocket is used where none is given", async (t) => {
  const { server } = await setup(t);
  const had = globalThis.WebSocket;
  globalThis.WebSocket = WebSocket;
  t.after(() => (had === undefined ? delete globalThis.WebSocket : (globalThis.WebSocket = had)));
  const client = new QuorateClient(server.url);
  t.after(() => client.close());
  await client.connect();
});

/** As much of a browser as the client looks at. */
function browser(t) {
  const target = new EventTarget();
  let count = 0;
  const scope = {
    addEventListener: (...args) => ((count += 1), target.addEventListener(...args)),
    removeEventListener: (...args) => ((count -= 1), target.removeEventListener(...args)),
  };
  Object.assign(globalThis, scope, { document: { ...scope, visibilityState: "visible" } });
  t.after(() => ["addEventListener", "removeEventListener", "document"].forEach((name) => delete globalThis[name]));
  return { hint: (type) => target.dispatchEvent(new Event(type)), listeners: () => count };
}
