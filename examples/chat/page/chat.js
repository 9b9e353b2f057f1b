// The chat's page. All that concerns the network is the client's: coming back, going on where it was,
// waiting requests. Here is only what people see. Whatever others wrote is shown as text, never as markup.

import { QuorateClient } from "/live/client.js";

const MAX_TEXT = 2000;
const SHOWN = 500; // messages that stay on the page, of each room
const TOGETHER = 5 * 60_000; // messages of one person within this time stand together
const TYPING = 4_000; // somebody who is writing says so more often than this
const NEVER = 24 * 3_600_000; // for messages that wait until there is a connection

const $ = (id) => document.getElementById(id);
const views = new Map(); // of each room that was visited, by name
const outbox = []; // messages that are not sent yet, of all rooms
let me, client, view;

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

/** The same colour for the same name, everywhere. */
function avatar(name) {
  const circle = make("span", "avatar", [...name.trim()][0]?.toUpperCase() ?? "?");
  circle.ariaHidden = "true";
  circle.style.setProperty("--hue", [...name].reduce((sum, c) => (sum * 31 + c.codePointAt(0)) % 360, 7));
  return circle;
}

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat([], { weekday: "long", day: "numeric", month: "long" });

// --- Coming in ------------------------------------------------------------------------------------

async function login(name) {
  const body = JSON.stringify({ name });
  const response = await fetch("/login", { method: "POST", headers: { "content-type": "application/json" }, body });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.detail ?? response.statusText);
  return answer;
}

$("join").addEventListener("submit", (event) => {
  event.preventDefault();
  void join($("name").value);
});

async function join(name) {
  $("join-error").textContent = "";
  let welcome;
  try {
    welcome = await login(name);
  } catch (error) {
    $("join-error").textContent = `${error.message}.`;
    $("door").hidden = false;
    return $("name").focus();
  }
  me = welcome.user;
  sessionStorage.setItem("name", me); // of this tab: a reload stays in
  let token = welcome.token;
  client = new QuorateClient("/live/ws", {
    // The first one is here already; later ones are fetched when they are needed.
    token: async () => {
      const given = token ?? (await login(me)).token;
      token = undefined;
      return given;
    },
    onError: (error) => console.warn("chat:", error),
  });
  client.onState(showState);
  $("me").replaceChildren(avatar(me), make("span", "name", me));
  $("rooms").replaceChildren(...welcome.rooms.map(roomButton));
  $("door").hidden = true;
  $("house").hidden = false;
  const wanted = decodeURIComponent(location.hash.slice(1));
  enter(welcome.rooms.includes(wanted) ? wanted : welcome.rooms[0]);
}

$("leave").addEventListener("click", () => {
  sessionStorage.removeItem("name");
  outbox.length = 0;
  client.close();
  location.reload();
});

$("theme").addEventListener("click", () => {
  const dark = getComputedStyle($("theme")).colorScheme === "dark"
    || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "light" : "dark";
});

// --- Rooms ----------------------------------------------------------------------------------------

function roomButton(name) {
  const item = make("li");
  const button = make("button", "room", name);
  button.dataset.room = name;
  button.addEventListener("click", () => enter(name));
  item.append(button);
  return item;
}

