// Random networks: whatever happens, every kept message arrives exactly once and in order, or a gap says so.

import assert from "node:assert/strict";
import { test } from "node:test";
import { WebSocket } from "ws";
import { QuorateClient } from "../dist/client.js";
import { ModelHub } from "./support/model.mjs";
import { until } from "./support/server.mjs";
import { QUICK } from "./support/setup.mjs";

/** A handler's record: offsets as they came, and where gaps led to. */
class Witness {
  events = [];
  start;
  options(start) {
    this.start = start;
    return { ...start, onGap: (gap) => this.events.push({ gap: gap.position }) };
  }
  get handler() {
    return (offset) => this.events.push(offset);
  }
  /** Throws unless it saw what it had to. */
  check(seed) {
    let last = this.start.after === undefined ? undefined : Number(this.start.after.split("-")[1]);
    for (const event of this.events) {
      if (typeof event === "number") {
        if (last !== undefined) assert.equal(event, last + 1, `seed ${seed}: ${JSON.stringify(this)}`);
        last = event;
      } else {
        last = Number(event.gap.split("-")[1]);
      }
    }
    return last;
  }
}

for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
  test(`nothing is lost, doubled or out of order (${seed})`, async (t) => {
    let state = seed * 7_919;
    const random = (below) => (state = (state * 1_103_515_245 + 12_345) % 2 ** 31) % below;
    // Sometimes so little is kept that there must be gaps.
    const hub = await ModelHub.start(seed % 2 === 0 ? 5 : 1_000);
    const errors = [];
    const client = new QuorateClient(hub.server.url, { WebSocket, backoff: QUICK, onError: (error) => errors.push(error) });
    t.after(() => {
      client.close();
      return hub.server.stop();
    });
    for (let n = 0; n < 4; n += 1) hub.publish();
    const witnesses = [];
    const open = [];
    for (let step = 0; step < 400; step += 1) {
      const what = random(20);
      if (what < 9) hub.publish();
      else if (what === 9) hub.cut();
      else if (what < 13 && open.length < 6) {
        const witness = new Witness();
        const start = [{}, { recent: random(4) + 1 }, { after: `65a0f-${Math.max(0, hub.count - random(8))}-0badcafe` }][random(3)];
        const subscription = client.on("room", 1, witness.handler, witness.options(start));
        witnesses.push(witness);
        open.push({ witness, subscription });
      } else if (what === 13 && open.length > 0) open.splice(random(open.length), 1)[0].subscription.close();
      else await new Promise((resolve) => (random(2) === 0 ? setImmediate(resolve) : setTimeout(resolve, random(8))));
    }
    if (open.length === 0) {
      const witness = new Witness();
      open.push({ witness, subscription: client.on("room", 1, witness.handler, witness.options({})) });
    }
    await Promise.all(open.map(({ subscription }) => subscription.ready));
    // Everybody who still listens gets something, and comes to the end of it.
    await until(() => {
      hub.publish();
      return open.every(({ witness }) => witness.check(seed) !== undefined);
    });
    await until(() => open.every(({ witness }) => witness.check(seed) === hub.count));
    for (const witness of witnesses) witness.check(seed);
    assert.deepEqual(errors, []);
  });
}
