// One job: where it is, how far, what it said, and changing it. Live.

import { $, ask, astray, clock, duration, element, facts, pill, send } from './dom.js';
import * as group from './group.js';
import { lookAt, sure } from './values.js';

let queue = null;
let id = null;
let stream = null;          // what becomes of it, as it happens
let seen = null;            // the job as it was told last
let belongs = null;         // the group that it was said to belong to: of what is over, little is known
let changed = () => {};     // to be told when something was

const path = (rest = '') => `/v1/queues/${encodeURIComponent(queue)}/jobs/${id}${rest}`;

function say(text, isBad = false) {
  $('job-result').textContent = text;
  $('job-result').classList.toggle('bad', isBad);
}

/* ---------- what is told ---------- */

function show(job) {
  const was = seen?.state;
  seen = job;
  belongs = job.group ?? belongs;
  group.open(id, belongs ?? { queue, id });
  $('job-hint').hidden = true;
  $('job').hidden = false;
  pill($('job-state'), job.state, job.cancelling ? 'asked to stop' : job.state);
  $('job-error').textContent = job.error ?? '';
  facts($('job-facts'), [
    ['Queued', job.queued_at ?? null],
    ['Due', job.due_at ? `in ${duration(Math.max(0, Date.parse(job.due_at) - Date.now()))}` : null],
    ['Attempts', job.max_attempts === undefined ? null : `${job.failed_attempts} of ${job.max_attempts} failed`],
    ['Priority', job.priority || null],
    ['Fairness group', job.fairness_group ?? null],
    ['Timeout', job.timeout_ms === undefined ? null : duration(job.timeout_ms)],
    ['Expires', job.expires_at ?? null],
    ['Key', job.unique ? `${job.unique.key} (${job.unique.scope})` : null],
    ['Parent', job.parent ?? null],
    ['Tags', job.tags?.join(', ') ?? null],
    ['Journal', job.entries ?? null],
    ['Inbox', job.messages ?? null],
  ]);
  const isOver = ['succeeded', 'dead', 'cancelled', 'expired'].includes(job.state);
  const isOpen = ['ready', 'due', 'limited', 'dead'].includes(job.state);
  $('job-redrive').hidden = job.state !== 'dead';
  $('job-cancel').hidden = isOver;
  $('job-remove').hidden = job.state === 'active';
  $('job-save').hidden = !isOpen;
  $('job-input').readOnly = !isOpen;
  const hasInput = job.input !== undefined || job.input_base64 !== undefined;
  $('job-edit').hidden = !hasInput;
  const result = job.result_base64 === undefined ? JSON.stringify(job.result, null, 2) : `base64 ${job.result_base64}`;
  $('job-done').hidden = result === undefined;
  $('job-value').textContent = result ?? '';
  if (hasInput && was !== job.state) readInput();
}

// As it is kept, so that numbers keep their digits. Whoever is writing goes on.
async function readInput() {
  const of = id;
  if (document.activeElement === $('job-input')) return;
  const input = await lookAt(path('/input'));
  if (of !== id || input.problem) return;
  $('job-input').value = input.text;
  $('job-save').disabled = !input.isJson;
}

function progress(value) {
  $('job-progress').hidden = false;
  const share = typeof value === 'number' && value >= 0 && value <= 1 ? value : null;
  $('job-progress').querySelector('.bar').hidden = share === null;
  $('job-progress').style.setProperty('--done', `${100 * (share ?? 0)}%`);
  $('job-progress').querySelector('code').textContent = share === null ? JSON.stringify(value) : `${Math.round(100 * share)} %`;
}

function line({ at, attempt, text }) {
  $('job-said').hidden = false;
  const node = element('li');
  const time = element('time', '', clock(at));
  time.dateTime = at;
  time.title = `attempt ${attempt}`;
  node.append(time, element('span', '', text));
  $('job-log').append(node);
  node.scrollIntoView({ block: 'nearest' });
}

/* ---------- asking ---------- */

function close() {
  stream?.close();
  stream = null;
}

function forget(text) {
  close();
  seen = null;
  group.open(null, null);
  $('job').hidden = true;
  $('job-hint').hidden = false;
  $('job-hint').textContent = text;
}

function watch() {
  close();
  const problem = astray(path());
  if (problem) {
    forget(problem);
    return;
  }
  stream = new EventSource(path('/events'));
  const on = (name, act) => stream.addEventListener(name, ({ data }) => act(JSON.parse(data)));
  // Also when it was broken: everything is told again.
  stream.addEventListener('open', () => {
    $('job-log').replaceChildren();
    $('job-said').hidden = true;
    $('job-progress').hidden = true;
  });
  on('state', show);
  on('progress', progress);
  on('log', line);
  on('end', (job) => {
    close();
    show(job);
  });
  on('gone', () => forget('It was taken away.'));
  const mine = stream;
  stream.addEventListener('error', async () => {
    // A browser tries again by itself, unless the answer was no stream.
    if (stream !== mine || mine.readyState !== EventSource.CLOSED) return;
    const answer = await ask(path(), { cache: 'no-store' });
    if (stream === mine) forget(answer.problem ?? 'Nothing more is told of it: open it again.');
  });
}

// What stands in an address may be anything: only what looks like a job is one.
const isJob = (text) => /^[0-9a-f]{32}$/.test(text ?? '');

export function open(name, wanted, whenChanged = () => {}) {
  const job = name !== null && isJob(wanted) ? wanted : null;
  changed = whenChanged;
  if (name === queue && job === id && stream !== null) return;
  [queue, id] = [name, job];
  belongs = null;
  say('');
  $('job-input').value = '';
  $('job-id').textContent = job ?? '';
  forget(name === null ? 'Choose a queue, and one of its jobs.' : 'Choose a job.');
  if (job !== null) watch();
}

/* ---------- changing it ---------- */

async function change(answer, told) {
  const of = id;
  const { problem } = await answer;
  if (of !== id) return;
  say(problem ?? told, Boolean(problem));
  if (!problem) watch();
  await changed();
}

async function redrive() {
  await change(send(`/v1/queues/${encodeURIComponent(queue)}/redrive`, JSON.stringify({ ids: [id] }), 'application/json'), 'It is ready again.');
}

async function cancel() {
  if (!await sure(`Cancel this job of ${queue}? Who has it is asked to stop.`, 'Cancel job')) return;
  await change(send(path('/cancel'), '{}', 'application/json'), 'It is cancelled.');
}

async function remove() {
  if (!await sure(`Remove this job of ${queue}, with all that is known of it?`, 'Remove')) return;
  await change(ask(path(), { method: 'DELETE' }), 'It is removed.');
}

async function save() {
  let body;
  try {
    JSON.parse($('job-input').value);
    body = `{"input": ${$('job-input').value}}`;
  } catch (error) {
    say(`The input must be JSON: ${error.message}`, true);
    return;
  }
  await change(ask(path('/input'), { method: 'PUT', body, headers: { 'content-type': 'application/json' } }), 'Saved.');
}

export function listen() {
  $('job-redrive').addEventListener('click', redrive);
  $('job-cancel').addEventListener('click', cancel);
  $('job-remove').addEventListener('click', remove);
  $('job-edit').addEventListener('submit', (event) => {
    event.preventDefault();
    save();
  });
}
