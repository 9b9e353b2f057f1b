// The limiters of the fleet: how often they allow and refuse, whom, and forgetting what was counted of a key.

import { $, ask, button, cell, element, facts, plural, reconcile, repeat, row, send, sparkline } from './dom.js';
import { count, percent, sure } from './values.js';
import { navigate } from './views.js';

const PAUSE = 5000;         // milliseconds between two looks
const MINUTES = 60;         // that are drawn
const COLUMNS = ['limiter', 'picture', 'ratio', 'rate', 'asked', 'denied', 'tellers'];

let selected;               // a limiter, as `idOf` writes it; null: none
let policies = [];          // lists of those that it is used with

// There may be a limiter and a concurrency limit of one name. No name has a colon.
const SLOTS = ':slots';
const idOf = ({ limiter, kind }) => (kind === 'concurrency' ? limiter + SLOTS : limiter);
const nameOf = (id) => id.replace(SLOTS, ', slots');

/* ---------- all of them ---------- */

async function look(wanted) {
  const known = await ask('/v1/limits', { cache: 'no-store' });
  if (!wanted()) return;
  $('limits-problem').textContent = known.problem ?? '';
  if (known.problem) return;
  const { limits } = known;
  $('limit-count').textContent = limits.length > 0 ? plural(limits.length, 'limiter') : '';
  $('limits').closest('table').hidden = limits.length === 0;
  $('limits-empty').hidden = limits.length > 0;
  renderTotals(limits);
  reconcile($('limits'), limits, idOf, makeRow, updateRow);
  if (selected) renderFigures(limits.find((one) => idOf(one) === selected));
}

const sum = (list, of) => list.reduce((total, one) => total + of(one), 0);

// The last whole minute, or the one that is under way if it is the first.
const lastMinute = ({ minutes }) => minutes.at(-2) ?? minutes.at(-1) ?? { asked: 0, denied: 0 };

function renderTotals(limits) {
  const asked = sum(limits, (one) => one.decisions.asked);
  const denied = sum(limits, (one) => one.decisions.denied);
  $('limits-rate').textContent = count(sum(limits, (one) => lastMinute(one).asked));
  $('limits-refused').textContent = count(sum(limits, (one) => lastMinute(one).denied));
  $('limits-asked').textContent = count(asked);
  $('limits-denied').textContent = count(denied);
  $('limits-ratio').textContent = asked > 0 ? percent(denied / asked) : '';
  drawRequests($('limits-spark'), merged(limits));
}

function merged(limits) {
  const minutes = Array.from({ length: MINUTES }, () => ({ asked: 0, denied: 0 }));
  for (const one of limits) {
    for (const [at, minute] of one.minutes.toReversed().entries()) {
      const into = minutes[MINUTES - 1 - at];
      into.asked += minute.asked;
      into.denied += minute.denied;
    }
  }
  return minutes;
}

function makeRow(one) {
  const node = row(COLUMNS, (id) => navigate({ view: 'limits', limiter: id }));
  node.querySelector('button').textContent = nameOf(idOf(one));
  cell(node, 'picture').append(sparkline(`Requests to ${nameOf(idOf(one))} over the last hour, and those of them that were denied`));
  return node;
}

function updateRow(node, one) {
  drawRequests(node.querySelector('svg'), one.minutes);
  cell(node, 'ratio').textContent = percent(one.denied_ratio);
  const { asked, denied } = lastMinute(one);
  cell(node, 'rate').textContent = count(asked);
  cell(node, 'rate').title = `${count(asked - denied)} allowed, ${count(denied)} denied`;
  cell(node, 'asked').textContent = count(one.decisions.asked);
  cell(node, 'denied').textContent = count(one.decisions.denied);
  cell(node, 'tellers').textContent = one.instances;
  mark(node);
}

function mark(node) {
  if (node.dataset.key === selected) node.setAttribute('aria-current', 'true');
  else node.removeAttribute('aria-current');
}

/* ---------- pictures ---------- */

// A bar for the requests of each minute, the newest on the right, and in it one for those that were denied.
function drawRequests(svg, minutes) {
  const top = Math.max(1, ...minutes.map((minute) => minute.asked));
  const draw = (name, of) => {
    const bars = minutes.map((minute, at) => {
      const height = (46 * of(minute) / top).toFixed(1);
      const x = 2 + (MINUTES - minutes.length + at) * 236 / (MINUTES - 1);
      return of(minute) > 0 ? `M${(x - 1.5).toFixed(1)},48v-${height}h3v${height}Z` : '';
    });
    svg.querySelector(name).setAttribute('d', bars.join(''));
  };
  draw('.area', (minute) => minute.asked);
  draw('.line', (minute) => minute.denied);
}

/* ---------- one limiter ---------- */

