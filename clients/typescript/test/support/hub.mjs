// The real hub, as a process of its own, behind a network that can break.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

const ROOT = new URL("../../../../", import.meta.url);

let program;

/** The program, built if nobody says where it is. */
async function build() {
  if (process.env.QUORATE_HUB) return process.env.QUORATE_HUB;
  const args = ["build", "-p", "quorate-http", "--all-features", "--example", "hub", "--message-format=json"];
  const { stdout } = await promisify(execFile)("cargo", args, { cwd: ROOT, maxBuffer: 2 ** 28 });
  const messages = stdout.split("\n").filter(Boolean).map((line) => JSON.parse(line));
  return messages.find((message) => message.target?.name === "hub" && message.executable).executable;
}

export class Hub {
  static async start(address = "127.0.0.1:0") {
    program ??= build();
    const hub = new Hub();
    // It ends with its standard input, and so with this process in whatever way.
    hub.process = spawn(await program, [address], { stdio: ["pipe", "pipe", "inherit"] });
    hub.exited = once(hub.process, "exit");
    const [line] = await Promise.race([once(createInterface(hub.process.stdout), "line"), hub.exited]);
    if (typeof line !== "string") throw new Error(`the hub ended with ${line} before it listened`);
    hub.address = line;
    hub.url = `ws://${line}/live/ws`;
    return hub;
  }

  async post(path, body = null) {
    const headers = { "content-type": "application/json" };
    const answer = await fetch(`http://${this.address}${path}`, { method: "POST", headers, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer;
  }

  publish(topic, data) {
    return this.post(`/publish/${encodeURIComponent(topic)}`, data);
  }

  /** As a crash ends it. */
  async kill() {
    this.process.kill("SIGKILL");
    await this.exited;
  }
}

/** A TCP proxy: the network between clients and hub. */
export class Network {
  #pairs = new Set();

  static async to(address) {
    const network = new Network();
    network.target = address;
    network.open = true;
    network.server = createServer((near) => {
      if (!network.open) return near.destroy();
      const [host, port] = network.target.split(":");
      const pair = { near, far: connect(Number(port), host), frozen: false };
      network.#pairs.add(pair);
      const over = () => {
        network.#pairs.delete(pair);
        pair.near.destroy();
        pair.far.destroy();
      };
      for (const socket of [pair.near, pair.far]) socket.on("error", over).on("close", over);
      pair.near.on("data", (data) => pair.frozen || pair.far.write(data));
      pair.far.on("data", (data) => pair.frozen || pair.near.write(data));
    });
    network.server.listen(0, "127.0.0.1");
    await once(network.server, "listening");
    network.url = `ws://127.0.0.1:${network.server.address().port}/live/ws`;
    return network;
  }

  /** Breaks all connections, and lets new ones through or not. */
  cut({ open = true } = {}) {
    this.open = open;
    for (const { near, far } of this.#pairs) {
      near.destroy();
      far.destroy();
    }
  }

  /** From here on nothing passes over the present connections, and nobody is told. */
  freeze() {
    for (const pair of this.#pairs) pair.frozen = true;
  }

  heal() {
    this.open = true;
  }

  async stop() {
    this.cut({ open: false });
    await new Promise((resolve) => this.server.close(resolve));
  }
}
