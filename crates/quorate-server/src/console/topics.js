// The topics that clients of the instance are subscribed to, and one of them: what it is, who is there.

import {
  $, Trace, ask, bytes, cell, duration, element, facts, plural, rate, reconcile, repeat, row, sparkline, topicPath, whole,
} from './dom.js';
import * as history from './history.js';
import * as publish from './publish.js';
import { subscribe } from './subscriptions.js';
import { navigate } from './views.js';

const PAUSE = 2000;         // milliseconds between two looks
const MEMORY = 60;          // looks that the pictures remember
const COLUMNS = ['topic', 'picture', 'rate', 'clients', 'messages', 'dropped', 'kept'];

const traces = new Map();   // by topic
const all = new Trace(MEMORY);
let selected;               // null: none

export const keptText = ({ time_ms, messages, bytes: size }) =>
  `${duration(time_ms)}, ${plural(messages, 'message')}, ${bytes(size)}`;

const isPattern = (topic) => /[*?[\\]/.test(topic);

async function look(wanted) {
  const filter = $('topic-filter').value.trim();
  const hub = await ask(`/v1/hub?limit=100&filter=${encodeURIComponent(filter)}`);
  if (!wanted()) return;
  $('topics-problem').textContent = hub.problem ?? '';
  if (!hub.problem) {
    renderTotals(hub);
    renderTopics(hub, filter);
  }
  if (selected) await lookAt(selected, hub, wanted);
}

function renderTotals(hub) {
  all.push(hub.messages_per_second);
  all.draw($('hub-spark'));
  $('hub-rate').textContent = rate(hub.messages_per_second);
  $('hub-clients').textContent = whole(hub.clients);
  $('hub-subscriptions').textContent = whole(hub.subscriptions);
  $('hub-dropped').textContent = whole(hub.dropped);
  $('hub-dropped').closest('.tile').classList.toggle('warn', hub.dropped > 0);
}

function renderTopics(hub, filter) {
  const { topics, matching } = hub;
  const count = topics.length < matching
    ? `the busiest ${whole(topics.length)} of ${whole(matching)}: filter to see others`
    : plural(matching, filter ? 'match' : 'topic').replace('matchs', 'matches');
  $('topic-count').textContent = count;
  $('topics-empty').hidden = topics.length > 0;
  $('topics-empty').textContent = filter ? 'No topic that is subscribed to contains this.' : 'No client is subscribed to anything.';
  $('topics').closest('table').hidden = topics.length === 0;
  for (const known of traces.keys()) {
    if (!topics.some((one) => one.topic === known)) traces.delete(known);
  }
  reconcile($('topics'), topics, (one) => one.topic, makeRow, updateRow);
  $('kept-names').replaceChildren(...hub.kept.map((kept) => {
    const option = element('option');
    option.value = kept.topic;
    return option;
  }));
}

function makeRow(topic) {
  const node = row(COLUMNS, (name) => navigate({ view: 'topics', topic: name }));
  node.querySelector('button').textContent = topic.topic;
  cell(node, 'picture').append(sparkline(`Messages per second of ${topic.topic}`));
  return node;
}

function updateRow(node, topic) {
  const trace = traces.get(topic.topic) ?? new Trace(MEMORY);
  traces.set(topic.topic, trace);
  trace.push(topic.messages_per_second);
  trace.draw(node.querySelector('svg'));
  cell(node, 'rate').textContent = rate(topic.messages_per_second);
  cell(node, 'clients').textContent = whole(topic.clients);
  cell(node, 'messages').textContent = whole(topic.messages);
  cell(node, 'dropped').textContent = whole(topic.dropped);
  cell(node, 'dropped').classList.toggle('warn', topic.dropped > 0);
  cell(node, 'kept').textContent = topic.keep ? duration(topic.keep.time_ms) : '';
  cell(node, 'kept').title = topic.keep ? `${keptText(topic.keep)}; now at ${topic.position ?? 'no message'}` : '';
  mark(node);
}

function mark(node) {
  if (node.dataset.key === selected) node.setAttribute('aria-current', 'true');
  else node.removeAttribute('aria-current');
}

/* ---------- one topic ---------- */

function open(topic) {
  selected = topic;
  for (const node of $('topics').children) mark(node);
  $('topic-detail').hidden = topic === null;
  $('topic-hint').hidden = topic !== null;
  if (topic === null) return;
  $('open-topic-name').value = topic;
  $('topic-name').textContent = topic;
  $('topic-facts').replaceChildren();
  $('present').replaceChildren();
  $('present-count').textContent = '';
  for (const name of ['topic-present', 'topic-history', 'topic-publish']) $(name).hidden = isPattern(topic);
  history.open(isPattern(topic) ? null : topic);
}

async function lookAt(topic, hub, wanted) {
  const here = hub.topics?.find((one) => one.topic === topic);
  const name = topic.split(':')[0];
  const keep = here?.keep ?? hub.kept?.find((kept) => kept.topic === name)?.keep;
  facts($('topic-facts'), [
    ['Clients here', here ? whole(here.clients) : 'none'],
    ['Messages', here ? `${whole(here.messages)} since the first of them came` : null],
    ['Dropped', here ? whole(here.dropped) : null],
    ['Kept', isPattern(topic) ? null : keep ? keptText(keep) : 'no'],
    ['Position', here?.position],
  ]);
  if (isPattern(topic)) return;
  const presence = await ask(`/v1/presence/${topicPath(topic)}`);
  if (!wanted() || selected !== topic) return;
  renderPresence(presence);
}

function renderPresence(presence) {
  if (presence.problem) {
    $('present-count').textContent = presence.problem;
    $('present').replaceChildren();
    return;
  }
  const { count, members } = presence;
  if (count === 0) $('present-count').textContent = 'nobody';
  else $('present-count').textContent = members ? whole(count) : `${whole(count)}, too many to name`;
  const name = (member) => `${member.instance} ${member.client}`;
  reconcile($('present'), members ?? [], name, () => element('li'), (node, member) => {
    node.textContent = member.user ?? member.client;
    node.title = `${member.client} on instance ${member.instance}${member.info ? `\n${JSON.stringify(member.info)}` : ''}`;
  });
}

const polling = repeat(look, PAUSE);

export const view = {
  show(query) {
    const topic = query.topic || null;
    if (topic !== selected) open(topic);
    polling.start();
  },
  hide() {
    polling.stop();
    // Who comes back wants to see what is there then.
    selected = undefined;
  },
};

export function listen() {
  history.listen();
  $('topic-filter').addEventListener('input', () => polling.start());
  $('open-topic').addEventListener('submit', (event) => {
    event.preventDefault();
    const topic = $('open-topic-name').value.trim();
    if (!topic) return;
    selected = undefined;
    navigate({ view: 'topics', topic });
  });
  $('topic-subscribe').addEventListener('click', () => {
    const topic = selected;
    navigate({});
    subscribe(topic);
  });
  $('topic-publish').addEventListener('click', () => {
    const topic = selected;
    navigate({});
    publish.prepare(topic);
  });
}