function open(limiter) {
  selected = limiter;
  policies = [];
  for (const node of $('limits').children) mark(node);
  $('limit-detail').hidden = limiter === null;
  $('limit-hint').hidden = limiter !== null;
  $('limit-figures').hidden = true;
  $('limit-untold').hidden = true;
  $('limit-result').textContent = '';
  $('limit-hottest').replaceChildren();
  $('limit-name').textContent = nameOf(limiter ?? '');
}

function renderFigures(one) {
  $('limit-figures').hidden = !one;
  $('limit-untold').hidden = Boolean(one);
  if (!one) return;
  policies = one.policies;
  drawRequests($('limit-chart'), one.minutes);
  const { decisions } = one;
  facts($('limit-facts'), [
    ['Denied', `${count(decisions.denied)} of ${count(decisions.asked)}, ${percent(one.denied_ratio)}`],
    ['Only counted', decisions.shadow ? `${count(decisions.shadow)} would have been denied` : null],
    ['Not counted', decisions.open ? `${count(decisions.open)} allowed without the home` : null],
    ['By its share', decisions.share ? `${count(decisions.share)} decided without the home` : null],
    ...policies.map((list, at) => [at === 0 ? 'Policies' : 'or', list.join('  ')]),
    ['Told by', plural(one.instances, 'instance')],
  ]);
  renderDenials(one);
  renderHottest(one);
  $('limit-reset').hidden = policies.length === 0;
}

function renderDenials({ denied_by: deniedBy, decisions }) {
  const denials = Object.entries(deniedBy).sort((one, two) => two[1] - one[1]);
  $('limit-denials').hidden = denials.length === 0;
  reconcile($('limit-policies'), denials, ([policy]) => policy, makeShare, (node, [policy, denied]) => {
    cell(node, 'kind').textContent = policy;
    cell(node, 'number').textContent = `${count(denied)}, ${percent(denied / decisions.denied)}`;
    node.style.setProperty('--share', `${100 * denied / decisions.denied}%`);
  });
}

function makeShare() {
  const node = element('li', 'share denied');
  node.append(element('span', 'kind mono'), element('span', 'number'));
  return node;
}

const keyOf = (hot) => JSON.stringify([hot.action, hot.key]);

function renderHottest({ hottest }) {
  const note = hottest === null
    ? 'No instance tells its keys. Services do with tell_limits = "keys".'
    : 'Nobody asked in the last minutes.';
  $('limit-hottest-note').textContent = hottest?.length ? '' : note;
  const most = Math.max(1, ...(hottest ?? []).map((one) => one.asked));
  reconcile($('limit-hottest'), hottest ?? [], keyOf, makeHot, (node, one) => {
    const error = one.error >= 1 ? `, at most ${count(one.error)} too many` : '';
    node.title = `About ${count(one.asked)} requests over the last ten minutes${error}; ${count(one.denied)} of them denied`;
    cell(node, 'number').textContent = `${count(one.asked)} asked, ${count(one.denied)} denied`;
    cell(node, 'number').classList.toggle('bad', one.denied >= 1);
    node.style.setProperty('--share', `${100 * one.asked / most}%`);
    node.style.setProperty('--part', `${100 * Math.min(one.denied, one.asked) / most}%`);
  });
}

function makeHot(one) {
  const node = element('li', 'share parted');
  const name = button('name', one.key, 'Put this key into the form below', () => {
    $('limit-key').value = one.key;
    $('limit-action').value = one.action ?? '';
    $('limit-key').focus();
  });
  if (one.action) name.append(element('span', 'muted', ` ${one.action}`));
  node.append(name, element('span', 'number'));
  return node;
}

/* ---------- forgetting a key ---------- */

async function reset() {
  // As it is now: while somebody makes up his mind, another limiter may be chosen, and its figures come.
  const [limiter, lists, key] = [selected, policies, $('limit-key').value];
  const action = $('limit-action').value.trim();
  const what = action ? `"${key}", action ${action},` : `"${key}"`;
  if (!await sure(`Forget what ${limiter} has counted of ${what} and lift a block? It may then ask as often as somebody new.`, 'Reset')) return;
  const path = `/v1/limits/${encodeURIComponent(limiter)}/${encodeURIComponent(key)}/reset`;
  // Each list of policies counts in keys of its own.
  const answers = await Promise.all(lists.map((list) => {
    const body = { policies: list, ...(action && { action }) };
    return send(path, JSON.stringify(body), 'application/json');
  }));
  if (limiter !== selected) return;
  const problem = answers.find((answer) => answer.problem)?.problem;
  const done = answers.some((answer) => answer.done) ? `Forgot ${key}.` : `Nothing was counted of ${key}.`;
  $('limit-result').textContent = problem ?? done;
  $('limit-result').classList.toggle('bad', Boolean(problem));
}

const polling = repeat(look, PAUSE);

export const view = {
  show(query) {
    const limiter = query.limiter || null;
    if (limiter !== selected) open(limiter);
    polling.start();
  },
  hide() {
    polling.stop();
    selected = undefined;
  },
};

export function listen() {
  $('limit-reset').addEventListener('submit', (event) => {
    event.preventDefault();
    reset();
  });
}
