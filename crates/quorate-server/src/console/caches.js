// The caches of the fleet: what is read of them, what they hold, and ending it.

import { $, ask, bytes, button, cell, duration, element, facts, plural, reconcile, repeat, row, send, sparkline } from './dom.js';
import { Keys, count, lookAt, percent, sizeText, sure } from './values.js';
import { navigate } from './views.js';

const PAUSE = 5000;         // milliseconds between two looks
const MINUTES = 60;         // that are drawn
const COLUMNS = ['cache', 'picture', 'ratio', 'rate', 'reads', 'written', 'tellers'];
const KINDS = [
  ['near_hit', 'near hit', 'answered by the process itself'],
  ['hit', 'hit', 'answered by what was kept'],
  ['stale', 'stale', 'answered by what was kept and no longer fresh'],
  ['loaded', 'loaded', 'the reader loaded it'],
  ['followed', 'followed', 'the reader waited for somebody else who loaded it'],
  ['miss', 'miss', 'there was nothing'],
];

let selected;               // a cache; null: none
let key = null;             // an entry of it
let keys;                   // its keys
let asked = 0;              // a later look at an entry makes an earlier one worthless

const path = (...parts) => `/v1/cache/${parts.map(encodeURIComponent).join('/')}`;

/* ---------- all of them ---------- */

async function look(wanted) {
  const known = await ask('/v1/cache', { cache: 'no-store' });
  if (!wanted()) return;
  $('caches-problem').textContent = known.problem ?? '';
  if (known.problem) return;
  const { caches } = known;
  $('cache-count').textContent = caches.length > 0 ? plural(caches.length, 'cache') : '';
  $('caches').closest('table').hidden = caches.length === 0;
  $('caches-empty').hidden = caches.length > 0;
  renderTotals(caches);
  reconcile($('caches'), caches, (one) => one.cache, makeRow, updateRow);
  $('cache-names').replaceChildren(...caches.map((one) => {
    const option = element('option');
    option.value = one.cache;
    return option;
  }));
  if (selected) renderFigures(caches.find((one) => one.cache === selected));
}

const hits = (reads) => reads.near_hit + reads.hit + reads.stale;
const sum = (list, of) => list.reduce((total, one) => total + of(one), 0);

// The last whole minute, or the one that is under way if it is the first.
const lastMinute = ({ minutes }) => minutes.at(-2) ?? minutes.at(-1) ?? { reads: 0, hits: 0 };

function renderTotals(caches) {
  const reads = sum(caches, (one) => one.reads.total);
  $('caches-ratio').textContent = percent(reads > 0 ? sum(caches, (one) => hits(one.reads)) / reads : null);
  $('caches-rate').textContent = count(sum(caches, (one) => lastMinute(one).reads));
  $('caches-reads').textContent = count(reads);
  $('caches-written').textContent = bytes(sum(caches, (one) => one.bytes));
  drawRatio($('caches-spark'), merged(caches));
}

function merged(caches) {
  const minutes = Array.from({ length: MINUTES }, () => ({ reads: 0, hits: 0 }));
  for (const one of caches) {
    for (const [at, minute] of one.minutes.toReversed().entries()) {
      const into = minutes[MINUTES - 1 - at];
      into.reads += minute.reads;
      into.hits += minute.hits;
    }
  }
  return minutes;
}

function makeRow(one) {
  const node = row(COLUMNS, (name) => navigate({ view: 'caches', cache: name }));
  node.querySelector('button').textContent = one.cache;
  cell(node, 'picture').append(sparkline(`Hit ratio of ${one.cache} over the last hour`));
  return node;
}

function updateRow(node, one) {
  drawRatio(node.querySelector('svg'), one.minutes);
  cell(node, 'ratio').textContent = percent(one.hit_ratio);
  cell(node, 'rate').textContent = count(lastMinute(one).reads);
  cell(node, 'reads').textContent = count(one.reads.total);
  cell(node, 'written').textContent = bytes(one.bytes);
  cell(node, 'written').title = plural(one.values, 'value');
  cell(node, 'tellers').textContent = one.instances;
  mark(node);
}

