// Sessions of a user: where they are logged in, and ending that.

import { $, ask, button, duration, element, plural, reconcile, row, cell, repeat } from './dom.js';
import { sure } from './values.js';
import { navigate } from './views.js';

const PAUSE = 3000;         // milliseconds between looks

let user = null;            // whose sessions are shown

const ofUser = () => `/v1/sessions?user=${encodeURIComponent(user)}`;

function say(text, isError = false) {
  $('sessions-note').textContent = text;
  $('sessions-note').classList.toggle('error', isError);
}

function create() {
  const node = row(['device', 'made', 'seen', 'ends', 'fields', 'action']);
  node.firstElementChild.append(element('span', 'title'), element('span', 'handle muted small mono'));
  cell(node, 'action').append(button('quiet danger', 'End', 'Log out there', () => end(node.dataset.key)));
  return node;
}

const ago = (moment) => `${duration(Math.max(0, Date.now() - Date.parse(moment)))} ago`;

// To the minute, where there are some: a session of seven days has 7 d and not 6.
const left = (milliseconds) => duration(milliseconds > 120_000 ? Math.ceil(milliseconds / 60_000) * 60_000 : milliseconds);

function update(node, session) {
  cell(node, 'title').textContent = session.device_info ?? 'unnamed device';
  cell(node, 'handle').textContent = session.handle.split('.')[1].slice(0, 8);
  cell(node, 'handle').title = session.handle;
  cell(node, 'made').textContent = ago(session.created_at);
  cell(node, 'made').title = session.created_at;
  cell(node, 'seen').textContent = ago(session.seen_at);
  cell(node, 'ends').textContent = `in ${left(session.expires_in_ms)}`;
  cell(node, 'fields').textContent = session.fields.join(', ') || '–';
}

async function look() {
  const whose = user;
  const answer = await ask(ofUser(), { cache: 'no-store' });
  if (whose !== user || user === null) return;
  const sessions = answer.sessions ?? [];
  $('sessions-table').hidden = sessions.length === 0;
  $('sessions-end-all').hidden = sessions.length === 0;
  reconcile($('sessions'), sessions, (session) => session.handle, create, update);
  if (answer.problem) say(answer.problem, true);
  else say(sessions.length === 0 ? `${user} is logged in nowhere.` : `${user} has ${plural(sessions.length, 'session')}.`);
}

function result(answer) {
  $('sessions-result').textContent = answer.problem
    ?? (answer.ended === 0 ? 'It was not there any more.' : `Ended ${plural(answer.ended, 'session')}.`);
  $('sessions-result').classList.toggle('bad', Boolean(answer.problem));
  look();
}

async function end(handle) {
  if (!await sure(`End this session of ${user}? What is open on it is closed on every instance.`, 'End')) return;
  result(await ask(`/v1/sessions/${handle}`, { method: 'DELETE' }));
}

async function endAll() {
  if (!await sure(`End all sessions of ${user}? What is open on them is closed on every instance.`, 'End all')) return;
  result(await ask(ofUser(), { method: 'DELETE' }));
}

const polling = repeat(async () => {
  if (user !== null) await look();
}, PAUSE);

export const view = {
  show(query) {
    const whose = query.user || null;
    if (whose !== user) {
      user = whose;
      $('sessions').replaceChildren();
      $('sessions-table').hidden = true;
      $('sessions-end-all').hidden = true;
      $('sessions-result').textContent = '';
      say(user === null ? 'Name a user: where they are logged in, since when, and for how long.' : 'Looking …');
    }
    $('sessions-user').value = user ?? '';
    polling.start();
  },
  hide() {
    polling.stop();
  },
};

export function listen() {
  say('Name a user: where they are logged in, since when, and for how long.');
  $('sessions-of').addEventListener('submit', (event) => {
    event.preventDefault();
    const whose = $('sessions-user').value;
    if (whose === user) look();
    else if (whose) navigate({ view: 'sessions', user: whose });
  });
  $('sessions-end-all').addEventListener('click', endAll);
}
