// Saying who one is.

import assert from "node:assert/strict";
import { test } from "node:test";
import { HELLO, until } from "./support/server.mjs";
import { setup } from "./support/setup.mjs";

const ASKS = { ...HELLO, client: undefined, authentication: "required" };

test("the token is the first frame, and everything else waits for its answer", async (t) => {
  const { server, connect } = await setup(t, { hello: ASKS });
  const reasons = [];
  const client = connect({ token: async (reason) => (reasons.push(reason), "secret") });
  const request = client.request("x");
  client.on("room", 1, () => {});
  const peer = await server.next();
  const first = await peer.next();
  assert.deepEqual(first, { id: first.id, authenticate: "secret" });
  assert.deepEqual([client.state, peer.unread], ["connecting", 0]);
  peer.send({ id: first.id, ok: true, client: "c-7", user: "ada" });
  assert.equal((await peer.accept({ topic: "room:1" })).subscribe, "room");
  await peer.accept({ data: 1 });
  await request;
  assert.equal(client.id, "c-7");
  assert.deepEqual(reasons, ["connecting"]);
  assert.ok(!server.url.includes("secret") && !peer.url.includes("secret"));
});

test("a server that knows the client already, or does not want to, is told no secret", async (t) => {
  for (const authentication of ["none", "done"]) {
    const { server, connect } = await setup(t, { hello: { ...HELLO, authentication } });
    const client = connect({ token: () => assert.fail("not asked for") });
    await client.connect();
    assert.equal((await server.next()).all.length, 0);
  }
});

test("a token that cannot be had is asked for again after a while", async (t) => {
  const { server, connect, errors } = await setup(t, { hello: ASKS });
  let asked = 0;
  const token = () => {
    asked += 1;
    if (asked === 1) throw new Error("no network");
    if (asked === 2) return Promise.reject(new Error("503"));
    return "secret";
  };
  const client = connect({ token });
  const ready = client.connect();
  for (let n = 0; n < 2; n += 1) assert.ok([1005, 1006, 4000].includes(await (await server.next()).closed));
  await (await server.next()).accept({ client: "c-1" });
  await ready;
  assert.deepEqual(errors.map((error) => [error.code, error.cause.message]), [["UNAUTHENTICATED", "no network"], ["UNAUTHENTICATED", "503"]]);
});

test("a refused token is replaced, also where the refusal is the close code 4401", async (t) => {
  const { server, connect, errors } = await setup(t, { hello: ASKS });
  const reasons = [];
  const client = connect({ token: (reason) => (reasons.push(reason), `t${reasons.length}`) });
  const ready = client.connect();
  const first = await server.next();
  const frame = await first.next();
  first.send({ id: frame.id, error: { code: "UNAUTHENTICATED", message: "too old", retryable: false } });
  const second = await server.next();
  assert.equal((await second.accept({ client: "c-2" })).authenticate, "t2");
  await ready;
  second.send({ event: "closing", reason: "expired" });
  second.close(4401, "expired");
  await (await server.next()).accept({ client: "c-3" });
  await until(() => client.state === "ready");
  assert.deepEqual(reasons, ["connecting", "refused", "refused"]);
  assert.deepEqual(errors.map((error) => error.message), ["too old"]);
  for (const error of errors) assert.ok(!String(error.stack).includes("t1\""));
});

test("a token is renewed before it expires, over the same connection", async (t) => {
  const { server, connect } = await setup(t, { hello: ASKS });
  const reasons = [];
  const client = connect({ token: (reason) => (reasons.push(reason), `t${reasons.length}`) });
  client.connect();
  const peer = await server.next();
  await peer.accept({ client: "c-1", user: "ada", expires_in_ms: 20 });
  assert.equal((await peer.accept({ client: "c-1", user: "ada", expires_in_ms: 2 ** 40 })).authenticate, "t2");
  const request = client.request("x");
  await peer.accept({ data: 1 });
  await request;
  assert.deepEqual(reasons, ["connecting", "expiring"]);
  assert.equal(server.connections, 1);
});

test("a renewal that fails is tried again while the old token lasts", async (t) => {
  const { server, connect, errors } = await setup(t, { hello: ASKS });
  let asked = 0;
  const token = () => {
    asked += 1;
    if (asked === 2 || asked === 3) throw new Error("no network");
    return `t${asked}`;
  };
  const client = connect({ token });
  client.connect();
  const peer = await server.next();
  await peer.accept({ client: "c-1", expires_in_ms: 10 });
  assert.equal((await peer.accept({ client: "c-1" })).authenticate, "t4");
  assert.equal(errors.length, 2);
  assert.equal(server.connections, 1);
});

test("where there is no token to give, or the user is not let in, it stops and says why", async (t) => {
  const { server, connect } = await setup(t, { hello: ASKS });
  const without = connect();
  const request = assert.rejects(without.request("x"), { code: "UNAUTHENTICATED", outcome: "not_applied" });
  await assert.rejects(without.connect(), { code: "UNAUTHENTICATED" });
  await request;
  assert.equal(without.state, "stopped");
  await server.next();

  const denied = connect({ token: () => "secret" });
  const ready = assert.rejects(denied.connect(), { code: "PERMISSION_DENIED" });
  const peer = await server.next();
  const frame = await peer.next();
  peer.send({ id: frame.id, error: { code: "PERMISSION_DENIED", message: "banned", retryable: false } });
  await ready;
  assert.equal(denied.state, "stopped");

  server.hello = HELLO;
  const cookie = connect();
  await cookie.connect();
  (await server.next()).close(4401, "expired");
  await until(() => cookie.state === "stopped");
  assert.equal(server.connections, 3);
});

test("a token that comes when its connection is gone is not used", async (t) => {
  const { server, connect } = await setup(t, { hello: ASKS });
  const given = [];
  const client = connect({ token: () => new Promise((resolve) => given.push(resolve)) });
  const ready = client.connect();
  const first = await server.next();
  await until(() => given.length === 1);
  first.cut();
  const second = await server.next();
  await until(() => given.length === 2);
  given[0]("old");
  given[1]("new");
  assert.equal((await second.accept({ client: "c-1" })).authenticate, "new");
  await ready;
  assert.equal(second.all.length, 1);
});
