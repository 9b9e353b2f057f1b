// Queues: how much waits, how much is done, and one of them with its jobs.

import { $, Trace, ask, cell, duration, element, plural, rate, reconcile, repeat, row, sparkline, whole } from './dom.js';
import * as group from './group.js';
import * as happened from './happened.js';
import * as job from './job.js';
import * as jobs from './jobs.js';
import * as schedules from './schedules.js';
import { navigate } from './views.js';

const PAUSE = 2000;         // milliseconds between looks
const FOLLOWED = 40;        // of how many, each of which is a request
const KEPT = 60;            // looks that are drawn: two minutes
const COLUMNS = ['queue', 'picture', 'done', 'failed', 'ready', 'due', 'active', 'dead', 'oldest'];

let prefix = null;          // what the names begin with that are shown
let queues = new Map();     // what is known of each, by name
let next = null;            // where the next page begins
let asked = 0;              // a later question makes the answer to an earlier one worthless
let selected = null;        // the name of a queue
const total = new Trace(KEPT);

const path = (name) => `/v1/queues/${encodeURIComponent(name)}`;

function say(text, isError = false) {
  $('queues-note').textContent = text;
  $('queues-note').classList.toggle('error', isError);
}

/* ---------- what is known ---------- */

// Rates are differences of totals: between two looks, by our own clock.
function learn(stats) {
  const now = performance.now();
  const known = queues.get(stats.queue) ?? { trace: new Trace(KEPT), done: 0, failed: 0 };
  if (known.stats) {
    const seconds = Math.max(0.001, (now - known.at) / 1000);
    const per = (name) => Math.max(0, stats.totals[name] - known.stats.totals[name]) / seconds;
    known.done = per('succeeded');
    known.failed = per('failed');
    known.trace.push(known.done);
  }
  queues.set(stats.queue, { ...known, stats, at: now });
}

const sum = (of) => [...queues.values()].reduce((all, one) => all + of(one), 0);

function show() {
  $('queues-table').hidden = queues.size === 0;
  $('queues-more').hidden = next === null;
  const shown = [...queues.values()].sort((one, other) => one.stats.queue.localeCompare(other.stats.queue));
  reconcile($('queues'), shown, (one) => one.stats.queue, create, update);
  $('queues-rate').textContent = rate(sum((one) => one.done));
  $('queues-waiting').textContent = whole(sum((one) => one.stats.ready + one.stats.limited));
  const oldest = Math.max(0, ...shown.map((one) => one.stats.waited_ms ?? 0));
  $('queues-oldest').textContent = oldest > 0 ? `the next for ${duration(oldest)}` : '';
  $('queues-failures').textContent = rate(sum((one) => one.failed));
  const dead = sum((one) => one.stats.dead);
  $('queues-dead').textContent = whole(dead);
  $('queues-dead-tile').classList.toggle('bad', dead > 0);
  total.draw($('queues-spark'));
  if (queues.size === 0 && next === null) say('There is no such queue: a queue is there from its first job, and a week after its last.');
  else say(`${plural(queues.size, 'queue')}${next === null ? '' : ' so far; there may be more'}.`);
  const one = queues.get(selected);
  if (one) jobs.learn(one.stats);
}

function create(one) {
  const node = row(COLUMNS, (name) => navigate({ view: 'queues', ...(prefix && { prefix }), queue: name }));
  node.querySelector('button').textContent = one.stats.queue;
  node.firstElementChild.append(element('span', 'paused'));
  cell(node, 'picture').append(sparkline(`Jobs of ${one.stats.queue} that were done over the last two minutes`));
  return node;
}

function update(node, { stats, done, failed, trace }) {
  trace.draw(node.querySelector('svg'));
  cell(node, 'paused').textContent = stats.paused ? 'paused' : '';
  cell(node, 'done').textContent = rate(done);
  cell(node, 'failed').textContent = rate(failed);
  cell(node, 'failed').classList.toggle('bad', failed > 0);
  for (const name of ['ready', 'due', 'active', 'dead']) cell(node, name).textContent = whole(stats[name]);
  cell(node, 'dead').classList.toggle('bad', stats.dead > 0);
  cell(node, 'oldest').textContent = stats.waited_ms === null ? '–' : duration(stats.waited_ms);
  if (stats.queue === selected) node.setAttribute('aria-current', 'true');
  else node.removeAttribute('aria-current');
}

/* ---------- asking ---------- */

async function read(from) {
  asked += 1;
  const number = asked;
  $('queues-more').disabled = true;
  if (from === null) say('Looking …');
  const page = await ask(`/v1/queues?prefix=${encodeURIComponent(prefix)}${from ? `&from=${encodeURIComponent(from)}` : ''}`, { cache: 'no-store' });
  if (number !== asked) return;
  $('queues-more').disabled = false;
  if (page.problem) {
    say(page.problem, true);
    return;
  }
  if (from === null) queues = new Map([...queues].filter(([name]) => name === selected));
  page.queues.forEach(learn);
  next = page.next;
  show();
}

// Only what is shown already: finding the others means that the server looks at all of its database.
async function follow(wanted) {
  const number = asked;
  const names = [...queues.keys()].slice(0, FOLLOWED);
  if (selected !== null && !names.includes(selected)) names.push(selected);
  const seen = await Promise.all(names.map((name) => ask(path(name), { cache: 'no-store' })));
  if (number !== asked || !wanted()) return;
  const problem = seen.find((one) => one.problem)?.problem;
  if (problem) {
    say(problem, true);
    return;
  }
  seen.forEach(learn);
  total.push(sum((one) => one.done));
  show();
  await Promise.all([jobs.follow(wanted), group.follow(), schedules.follow()]);
}

const polling = repeat(follow, PAUSE);

export const view = {
  show(query) {
    const wanted = query.prefix ?? '';
    $('queues-prefix').value = wanted;
    selected = query.queue || null;
    if (wanted !== prefix) {
      prefix = wanted;
      queues = new Map();
      next = null;
      $('queues').replaceChildren();
      $('queues-table').hidden = true;
      read(null);
    }
    jobs.open(selected, query.place);
    happened.open(selected);
    schedules.open(selected);
    job.open(selected, query.job || null, () => follow(() => true));
    polling.start();
  },
  hide() {
    polling.stop();
    job.open(null, null);
    happened.open(null);
    // Opened again, it looks again.
    asked += 1;
    prefix = null;
  },
};

export function listen() {
  jobs.listen(() => follow(() => true));
  job.listen();
  happened.listen();
  group.listen((to) => navigate({ view: 'queues', queue: to.queue, job: to.id }));
  $('queues-of').addEventListener('submit', (event) => {
    event.preventDefault();
    const wanted = $('queues-prefix').value;
    if (wanted === prefix) read(null);
    else navigate({ view: 'queues', ...(wanted && { prefix: wanted }) });
  });
  $('queues-more').addEventListener('click', () => read(next));
}
