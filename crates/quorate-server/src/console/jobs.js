// The jobs of a queue, by place: looked at page by page, and changed many at once.

import { $, ask, button, cell, duration, element, plural, reconcile, row, send, whole } from './dom.js';
import { sure } from './values.js';
import { navigate } from './views.js';

const PLACES = ['ready', 'due', 'limited', 'active', 'dead', 'ended'];
const PAGE = 50;            // jobs that are asked for at once
const WHYS = 8;             // errors that are told apart
const MOST = 1000;          // that a server takes at once
const STUCK = 5000;         // milliseconds that a queue with workers leaves nothing lying about

let queue = null;           // whose jobs are shown
let place = 'ready';
let jobs = [];
let next = null;            // where the next page begins
let asked = 0;              // a later question makes the answer to an earlier one worthless
let paused = false;
let changed = () => {};     // to be told when something was
const picked = new Set();   // ids

// To another part of what is shown: the rest stays.
const go = (to) => navigate({ ...Object.fromEntries(new URLSearchParams(location.search)), ...to });

const path = (rest = '') => `/v1/queues/${encodeURIComponent(queue)}${rest}`;

function say(text, isError = false) {
  $('jobs-note').textContent = text;
  $('jobs-note').classList.toggle('error', isError);
}

/* ---------- the queue ---------- */

// What is known of the queue by now.
export function learn(stats) {
  if (stats.queue !== queue) return;
  paused = stats.paused;
  $('queue-pause').textContent = paused ? 'Resume' : 'Pause';
  $('queue-pause').setAttribute('aria-pressed', String(paused));
  const { totals } = stats;
  const told = [`${whole(totals.succeeded)} done`, plural(totals.failed, 'failure'), plural(stats.idle, 'idle worker')];
  if (stats.open_groups > 0) told.push(plural(stats.open_groups, 'open group'));
  if (stats.effects > 0) told.push(`${whole(stats.effects)} to be brought to other queues`);
  if (stats.effects_waited_ms > STUCK) told.push(`for ${duration(stats.effects_waited_ms)} by nobody`);
  $('queue-totals').textContent = told.join(', ');
  for (const node of $('places').children) {
    node.textContent = `${node.dataset.place} ${whole(stats[node.dataset.place])}`;
    node.setAttribute('aria-pressed', String(node.dataset.place === place));
  }
}

async function pause() {
  const answer = await send(path(paused ? '/resume' : '/pause'), '{}', 'application/json');
  if (answer.problem) tell(answer.problem, true);
  await changed();
}

/* ---------- rows ---------- */

function create(one) {
  const node = row(['pick', 'job', 'input', 'tries', 'age']);
  const pick = element('input');
  pick.type = 'checkbox';
  pick.setAttribute('aria-label', `Choose the job ${one.id}`);
  pick.addEventListener('change', () => {
    if (pick.checked) picked.add(node.dataset.key);
    else picked.delete(node.dataset.key);
    offer();
  });
  cell(node, 'pick').append(pick);
  const open = () => go({ job: node.dataset.key });
  cell(node, 'job').append(button('name mono', one.id.slice(-8), one.id, open), element('span', 'tags'));
  cell(node, 'input').append(element('span', 'what'), element('span', 'why'));
  return node;
}

function update(node, one) {
  cell(node, 'pick').firstChild.checked = picked.has(one.id);
  cell(node, 'tags').textContent = (one.tags ?? []).map((tag) => ` ${tag}`).join('');
  const what = one.input_base64 === undefined ? JSON.stringify(one.input ?? one.result) : `base64 ${one.input_base64}`;
  cell(node, 'what').textContent = ['ready', 'due', 'limited'].includes(one.state) || what !== undefined ? (what ?? '').slice(0, 200) : one.state;
  cell(node, 'why').textContent = one.error ?? '';
  cell(node, 'why').title = one.error ?? '';
  cell(node, 'tries').textContent = one.max_attempts === undefined ? one.state : `${one.failed_attempts} of ${one.max_attempts}`;
  const age = one.queued_at ? `${duration(Math.max(0, Date.now() - Date.parse(one.queued_at)))} ago` : '–';
  cell(node, 'age').textContent = one.due_at ? `due ${due(one.due_at)}` : age;
  cell(node, 'age').title = one.queued_at ?? '';
}

function due(moment) {
  const left = Date.parse(moment) - Date.now();
  return left > 0 ? `in ${duration(left)}` : 'now';
}

function show() {
  const known = new Set(jobs.map((one) => one.id));
  for (const id of picked) if (!known.has(id)) picked.delete(id);
  $('jobs-table').hidden = jobs.length === 0;
  $('jobs-more').hidden = next === null;
  reconcile($('jobs'), jobs, (one) => one.id, create, update);
  const more = next === null ? '' : ' so far; there are more';
  showErrors();
  say(jobs.length === 0 ? `No job is ${place}.` : `${plural(jobs.length, 'job')}${more}.`);
  offer();
}

