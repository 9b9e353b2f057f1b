// A server, clients of it, and their end with the test.

import { WebSocket } from "ws";
import { QuorateClient } from "../../dist/client.js";
import { Server } from "./server.mjs";

/** Waits that tests can afford. */
export const QUICK = { initial: 4, factor: 1.5, max: 20 };

export async function setup(t, options = {}) {
  const server = await Server.start(options);
  const errors = [];
  const clients = [];
  const connect = (more = {}) => {
    const client = new QuorateClient(server.url, { WebSocket, backoff: QUICK, onError: (error) => errors.push(error), ...more });
    clients.push(client);
    return client;
  };
  t.after(async () => {
    for (const client of clients) client.close();
    await server.stop();
  });
  return { server, connect, errors };
}

/** A message event. */
export function message(topic, data, more = {}) {
  return { event: "message", subscription: topic, topic, type: topic.split(":")[0], data, ...more };
}

/** The position with this offset. */
export const at = (offset, epoch = "65a0f") => `${epoch}-${offset}-0badcafe`;
