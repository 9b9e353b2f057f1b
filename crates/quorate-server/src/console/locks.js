// Locks: who has them, who waits, and taking one away.

import { $, ask, button, cell, duration, element, plural, reconcile, repeat, row, whole } from './dom.js';
import { sure } from './values.js';
import { navigate } from './views.js';

const PAUSE = 3000;         // milliseconds between looks at locks that are shown
const FOLLOWED = 40;        // of how many, each of which is a request
const SHOWN = 10;           // holders of one lock

const KINDS = { mutex: 'mutex', read_write: 'read/write lock', semaphore: 'semaphore', election: 'election' };

let prefix = null;          // what the names begin with that are shown
let locks = [];
let next = null;            // where the next page begins
let asked = 0;              // a later question makes the answer to an earlier one worthless

const path = (lock) => `/v1/locks/${encodeURIComponent(lock.name)}?kind=${lock.kind}`;

function say(text, isError = false) {
  $('locks-note').textContent = text;
  $('locks-note').classList.toggle('error', isError);
}

/* ---------- rows: one for each holder ---------- */

const lines = (lock) => (lock.holders.length === 0
  ? [{ lock, holder: null, isFirst: true }]
  : lock.holders.map((holder, at) => ({ lock, holder, isFirst: at === 0 })));

const keyOf = ({ lock, holder }) => `${lock.kind} ${holder?.fencing_token ?? '-'} ${lock.name}`;

function create(line) {
  const node = row(['lock', 'holder', 'held', 'left', 'waiting', 'action']);
  cell(node, 'lock').append(element('span', 'title'), element('span', 'handle muted small'));
  cell(node, 'holder').append(element('span', 'title'), element('span', 'handle muted small mono'));
  if (line.holder) {
    cell(node, 'action').append(button('quiet danger', 'Take away', 'Take it away from this holder', () => takeAway(line)));
  }
  return node;
}

function part({ kind }, { weight }) {
  if (kind === 'semaphore') return `${plural(weight, 'permit')} · `;
  if (kind === 'read_write') return weight === 1 ? 'reads · ' : 'writes · ';
  return '';
}

function update(node, { lock, holder, isFirst }) {
  const [name, who] = [cell(node, 'lock'), cell(node, 'holder')];
  cell(name, 'title').textContent = isFirst ? lock.name : '';
  const more = lock.holding > SHOWN ? `, ${whole(lock.holding)} have it` : '';
  cell(name, 'handle').textContent = isFirst ? `${KINDS[lock.kind]}${more}` : '';
  cell(who, 'title').textContent = holder ? holder.owner : 'nobody';
  cell(who, 'handle').textContent = holder ? `${part(lock, holder)}token ${holder.fencing_token}` : '';
  cell(node, 'held').textContent = holder ? duration(holder.held_for_ms) : '–';
  cell(node, 'left').textContent = holder ? `in ${duration(holder.remaining_ms)}` : '–';
  const oldest = lock.oldest_waiter_ms === null ? '' : `, for ${duration(lock.oldest_waiter_ms)}`;
  cell(node, 'waiting').textContent = !isFirst || lock.waiting === 0 ? '' : `${whole(lock.waiting)}${oldest}`;
}

function show() {
  $('locks-table').hidden = locks.length === 0;
  $('locks-more').hidden = next === null;
  reconcile($('locks'), locks.flatMap(lines), keyOf, create, update);
  const held = locks.filter((lock) => lock.holding > 0).length;
  const more = next === null ? '' : ' so far; there may be more';
  say(locks.length === 0 && next === null
    ? 'Nobody has or wants such a lock.'
    : `${plural(locks.length, 'lock')}, ${whole(held)} of them held${more}.`);
}

/* ---------- asking ---------- */

async function read(from) {
  asked += 1;
  const number = asked;
  $('locks-more').disabled = true;
  if (from === null) say('Looking …');
  const page = await ask(`/v1/locks?prefix=${encodeURIComponent(prefix)}${from ? `&from=${encodeURIComponent(from)}` : ''}`, { cache: 'no-store' });
  if (number !== asked) return;
  $('locks-more').disabled = false;
  if (page.problem) {
    say(page.problem, true);
    return;
  }
  const known = new Set(from === null ? [] : locks.map((lock) => `${lock.kind} ${lock.name}`));
  const fresh = page.locks.filter((lock) => !known.has(`${lock.kind} ${lock.name}`));
  locks = from === null ? fresh : [...locks, ...fresh];
  next = page.next;
  show();
}

async function lookAgain(lock) {
  const seen = await ask(path(lock), { cache: 'no-store' });
  if (seen.problem) return;
  lock.holding = seen.holders.length;
  lock.holders = seen.holders.slice(0, SHOWN);
  lock.waiting = seen.waiting;
  lock.oldest_waiter_ms = seen.waiters[0]?.waiting_for_ms ?? null;
}

// Only what is shown already: finding the others means that the server looks at all of its database.
async function follow() {
  const number = asked;
  await Promise.all(locks.slice(0, FOLLOWED).map(lookAgain));
  if (number === asked && locks.length > 0) show();
}

async function takeAway({ lock, holder }) {
  const text = `Take ${lock.name} away from ${holder.owner}? It may be at work until it hears of that: what the lock protects has to refuse its fencing token.`;
  if (!await sure(text, 'Take away')) return;
  const answer = await ask(`${path(lock)}&fencing_token=${holder.fencing_token}`, { method: 'DELETE' });
  const missed = answer.fencing_tokens?.length === 0;
  $('locks-result').textContent = answer.problem
    ?? (missed ? 'It did not have it any more.' : `Took ${lock.name} away from ${holder.owner}.`);
  $('locks-result').classList.toggle('bad', Boolean(answer.problem));
  await follow();
}

const polling = repeat(async () => {
  if (locks.length > 0) await follow();
}, PAUSE);

export const view = {
  show(query) {
    const wanted = query.prefix ?? '';
    $('locks-prefix').value = wanted;
    if (wanted !== prefix) {
      prefix = wanted;
      locks = [];
      next = null;
      $('locks-result').textContent = '';
      $('locks').replaceChildren();
      $('locks-table').hidden = true;
      read(null);
    }
    polling.start();
  },
  hide() {
    polling.stop();
    // Opened again, it looks again.
    asked += 1;
    prefix = null;
  },
};

export function listen() {
  $('locks-of').addEventListener('submit', (event) => {
    event.preventDefault();
    const wanted = $('locks-prefix').value;
    if (wanted === prefix) read(null);
    else navigate({ view: 'locks', ...(wanted && { prefix: wanted }) });
  });
  $('locks-more').addEventListener('click', () => read(next));
}
