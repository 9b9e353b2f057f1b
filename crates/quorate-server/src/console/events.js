// What arrives on this page: the list, the counters, the rate.

import { $, Trace, clock, element } from './dom.js';

const SHOWN = 400;          // rows kept in the list; the counters go on
const SECONDS = 120;        // width of the sparkline

const totals = { received: 0, gaps: 0, missed: 0, unknownGaps: 0, undecodable: 0 };
const perSecond = new Trace(SECONDS);
let thisSecond = 0;
let paused = false;
let queue = [];             // rows waiting for the next frame
let scheduled = false;

const REASONS = {
  reconnected: 'The connection to the backend was interrupted; what was published meanwhile did not arrive',
  lost: 'Messages were lost on the way',
  buffer_full: 'This page was slower than the messages came; the oldest were dropped',
  history: 'What was missed is no longer kept',
  page: 'This page was disconnected from its server; what was published meanwhile did not arrive',
};

function show(row) {
  queue.push(row);
  if (queue.length > SHOWN) queue.shift();
  if (!scheduled) {
    scheduled = true;
    requestAnimationFrame(flush);
  }
}

function flush() {
  scheduled = false;
  renderTotals();
  if (paused) return;
  const list = $('events');
  const filter = $('filter').value.trim().toLowerCase();
  const fragment = document.createDocumentFragment();
  for (const row of queue.reverse()) {
    const node = row();
    node.hidden = hides(node, filter);
    fragment.append(node);
  }
  queue = [];
  list.prepend(fragment);
  while (list.children.length > SHOWN) list.lastElementChild.remove();
  // The state of the backend alone is nothing to look at.
  $('empty').hidden = list.querySelector('.message, .gap, .undecodable') !== null;
}

function hides(node, filter) {
  return filter !== '' && !node.textContent.toLowerCase().includes(filter);
}

function renderTotals() {
  $('received').textContent = totals.received.toLocaleString('en');
  $('gaps').textContent = totals.gaps.toLocaleString('en');
  $('undecodable').textContent = totals.undecodable.toLocaleString('en');
  $('gap-tile').classList.toggle('warn', totals.gaps > 0);
  if (totals.gaps > 0) {
    const known = totals.missed.toLocaleString('en');
    if (totals.unknownGaps === 0) $('missed').textContent = `${known} missed`;
    else $('missed').textContent = totals.missed > 0 ? `at least ${known} missed` : 'number unknown';
  }
}

// A message, which shows all of itself when it is opened.
export function messageRow(frame) {
  const item = element('li', 'message');
  const details = element('details');
  const summary = element('summary');
  const type = frame.type && frame.type !== frame.topic.split(':')[0] ? `${frame.type} · ` : '';
  const data = 'data' in frame
    ? (typeof frame.data === 'string' ? frame.data : JSON.stringify(frame.data))
    : `${frame.data_base64} (base64)`;
  summary.append(
    element('time', '', clock(frame.timestamp)),
    element('span', 'topic', frame.topic),
    element('span', 'data', type + data.slice(0, 500)),
    element('span', 'source', frame.source ?? ''),
  );
  details.append(summary);
  // Made when looked at: most never are.
  details.addEventListener('toggle', () => {
    if (!details.querySelector('pre')) details.append(element('pre', '', JSON.stringify(frame, null, 2)));
  });
  item.append(details);
  return item;
}

export function noteRow(kind, topic, text, time = clock()) {
  const item = element('li', kind);
  const note = element('div', 'note');
  note.append(element('time', '', time), element('span', 'topic', topic), element('span', '', text));
  item.append(note);
  return item;
}

function note(kind, topic, text) {
  const time = clock();
  show(() => noteRow(kind, topic, text, time));
}

export function message(frame) {
  totals.received += 1;
  thisSecond += 1;
  show(() => messageRow(frame));
}

export function gap(topic, reason, missed) {
  totals.gaps += 1;
  if (typeof missed === 'number') totals.missed += missed;
  else totals.unknownGaps += 1;
  const count = typeof missed === 'number' ? `${missed.toLocaleString('en')} missing` : 'number unknown';
  note('gap', topic, `Gap: ${REASONS[reason] ?? reason} (${count}).`);
}

export function undecodable(frame) {
  totals.undecodable += 1;
  note('undecodable', frame.topic, `Unreadable: ${frame.error}.`);
}

export function state(frame) {
  note('state', 'backend', `${frame.state}: ${frame.reason}`);
}

function tick() {
  perSecond.push(thisSecond);
  $('rate').textContent = thisSecond.toLocaleString('en');
  thisSecond = 0;
  perSecond.draw($('spark'));
}

export function listen() {
  $('filter').addEventListener('input', () => {
    const filter = $('filter').value.trim().toLowerCase();
    for (const node of $('events').children) node.hidden = hides(node, filter);
  });
  $('pause').addEventListener('click', () => {
    paused = !paused;
    $('pause').setAttribute('aria-pressed', String(paused));
    $('pause').textContent = paused ? 'Resume' : 'Pause';
    if (!paused) flush();
  });
  $('clear').addEventListener('click', () => {
    queue = [];
    $('events').replaceChildren();
    $('empty').hidden = false;
  });
  setInterval(tick, 1000);
  tick();
}