// Dead jobs by the error that killed them, the most frequent first.
function showErrors() {
  const counts = new Map();
  if (place === 'dead') for (const { error } of jobs) counts.set(error ?? '', (counts.get(error ?? '') ?? 0) + 1);
  const whys = [...counts].sort((one, other) => other[1] - one[1]).slice(0, WHYS);
  $('jobs-errors').hidden = whys.length === 0;
  reconcile($('jobs-whys'), whys, ([why]) => why, makeWhy, (node, [why, number]) => {
    cell(node, 'kind').textContent = why;
    cell(node, 'number').textContent = whole(number);
    node.style.setProperty('--share', `${100 * number / jobs.length}%`);
  });
}

function makeWhy() {
  const node = element('li', 'share denied');
  node.append(element('span', 'kind'), element('span', 'number'));
  return node;
}

// What can be done with those that are chosen.
function offer() {
  const some = picked.size > 0;
  $('jobs-redrive').hidden = !some || place !== 'dead';
  $('jobs-cancel').hidden = !some || !['ready', 'due', 'limited', 'active'].includes(place);
  $('jobs-remove').hidden = !some || place === 'active';
  $('jobs-all').checked = some && picked.size === jobs.length;
  $('jobs-all').indeterminate = some && picked.size < jobs.length;
}

/* ---------- asking ---------- */

async function page(limit, from) {
  asked += 1;
  const number = asked;
  const answer = await ask(path(`/jobs?place=${place}&limit=${limit}${from ? `&from=${encodeURIComponent(from)}` : ''}`), { cache: 'no-store' });
  if (number !== asked) return null;
  if (answer.problem) {
    say(answer.problem, true);
    return null;
  }
  return answer;
}

// As many as are shown, from the beginning: what came and went shows.
export async function follow(wanted = () => true) {
  if (queue === null) return;
  const answer = await page(Math.min(MOST, Math.max(PAGE, jobs.length)), null);
  if (!answer || !wanted()) return;
  jobs = answer.jobs;
  next = answer.next;
  show();
}

async function more() {
  const answer = await page(PAGE, next);
  if (!answer) return;
  const known = new Set(jobs.map((one) => one.id));
  jobs = [...jobs, ...answer.jobs.filter((one) => !known.has(one.id))];
  next = answer.next;
  show();
}

export function open(name, at) {
  const wanted = PLACES.includes(at) ? at : 'ready';
  if (name === queue && wanted === place) return;
  [queue, place] = [name, wanted];
  [jobs, next] = [[], null];
  picked.clear();
  asked += 1;
  $('queue').hidden = name === null;
  $('queue-name').textContent = name ?? '';
  $('queue-totals').textContent = '';
  $('jobs').replaceChildren();
  $('jobs-table').hidden = true;
  $('jobs-more').hidden = true;
  $('jobs-errors').hidden = true;
  tell('');
  offer();
  for (const node of $('places').children) node.setAttribute('aria-pressed', String(node.dataset.place === place));
  if (name !== null) {
    say('Looking …');
    follow();
  }
}

/* ---------- changing many ---------- */

function tell(text, isBad = false) {
  $('jobs-result').textContent = text;
  $('jobs-result').classList.toggle('bad', isBad);
}

async function change(verb, question, yes, told) {
  // As they are now: while somebody makes up his mind, others may be chosen.
  const [ids, of] = [[...picked], queue];
  if (!await sure(question(plural(ids.length, 'job')), yes)) return;
  const answer = await send(path(`/${verb}`), JSON.stringify({ ids }), 'application/json');
  if (of !== queue) return;
  picked.clear();
  tell(answer.problem ?? told(answer), Boolean(answer.problem));
  await changed();
}

const CHANGES = {
  redrive: [(jobs_) => `Make ${jobs_} of ${queue} ready again, with all attempts?`, 'Retry', (answer) => `${plural(answer.redriven, 'job')} ready again.`],
  cancel: [(jobs_) => `Cancel ${jobs_} of ${queue}? Who has one is asked to stop.`, 'Cancel jobs', (answer) => `Cancelled ${plural(answer.jobs.filter((one) => one.state !== null).length, 'job')}.`],
  remove: [(jobs_) => `Remove ${jobs_} of ${queue}, with all that is known of them?`, 'Remove', (answer) => `Removed ${plural(answer.removed, 'job')}.`],
};

export function listen(whenChanged) {
  changed = whenChanged;
  for (const name of PLACES) {
    const node = button('quiet', name, '', () => go({ place: name }));
    node.dataset.place = name;
    $('places').append(node);
  }
  for (const [verb, told] of Object.entries(CHANGES)) $(`jobs-${verb}`).addEventListener('click', () => change(verb, ...told));
  $('queue-pause').addEventListener('click', pause);
  $('jobs-more').addEventListener('click', more);
  $('jobs-all').addEventListener('change', () => {
    picked.clear();
    if ($('jobs-all').checked) for (const one of jobs) picked.add(one.id);
    show();
  });
}