function mark(node) {
  if (node.dataset.key === selected) node.setAttribute('aria-current', 'true');
  else node.removeAttribute('aria-current');
}

/* ---------- pictures ---------- */

// Where a minute is drawn: the newest on the right, whatever there is before it.
const across = (at, length) => 2 + (MINUTES - length + at) * 236 / (MINUTES - 1);

// The share of reads that were hits. A minute without a read has none: the line is broken there.
function drawRatio(svg, minutes) {
  let path = '';
  let follows = false;
  for (const [at, { reads, hits: found }] of minutes.entries()) {
    if (reads > 0) {
      const x = across(at, minutes.length).toFixed(1);
      const y = (46 - 44 * found / reads).toFixed(1);
      // A minute alone is a dot.
      path += follows ? `L${x},${y}` : `M${x},${y}h.01`;
    }
    follows = reads > 0;
  }
  svg.querySelector('.line').setAttribute('d', path);
}

// A bar for the reads of each minute, and in it one for the hits.
function drawReads(svg, minutes) {
  const top = Math.max(1, ...minutes.map((minute) => minute.reads));
  const draw = (name, of) => {
    const bars = minutes.map((minute, at) => {
      const height = 46 * of(minute) / top;
      return height > 0 ? `M${(across(at, minutes.length) - 1.5).toFixed(1)},48v-${height.toFixed(1)}h3v${height.toFixed(1)}Z` : '';
    });
    svg.querySelector(name).setAttribute('d', bars.join(''));
  };
  draw('.area', (minute) => minute.reads);
  draw('.line', (minute) => minute.hits);
}

/* ---------- one cache ---------- */

function open(cache) {
  selected = cache;
  for (const node of $('caches').children) mark(node);
  $('cache-detail').hidden = cache === null;
  $('cache-hint').hidden = cache !== null;
  $('cache-figures').hidden = true;
  $('cache-result').textContent = '';
  keys.clear();
  if (cache === null) return;
  $('open-cache-name').value = cache;
  $('cache-name').textContent = cache;
  $('cache-glob').value = '*';
}

function renderFigures(one) {
  $('cache-figures').hidden = !one;
  $('cache-untold').hidden = Boolean(one);
  if (!one) return;
  drawReads($('cache-chart'), one.minutes);
  const { total } = one.reads;
  const kinds = KINDS.filter(([kind]) => one.reads[kind] > 0);
  reconcile($('cache-kinds'), kinds, ([kind]) => kind, makeKind, (node, [kind, name, title]) => {
    const share = one.reads[kind] / total;
    node.title = `${name}: ${title}`;
    cell(node, 'kind').textContent = name;
    cell(node, 'number').textContent = `${count(one.reads[kind])}, ${percent(share)}`;
    node.style.setProperty('--share', `${100 * share}%`);
  });
  facts($('cache-facts'), [
    ['Hit ratio', percent(one.hit_ratio)],
    ['Written', `${plural(one.values, 'value')}, ${bytes(one.bytes)}`],
    ['Undecodable', one.undecodable || null],
    ['Too large', one.oversized || null],
    ['Told by', plural(one.instances, 'instance')],
  ]);
  renderHottest(one);
}

function makeKind([kind]) {
  const node = element('li', `share ${kind}`);
  node.append(element('span', 'kind'), element('span', 'number'));
  return node;
}

function renderHottest({ hottest }) {
  const note = hottest === null
    ? 'No instance tells its keys. Services do with tell_caches = "keys".'
    : 'Nothing was read in the last minutes.';
  $('hottest-note').textContent = hottest?.length ? '' : note;
  const most = Math.max(1, ...(hottest ?? []).map((one) => one.reads));
  reconcile($('hottest'), hottest ?? [], (one) => one.key, makeHot, (node, one) => {
    const error = one.error >= 1 ? `, at most ${count(one.error)} too many` : '';
    node.title = `About ${count(one.reads)} reads over the last ten minutes${error}`;
    cell(node, 'number').textContent = count(one.reads);
    node.style.setProperty('--share', `${100 * one.reads / most}%`);
  });
}

function makeHot(one) {
  const node = element('li', 'share');
  node.append(button('name', one.key, '', () => choose(one.key)), element('span', 'number'));
  return node;
}

