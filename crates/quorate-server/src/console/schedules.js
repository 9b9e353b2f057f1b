// The schedules of a queue: how far each has come. Instances run them; here they are only looked at, and forgotten.

import { $, ask, button, cell, duration, reconcile, row } from './dom.js';
import { sure } from './values.js';

let queue = null;           // whose schedules are shown

const path = (rest = '') => `/v1/queues/${encodeURIComponent(queue)}/schedules${rest}`;

function tell(text, isBad = false) {
  $('schedules-result').textContent = text;
  $('schedules-result').classList.toggle('bad', isBad);
}

function create({ schedule }) {
  const node = row(['schedule', 'last', 'forget']);
  cell(node, 'schedule').textContent = schedule;
  cell(node, 'forget').append(button('quiet danger', 'Forget', `Forget the schedule ${schedule}`, () => forget(schedule)));
  return node;
}

function update(node, { last }) {
  cell(node, 'last').textContent = `${duration(Math.max(0, Date.now() - Date.parse(last)))} ago`;
  cell(node, 'last').title = last;
}

export async function follow() {
  if (queue === null) return;
  const of = queue;
  const { problem, schedules = [] } = await ask(path(), { cache: 'no-store' });
  if (of !== queue) return;
  if (problem) {
    tell(problem, true);
    return;
  }
  $('schedules').hidden = schedules.length === 0;
  reconcile($('schedules-list'), schedules, (one) => one.schedule, create, update);
}

async function forget(schedule) {
  const of = queue;
  if (!await sure(`Forget the schedule ${schedule} of ${queue}? Where somebody runs it, it begins anew and makes up for nothing.`, 'Forget')) return;
  if (of !== queue) return;
  const { problem } = await ask(path(`/${encodeURIComponent(schedule)}`), { method: 'DELETE' });
  if (of !== queue) return;
  tell(problem ?? `${schedule} is forgotten.`, Boolean(problem));
  await follow();
}

export function open(name) {
  if (name === queue) return;
  queue = name;
  tell('');
  $('schedules').hidden = true;
  $('schedules-list').replaceChildren();
  follow();
}
