// Listens to the instance that serves this page, and shows what it hears.

import { WorldMap, colour } from "./map.js";

const LIST = 60;
const LOSSES = 4;
const $ = (id) => document.getElementById(id);
const map = new WorldMap($("ground"), $("live"));
const time = new Intl.DateTimeFormat("en-GB", {
  weekday: "short", day: "numeric", month: "long", year: "numeric", hour: "2-digit", minute: "2-digit", timeZone: "UTC",
});
const short = new Intl.DateTimeFormat("en-GB", { weekday: "short", hour: "2-digit", minute: "2-digit", timeZone: "UTC" });

let seen;
function reset() {
  seen = { received: 0, missing: 0, gaps: 0, last: 0, strongest: -Infinity };
  $("losses").replaceChildren();
  for (const tick of document.querySelectorAll("#week i")) tick.remove();
  map.clear();
}

const arrivals = []; // of the last seconds, for the rate
const delays = []; // of the last hundred

function hear(frame) {
  const { data: quake, timestamp } = frame;
  if (quake.number <= seen.last) {
    reset();
    note("the week begins anew");
  }
  // Whoever opens the page in the middle of the week is not missing what was before.
  if (seen.last > 0 && quake.number > seen.last + 1) {
    const missing = quake.number - seen.last - 1;
    seen.missing += missing;
    warn(`${short.format(quake.time)}: ${missing} missing, by their numbers`);
    const tick = document.createElement("i");
    tick.style.left = `${(100 * seen.last) / quake.of}%`;
    tick.style.width = `${(100 * missing) / quake.of}%`;
    $("week").append(tick);
  }
  seen.last = quake.number;
  seen.received += 1;
  seen.strongest = Math.max(seen.strongest, quake.mag);
  const now = Date.now();
  arrivals.push(now);
  // The clocks of two machines may differ by more than the delay.
  delays.push(Math.max(0, now - Date.parse(timestamp)));
  if (delays.length > 100) delays.shift();
  map.add(quake);
  list(quake);
  $("time").textContent = `${time.format(quake.time)} UTC`;
  $("progress").value = quake.number / quake.of;
  $("of").textContent = ` of ${quake.of}`;
}

function gap({ reason, missed }) {
  seen.gaps += 1;
  const reasons = {
    lost: "lost on the way",
    reconnected: "the connection to the server was interrupted",
    buffer_full: "this page was too slow",
  };
  const number = missed === null ? "" : ` of ${missed}`;
  warn(`gap${number}: ${reasons[reason] ?? reason}`);
}

function row(kind) {
  const item = document.createElement("li");
  if (kind) item.className = kind;
  $("latest").prepend(item);
  while ($("latest").children.length > LIST) $("latest").lastElementChild.remove();
  return item;
}

function list(quake) {
  const item = row(quake.mag >= 4.5 ? "strong" : "");
  item.style.setProperty("--depth", colour(quake.depth));
  item.title = `${quake.place}: magnitude ${quake.mag}, ${quake.depth} km deep`;
  for (const [name, text] of [["mag", quake.mag.toFixed(1)], ["place", quake.place], ["when", short.format(quake.time)]]) {
    const part = document.createElement("span");
    part.className = name;
    part.textContent = text;
    item.append(part);
  }
}

// Not among the latest, where it would be gone in a moment.
function warn(text) {
  const item = document.createElement("li");
  item.textContent = text;
  $("losses").prepend(item);
  while ($("losses").children.length > LOSSES) $("losses").lastElementChild.remove();
}

function note(text) {
  row("note").textContent = text;
}

function state(name, text) {
  $("state").dataset.state = name;
  $("state").textContent = text;
}

function count() {
  const now = Date.now();
  while (arrivals.length > 0 && arrivals[0] < now - 3000) arrivals.shift();
  $("received").textContent = seen.received;
  $("rate").textContent = (arrivals.length / 3).toFixed(1);
  $("missing").textContent = seen.missing;
  $("gaps").textContent = seen.gaps;
  $("missing-box").classList.toggle("told", seen.missing > 0);
  $("gaps-box").classList.toggle("told", seen.gaps > 0);
  if (seen.strongest > -Infinity) $("strongest").textContent = seen.strongest.toFixed(1);
  if (delays.length > 0) $("delay").textContent = `${[...delays].sort((a, b) => a - b)[delays.length >> 1]} ms`;
}

reset();
setInterval(count, 250);

const source = new EventSource("live/sse?topic=earthquakes");
source.addEventListener("open", () => state("open", "live"));
source.addEventListener("message", (event) => hear(JSON.parse(event.data)));
source.addEventListener("gap", (event) => gap(JSON.parse(event.data)));
source.addEventListener("undecodable", (event) => warn(`not readable: ${JSON.parse(event.data).error}`));
source.addEventListener("error", () => {
  // The browser connects again by itself, unless it was refused.
  if (source.readyState === EventSource.CLOSED) state("lost", "refused; reload to try again");
  else state("lost", "connection lost, reconnecting");
});
