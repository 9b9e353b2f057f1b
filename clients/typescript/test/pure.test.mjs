// What depends on nothing but its arguments.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { WebSocket } from "ws";
import { canonicalJson, QuorateClient, QuorateError, topicName } from "../dist/client.js";
import { until } from "./support/server.mjs";

const vectors = JSON.parse(readFileSync(new URL("canonical.json", import.meta.url), "utf8"));

test("canonical JSON is the text that the server makes", () => {
  // The server's own tests read the same file.
  for (const [given, expected] of vectors) assert.equal(canonicalJson(JSON.parse(given)), expected);
});

test("canonical JSON is the same however a value was made, and makes the same value again", () => {
  let seed = 42;
  const random = (below) => (seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31) % below;
  const value = (depth) => {
    const kind = random(depth > 3 ? 4 : 6);
    if (kind === 0) return random(2) === 0;
    if (kind === 1) return (random(2_000_000) - 1_000_000) / 10 ** random(12);
    if (kind === 2) return String.fromCodePoint(random(0xd000) + 1, 0x1f600 + random(20));
    if (kind === 3) return null;
    if (kind === 4) return Array.from({ length: random(4) }, () => value(depth + 1));
    return Object.fromEntries(Array.from({ length: random(5) }, () => [`${random(30)}`, value(depth + 1)]));
  };
  const shuffled = (given) => {
    if (Array.isArray(given)) return given.map(shuffled);
    if (typeof given !== "object" || given === null) return given;
    return Object.fromEntries(Object.entries(given).reverse().map(([name, member]) => [name, shuffled(member)]));
  };
  for (let n = 0; n < 500; n += 1) {
    const one = value(0);
    const text = canonicalJson(one);
    assert.equal(canonicalJson(shuffled(one)), text);
    assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(one)));
    assert.equal(canonicalJson(JSON.parse(text)), text);
  }
});

test("a topic's name is the event and its key", () => {
  assert.equal(topicName("room"), "room");
  assert.equal(topicName("room", null), "room");
  assert.equal(topicName("room", 42), "room:42");
  assert.equal(topicName("room", "42"), "room:42");
  assert.equal(topicName("room", { id: 7, at: undefined, on: new Date(0) }), 'room:{"id":7,"on":"1970-01-01T00:00:00.000Z"}');
});

test("waits grow to their limit, and are spread over the upper half", async () => {
  const waits = [];
  class Refused {
    readyState = 3;
    constructor() {
      queueMicrotask(() => this.onclose?.({ code: 1006, reason: "" }));
    }
    send() {}
    close() {}
  }
  const had = Math.random;
  for (const [drawn, expected] of [[0, [1, 2, 4, 5, 5, 5]], [1, [2, 4, 8, 10, 10, 10]]]) {
    Math.random = () => drawn;
    try {
      const client = new QuorateClient("ws://host/", { WebSocket: Refused, backoff: { initial: 2, factor: 2, max: 10 } });
      client.onState((state, { retryIn }) => state === "waiting" && waits.push(retryIn));
      client.connect();
      await until(() => waits.length >= 6);
      client.close();
      assert.deepEqual(waits.splice(0).slice(0, 6), expected);
    } finally {
      Math.random = had;
    }
  }
  const first = await new Promise((resolve) => {
    const client = new QuorateClient("ws://host/", { WebSocket: Refused });
    client.onState((state, { retryIn }) => state === "waiting" && (resolve(retryIn), client.close()));
    client.connect();
  });
  assert.ok(first >= 150 && first <= 300, `${first}`);
});

test("an error is what it says", () => {
  const error = new QuorateError("UNAVAILABLE", "gone");
  assert.ok(error instanceof Error && error.retryable && error.outcome === "unknown");
  assert.equal(String(error), "QuorateError: gone");
  assert.equal(new QuorateError("NOT_FOUND", "no").retryable, false);
  assert.equal(new QuorateError("NOT_FOUND", "no").outcome, "not_applied");
});

test("the module can be imported where there is nothing of a browser", () => {
  assert.equal(new QuorateClient("wss://host/ws", { WebSocket }).state, "idle");
});