/* ---------- one entry ---------- */

const choose = (name) => navigate({ view: 'caches', cache: selected, key: name });

async function openEntry(name) {
  key = name;
  keys.mark(name);
  asked += 1;
  const number = asked;
  $('cache-entry').hidden = name === null;
  if (name === null) return;
  $('cache-key').textContent = name;
  $('cache-key-problem').textContent = '';
  const entry = await lookAt(`${path(selected, name)}?stale=true`);
  if (number !== asked) return;
  const there = !entry.problem;
  $('cache-key-problem').textContent = entry.problem ?? '';
  for (const id of ['cache-remove', 'cache-value', 'cache-tags']) $(id).hidden = !there;
  facts($('cache-key-facts'), there ? [
    ['Fresh', entry.left > 0 ? `for ${duration(entry.left)}` : 'no more: kept for when loading fails'],
    ['Stored', entry.age === null ? null : `${duration(entry.age)} ago`],
    ['Size', sizeText(entry)],
  ] : []);
  $('cache-value').textContent = entry.text ?? '';
  $('cache-tags').replaceChildren(...(entry.tags ?? []).map((tag) => {
    const item = element('li');
    item.append(button('', tag, 'Put this tag into the form below', () => {
      $('invalidate-tags').value = tag;
      $('invalidate-tags').focus();
    }));
    return item;
  }));
}

async function remove() {
  if (!await sure(`Remove "${key}" from the cache ${selected}? Whoever loads it now does so in vain.`, 'Remove')) return;
  const answer = await ask(path(selected, key), { method: 'DELETE' });
  say('cache-result', answer, answer.deleted ? 'Removed.' : 'It was not there any more.');
  openEntry(key);
}

/* ---------- ending much ---------- */

function say(id, answer, done) {
  $(id).textContent = answer.problem ?? done;
  $(id).classList.toggle('bad', Boolean(answer.problem));
}

async function clear() {
  const glob = $('cache-glob').value;
  const what = glob === '*' ? 'every entry' : `every entry that matches ${glob}`;
  if (!await sure(`Remove ${what} of the cache ${selected}? On a server this looks at every key of the database.`, 'Remove')) return;
  $('cache-result').textContent = 'Removing …';
  const answer = await ask(`${path(selected)}?match=${encodeURIComponent(glob)}`, { method: 'DELETE' });
  say('cache-result', answer, `Removed ${plural(answer.removed, 'entry').replace('entrys', 'entries')}.`);
  keys.clear();
  if (key !== null) openEntry(key);
}

async function invalidate() {
  const tags = $('invalidate-tags').value.split(',').map((tag) => tag.trim()).filter(Boolean);
  if (tags.length === 0) return;
  if (!await sure(`End every entry, of whatever cache, that has ${tags.length === 1 ? 'the tag' : 'one of the tags'} ${tags.join(', ')}?`, 'Invalidate')) return;
  const answer = await send('/v1/cache-tags/invalidate', JSON.stringify({ tags }), 'application/json');
  say('invalidate-result', answer, `Nobody reads what had ${tags.join(', ')} any more.`);
  if (key !== null) openEntry(key);
}

const polling = repeat(look, PAUSE);

export const view = {
  show(query) {
    const cache = query.cache || null;
    if (cache !== selected) open(cache);
    openEntry(cache === null ? null : query.key || null);
    polling.start();
  },
  hide() {
    polling.stop();
    asked += 1;
    selected = undefined;
  },
};

export function listen() {
  keys = new Keys({ note: $('cache-keys-note'), list: $('cache-keys'), more: $('cache-keys-more'), open: choose });
  const submits = (form, action) => $(form).addEventListener('submit', (event) => {
    event.preventDefault();
    action();
  });
  submits('open-cache', () => {
    const cache = $('open-cache-name').value.trim();
    if (cache) navigate({ view: 'caches', cache });
  });
  submits('cache-list', () => keys.begin(`${path(selected)}?match=${encodeURIComponent($('cache-glob').value)}`));
  submits('invalidate', invalidate);
  $('cache-clear').addEventListener('click', clear);
  $('cache-remove').addEventListener('click', remove);
}