function enter(name) {
  if (view?.name === name) return $("text").focus();
  if (view) {
    // To go on from here, when somebody comes back to this room.
    view.position = view.subscriptions[0].position ?? view.position;
    view.subscriptions.forEach((subscription) => subscription.close());
    view.away = true;
  }
  view = views.get(name) ?? newView(name);
  views.set(name, view);
  location.hash = name;
  for (const button of document.querySelectorAll("button.room")) {
    if (button.dataset.room === name) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  $("room-name").textContent = name;
  $("messages").replaceWith(view.list);
  $("pending").replaceWith(view.pending);
  $("text").focus();
  showTitle("");
  showTyping();
  $("there").hidden = true;
  view.met = false;
  subscribe(view);
  toBottom();
}

function newView(name) {
  const list = $("messages").cloneNode();
  const pending = $("pending").cloneNode();
  // `seen`: what is on the page. A message that was sent twice, because nobody knew, is shown once.
  return { name, list, pending, seen: new Set(), typing: new Map(), subscriptions: [], position: undefined, away: false };
}

function subscribe(view) {
  const from = view.position === undefined ? { recent: 100 } : { after: view.position };
  view.subscriptions = [
    client.on("room", view.name, (said, meta) => received(view, said, meta), {
      ...from,
      onGap: () => divider(view, "Older messages are not available", "gap"),
      onPresence: showPeople,
    }),
    client.on("title", view.name, ({ title }) => showTitle(title), { recent: 1, onGap() {} }),
    client.on("typing", view.name, ({ typing }, { source }) => {
      typingOf(view, source, typing);
    }, { onGap() {} }),
  ];
  // Refusals go to the client's `onError`.
  const ready = () => ($("scroller").dataset.ready = view.name);
  view.subscriptions[0].ready.then(ready, () => {});
}

addEventListener("hashchange", () => {
  const name = decodeURIComponent(location.hash.slice(1));
  if (view && document.querySelector(`button.room[data-room="${CSS.escape(name)}"]`)) enter(name);
});

function showTitle(title) {
  $("title").textContent = title || "No topic yet";
  $("title").classList.toggle("none", title === "");
}

$("title").addEventListener("click", () => {
  const title = $("title").classList.contains("none") ? "" : $("title").textContent;
  $("text").value = `/title ${title}`;
  $("text").focus();
  grow();
});

// --- Messages -------------------------------------------------------------------------------------

function received(view, said, { source, timestamp }) {
  typingOf(view, source, false);
  const key = `${said.id} ${source}`;
  if (view.seen.has(key)) return;
  view.seen.add(key);
  if (source === me) for (const item of [...view.pending.children]) if (item.dataset.id === said.id) item.remove();
  const stay = isAtBottom();
  const at = timestamp ?? new Date();
  const last = view.list.lastElementChild;
  if (at.toDateString() !== view.day) divider(view, calendar.format(at), "day");
  view.day = at.toDateString();
  if (view.away && source !== me) divider(view, "New since you were away", "new");
  view.away = false;
  const item = bubble(source, said.text, at);
  const together = last === view.list.lastElementChild && last?.dataset.by === source && at - last.at < TOGETHER;
  item.classList.toggle("together", together);
  view.list.append(item);
  while (view.list.children.length > SHOWN) view.list.firstElementChild.remove();
  if (source !== me) notice();
  if (stay || source === me) toBottom();
}

function bubble(by, text, at) {
  const item = make("li", by === me ? "message own" : "message");
  item.dataset.by = by;
  item.at = at;
  const time = make("time", "", clock.format(at));
  time.dateTime = at.toISOString();
  time.title = at.toLocaleString();
  const head = make("div", "head");
  head.append(make("span", "name", by), time);
  const body = make("div", "body");
  body.append(head, make("p", "text", text));
  item.append(avatar(by), body);
  return item;
}

function divider(view, text, kind) {
  const last = view.list.lastElementChild;
  if (last?.className === `divider ${kind}`) last.remove();
  view.list.append(make("li", `divider ${kind}`, text));
}

// --- What is new, and where the reader is ----------------------------------------------------------

let unread = 0;
let below = 0;

const isAtBottom = () => $("scroller").scrollHeight - $("scroller").scrollTop - $("scroller").clientHeight < 60;

function toBottom() {
  $("scroller").scrollTop = $("scroller").scrollHeight;
  below = 0;
  $("below").hidden = true;
}

function notice() {
  if (document.hidden) unread += 1;
  document.title = unread > 0 ? `(${unread}) ${view.name} · Chat` : `${view.name} · Chat`;
  if (isAtBottom()) return;
  below += 1;
  $("below").textContent = below === 1 ? "1 new message" : `${below} new messages`;
  $("below").hidden = false;
}

$("below").addEventListener("click", toBottom);
$("scroller").addEventListener("scroll", () => isAtBottom() && toBottom(), { passive: true });
addEventListener("resize", () => view && below === 0 && toBottom());
document.addEventListener("visibilitychange", () => {
  if (document.hidden || !view) return;
  unread = 0;
  document.title = `${view.name} · Chat`;
});

// --- Sending --------------------------------------------------------------------------------------

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  $("said-wrong").textContent = "";
  if (text === "") return;
  if (text === "/report") report();
  else if (text.startsWith("/title")) return setTitle(text.slice(6).trim());
  else if ([...text].length > MAX_TEXT) return wrong(`A message has at most ${MAX_TEXT} characters`);
  else send(text);
  $("text").value = "";
  grow();
});

