// What happens in a queue, as it happens. It is listened to only while somebody looks: nobody else pays for it.

import { $, ask, astray, button, cell, clock, duration, element } from './dom.js';
import { navigate } from './views.js';

const KEPT = 100;           // events that are shown
const KINDS = ['queued', 'started', 'progress', 'deferred', 'failed', 'succeeded', 'dead', 'cancelled', 'expired', 'redriven', 'removed', 'group_ended', 'missed'];

let queue = null;           // of which it is shown
let stream = null;
let come = [];              // what is to be shown with the next picture

const path = () => `/v1/queues/${encodeURIComponent(queue)}/events`;

function say(text) {
  $('happened-note').textContent = text;
}

/* ---------- what is told ---------- */

function more({ event, at, due_at: due, attempt, error, jobs }) {
  if (event === 'missed') return 'some of what happened was not heard';
  if (error !== undefined) return due ? `${error}; again ${when(at, due)}` : error;
  if (due !== undefined) return `due ${when(at, due)}`;
  if (attempt > 1) return `attempt ${attempt}`;
  return jobs ? Object.entries(jobs).filter(([, number]) => number > 0).map(([how, number]) => `${number} ${how}`).join(', ') : '';
}

function when(at, due) {
  const left = Date.parse(due) - Date.parse(at);
  return left > 0 ? `in ${duration(left)}` : 'at once';
}

function create(told) {
  const node = element('li');
  node.dataset.event = told.event;
  const time = element('time', '', clock(told.at));
  time.dateTime = told.at ?? '';
  node.append(time, element('span', 'what', told.event.replace('_', ' ')), element('span', 'job'), element('span', 'more', more(told)));
  const open = () => navigate({ ...Object.fromEntries(new URLSearchParams(location.search)), job: told.id });
  if (told.id) cell(node, 'job').append(button('name mono', told.id.slice(-8), told.id, open));
  return node;
}

// However much comes, it is drawn once for a picture, and only the last of it.
function show() {
  const list = $('happened');
  list.prepend(...come.slice(-KEPT).reverse().map(create));
  come = [];
  while (list.childElementCount > KEPT) list.lastElementChild.remove();
}

function take(told) {
  if (come.push(told) === 1) requestAnimationFrame(show);
  if (come.length > 2 * KEPT) come.splice(1, KEPT);
}

/* ---------- listening ---------- */

function close() {
  stream?.close();
  stream = null;
}

function listenTo() {
  close();
  const problem = astray(path());
  if (problem) {
    say(problem);
    return;
  }
  say('Listening …');
  const mine = new EventSource(path());
  stream = mine;
  mine.addEventListener('listening', () => say('From now on, on all instances.'));
  for (const kind of KINDS) mine.addEventListener(kind, ({ data }) => take(JSON.parse(data)));
  mine.addEventListener('error', async () => {
    if (stream !== mine) return;
    // A browser tries again by itself, unless the answer was no stream.
    if (mine.readyState !== EventSource.CLOSED) {
      take({ event: 'missed' });
      say('The connection is lost; it is made again.');
      return;
    }
    const answer = await ask(path().replace(/\/events$/, ''), { cache: 'no-store' });
    if (stream === mine) say(answer.problem ?? 'Nothing more is told: close this and open it again.');
  });
}

export function open(name) {
  if (name === queue) return;
  queue = name;
  close();
  come = [];
  $('happened').replaceChildren();
  say('');
  if (name !== null && $('queue-happened').open) listenTo();
}

export function listen() {
  $('queue-happened').addEventListener('toggle', () => {
    if (queue !== null && $('queue-happened').open) listenTo();
    else close();
  });
}
