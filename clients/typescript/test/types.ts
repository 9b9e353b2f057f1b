// What compiles and what does not: checked by `npm run check`, never run.

import { QuorateClient, QuorateError, type HistoryPage, type Published, type Roster } from "../dist/client.js";

interface Said { by: string; text: string }
interface Send { room: number; text: string }
interface Sent { id: string }
interface Step { done: number }
interface Events {
  room: { params: number; data: Said };
  news: { data: string };
  job: { params: { id: number }; data: Step };
}
interface Requests {
  "message.send": { data: Send; reply: Sent };
  import: { data: null; reply: number; progress: Step };
}

const typed = new QuorateClient<Events, Requests>("/ws", { token: async () => "t", backoff: { initial: 100 } });
typed.on("room", 42, (said, meta) => said.text + meta.position, { onGap: (gap) => gap.missed, recent: 5 });
typed.on("news", null, (text) => text.length);
typed.on("job", { id: 7 }, ({ done }) => done, { onPresence: (roster, { joined }) => [roster.count, joined[0]?.user] });
// @ts-expect-error: no such event
typed.on("rooom", 42, () => {});
// @ts-expect-error: other parameters
typed.on("room", "42", () => {});
// @ts-expect-error: other data
typed.on("room", 42, (said: Step) => said);
// @ts-expect-error: both are not possible in the type of the handler
typed.on<Said>("room", 42, (said) => said);

const sent: Promise<Sent> = typed.request("message.send", { room: 1, text: "hi" }, { timeout: 5, signal: new AbortController().signal });
const imported: Promise<number> = typed.request("import", null, { onProgress: (step) => step.done });
// @ts-expect-error: other data
typed.request("message.send", { room: "1", text: "hi" });
// @ts-expect-error: no such request
typed.request("message.sent", {});

const published: Promise<Published> = typed.publish("room", 42, { by: "ada", text: "hi" }, { echo: false });
// @ts-expect-error: a member is missing
typed.publish("room", 42, { text: "hi" });
const roster: Promise<Roster> = typed.presence("room", 42);
const page: Promise<HistoryPage<Said>> = typed.history("room", 42, { limit: 5 });

const untyped = new QuorateClient("wss://host/ws");
untyped.on<Said>("room", 42, (said) => said.text);
untyped.on("room", { any: ["thing"] }, (said: Said) => said.text);
// @ts-expect-error: nothing is known of it
untyped.on("room", 42, (said) => said.text);
const reply: Promise<string> = untyped.request<string>("x", { any: 1 });
const replied: Promise<Sent> = untyped.request<Sent, Step>("x", {}, { onProgress: (step) => step.done });
untyped.publish("room", 42, { any: 1 });
const pages: Promise<HistoryPage<Said>> = untyped.history<Said>("room", 42);

const end: () => void = untyped.onState((state, { reason, retryIn }) => {
  // @ts-expect-error: no such state
  if (state === "conected") return;
  return `${reason} ${retryIn?.toFixed()}`;
});

untyped.request("x").catch((error: unknown) => {
  if (error instanceof QuorateError && error.code === "UNAVAILABLE" && error.outcome === "unknown") return error.retryAfter;
  throw error;
});

export { end, imported, page, pages, published, replied, reply, roster, sent };