function wrong(text) {
  $("said-wrong").textContent = `${text}.`;
  $("text").focus();
}

async function setTitle(title) {
  try {
    await client.request("title.set", { room: view.name, title });
    $("text").value = "";
    grow();
  } catch (error) {
    wrong(error.message);
  }
}

const newId = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("-");

function send(text) {
  const message = { room: view.name, id: newId(), text };
  message.item = bubble(me, text, new Date());
  message.item.dataset.id = message.id;
  message.item.classList.add("waits");
  view.pending.append(message.item);
  toBottom();
  post(message);
}

function post(message) {
  outbox.push(message);
  showState();
  void flush();
}

let flushing = false;

/** One after the other, so that they arrive in the order in which they were written. */
async function flush() {
  if (flushing) return;
  flushing = true;
  while (outbox.length > 0) {
    const message = outbox[0];
    const { room, id, text } = message;
    try {
      // Without a connection it waits in the client's queue.
      await client.request("message.send", { room, id, text }, { timeout: NEVER });
    } catch (error) {
      // What may have been sent, or can be sent later, is sent again; the id tells that it is the same.
      if (error.retryable || error.outcome === "unknown") {
        await new Promise((resolve) => setTimeout(resolve, error.retryAfter ?? 500));
        continue;
      }
      failed(message, error);
    }
    outbox.shift();
    showState();
  }
  flushing = false;
}

function failed(message, error) {
  const { item } = message;
  const again = make("button", "quiet", "Try again");
  const remove = make("button", "quiet", "Remove");
  const why = make("p", "error", `Not sent: ${error.message}. `);
  why.role = "alert";
  why.append(again, remove);
  again.addEventListener("click", () => (why.remove(), post(message)));
  remove.addEventListener("click", () => item.remove());
  item.querySelector(".body").append(why);
}

addEventListener("beforeunload", (event) => outbox.length > 0 && event.preventDefault());

$("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("composer").requestSubmit();
});
$("text").addEventListener("input", () => (grow(), iAmTyping()));

function grow() {
  const text = $("text");
  text.style.height = "auto";
  text.style.height = `${Math.min(text.scrollHeight + 2, 160)}px`; // and the border
  const left = MAX_TEXT - [...text.value.trim()].length;
  $("length").textContent = left < 200 ? String(left) : "";
  $("length").classList.toggle("over", left < 0);
}

// --- Who is writing -------------------------------------------------------------------------------

let saidTyping = 0;

function iAmTyping() {
  const typing = $("text").value !== "" && !$("text").value.startsWith("/");
  // Not worth waiting for a connection.
  if (client.state !== "ready" || Date.now() - saidTyping < TYPING / 2 || !typing) return;
  saidTyping = Date.now();
  client.request("typing.set", { room: view.name, typing }, { timeout: TYPING }).catch(() => {});
}

function typingOf(view, name, typing) {
  clearTimeout(view.typing.get(name));
  view.typing.delete(name);
  if (typing) view.typing.set(name, setTimeout(() => typingOf(view, name, false), TYPING));
  showTyping();
}

function showTyping() {
  const names = [...view.typing.keys()];
  const who = names.length > 3 ? "Several people" : new Intl.ListFormat("en").format(names);
  $("typing").textContent = names.length === 0 ? "" : `${who} ${names.length === 1 ? "is" : "are"} writing…`;
}

// --- Who is here ----------------------------------------------------------------------------------

function showPeople({ count, members }, { joined, left }) {
  // A person may have several windows, and is one person.
  const people = members && [...new Set(members.map((member) => member.user))].sort((a, b) => a.localeCompare(b));
  $("there").hidden = count === 0;
  $("count").textContent = String(people?.length ?? count);
  $("people").replaceChildren(...(people ?? []).map((name) => {
    const item = make("li");
    item.dataset.name = name;
    item.append(avatar(name), make("span", "name", name === me ? `${name} (you)` : name));
    return item;
  }));
  const names = (some) => [...new Set(some.map((member) => member.user))].filter((name) => name !== me);
  const came = names(joined).map((name) => `${name} joined`);
  const went = names(left).filter((name) => !people?.includes(name)).map((name) => `${name} left`);
  for (const name of names(left)) if (!people?.includes(name)) typingOf(view, name, false);
  // At first everybody is new; that says nothing.
  $("came").textContent = view.met ? [...came, ...went].join(", ") : "";
  view.met = true;
}

// --- The connection -------------------------------------------------------------------------------

let detail = {};
let retryAt;
let everReady = false;
let ticking;

function showState(state = client.state, given) {
  if (given !== undefined) {
    detail = given;
    retryAt = given.retryIn === undefined ? undefined : Date.now() + given.retryIn;
  }
  if (state === "ready") everReady = true;
  else if (everReady && view) view.away = true;
  const says = { ready: "Connected", stopped: "Sent away", closed: "Closed" };
  $("state").dataset.state = state;
  $("state").textContent = says[state] ?? (everReady ? "Reconnecting" : "Connecting");
  $("state").title = detail.reason ?? ""; // which instance, or what broke
  const offline = state !== "ready" && (everReady || state !== "connecting");
  $("banner").hidden = !offline;
  $("house").classList.toggle("offline", offline);
  $("again").disabled = state === "connecting";
  clearInterval(ticking);
  if (!offline) return;
  $("banner-what").textContent = state === "stopped" ? "The server has sent this page away." : "You are offline.";
  const waiting = outbox.length === 0 ? "" : ` ${outbox.length} ${outbox.length === 1 ? "message waits" : "messages wait"}.`;
  const tick = () => {
    const seconds = retryAt === undefined ? 0 : Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
    const next = state === "waiting" && seconds > 0 ? ` Trying again in ${seconds} s.` : " Trying again…";
    $("banner-more").textContent = state === "stopped"
      ? `${detail.reason}.`
      : `What you write is sent when the connection is back.${waiting}${next}`;
  };
  tick();
  ticking = setInterval(tick, 1000);
}

$("again").addEventListener("click", () => client.connect().catch(() => {}));

// --- The report -----------------------------------------------------------------------------------

let reporting;

async function report() {
  reporting?.abort();
  const mine = (reporting = new AbortController());
  const { signal } = mine;
  const [text, progress, people] = [$("report-text"), $("report-progress"), $("report-people")];
  $("report-heading").textContent = `Report on ${view.name}`;
  text.textContent = "Reading…";
  people.replaceChildren();
  progress.hidden = $("report-cancel").disabled = false;
  $("report-dialog").showModal();
  const onProgress = ({ read }) => (text.textContent = `${read} messages read…`);
  try {
    const made = await client.request("report", { room: view.name }, { onProgress, signal, timeout: 120_000 });
    text.textContent = `${made.messages} messages, ${made.words} words.`;
    people.replaceChildren(...made.people.map((person) => {
      const item = make("li");
      item.append(avatar(person.name), make("span", "name", person.name), make("span", "number", String(person.messages)));
      return item;
    }));
  } catch (error) {
    if (reporting !== mine) return; // another one has begun
    text.textContent = error.code === "CANCELLED" ? "Cancelled." : `It could not be made: ${error.message}.`;
  }
  progress.hidden = $("report-cancel").disabled = true;
}

$("report").addEventListener("click", report);
$("report-cancel").addEventListener("click", () => reporting?.abort());
$("report-close").addEventListener("click", () => $("report-dialog").close());
$("report-dialog").addEventListener("close", () => reporting?.abort());

const known = sessionStorage.getItem("name");
if (known !== null) {
  $("door").hidden = true; // already inside
  void join(known);
}
