// The instances of the fleet, the clients of the one that answers, and one client.

import {
  $, Trace, ask, button, cell, duration, element, facts, offset, pill, plural, rate, reconcile, repeat, row, sparkline, whole,
} from './dom.js';
import { clientId } from './connection.js';
import { navigate } from './views.js';

const PAUSE = 2000;         // milliseconds between two looks
const MEMORY = 60;          // looks that the pictures remember

const traces = new Map();   // by instance
let selected;               // a client; null: none

async function look(wanted) {
  const filter = $('client-filter').value.trim();
  const [fleet, list, one] = await Promise.all([
    ask('/v1/instances'),
    ask(`/v1/hub/clients?limit=100&filter=${encodeURIComponent(filter)}`),
    selected ? ask(`/v1/hub/clients/${encodeURIComponent(selected)}`) : null,
  ]);
  if (!wanted()) return;
  $('instances-problem').textContent = fleet.problem ?? '';
  $('clients-problem').textContent = list.problem ?? '';
  if (!fleet.problem) renderInstances(fleet.instances);
  if (!list.problem) renderClients(list, filter);
  if (one) renderClient(one);
}

/* ---------- instances ---------- */

const INSTANCE = ['instance', 'state', 'clients', 'subscriptions', 'picture', 'rate', 'dropped', 'since'];

function renderInstances(instances) {
  for (const known of traces.keys()) {
    if (!instances.some((one) => one.id === known)) traces.delete(known);
  }
  const most = Math.max(1, ...instances.map((one) => one.clients));
  $('instance-count').textContent = plural(instances.length, 'instance');
  reconcile($('instances'), instances, (one) => one.id, makeInstance, (node, one) => updateInstance(node, one, most));
}

function makeInstance(one) {
  const node = row(INSTANCE);
  const name = cell(node, 'instance');
  const title = element('span', 'title', one.service || 'quorate');
  name.append(title, element('span', 'muted small', one.host ? `${one.host}, ${one.listen}` : one.id));
  if (one.own) title.append(element('span', 'tag', 'this one'));
  name.title = `Instance ${one.id}, process ${one.pid}, version ${one.version}`;
  const state = element('span', 'pill');
  state.append(element('i'), element('span'));
  cell(node, 'state').append(state);
  cell(node, 'picture').append(sparkline(`Messages per second of ${one.listen}`));
  return node;
}

function updateInstance(node, one, most) {
  const trace = traces.get(one.id) ?? new Trace(MEMORY);
  traces.set(one.id, trace);
  trace.push(one.messages_per_second);
  trace.draw(node.querySelector('svg'));
  pill(cell(node, 'state').firstElementChild, one.state, one.state || 'unknown');
  cell(node, 'clients').textContent = whole(one.clients);
  cell(node, 'clients').style.setProperty('--share', `${100 * one.clients / most}%`);
  cell(node, 'subscriptions').textContent = whole(one.subscriptions);
  cell(node, 'rate').textContent = rate(one.messages_per_second);
  cell(node, 'dropped').textContent = whole(one.dropped);
  cell(node, 'dropped').classList.toggle('warn', one.dropped > 0);
  const runs = Date.now() - Date.parse(one.started_at);
  cell(node, 'since').textContent = Number.isNaN(runs) ? '' : duration(Math.max(0, runs));
  cell(node, 'since').title = one.started_at;
}

/* ---------- clients ---------- */

const CLIENT = ['client', 'from', 'connected', 'topics', 'backlog', 'dropped'];

function renderClients({ clients, matching }, filter) {
  $('client-count').textContent = clients.length < matching
    ? `the longest connected ${whole(clients.length)} of ${whole(matching)}: filter to see others`
    : `${plural(matching, 'client')}${filter ? ' found' : ''}`;
  $('clients').closest('table').hidden = clients.length === 0;
  $('clients-empty').hidden = clients.length > 0;
  reconcile($('clients'), clients, (one) => one.client, makeClient, updateClient);
}

function makeClient(one) {
  const node = row(CLIENT, (id) => navigate({ view: 'instances', client: id }));
  node.querySelector('button').textContent = one.client;
  return node;
}

function updateClient(node, one) {
  const from = [one.user, one.transport, one.address].filter((part) => part !== null);
  cell(node, 'from').textContent = one.client === clientId ? `this page, ${one.transport}` : from.join(', ');
  cell(node, 'connected').textContent = duration(one.connected_ms);
  cell(node, 'topics').textContent = whole(one.subscribed);
  cell(node, 'backlog').textContent = whole(one.backlog);
  cell(node, 'dropped').textContent = whole(one.dropped);
  cell(node, 'dropped').classList.toggle('warn', one.dropped > 0);
  mark(node);
}

function mark(node) {
  if (node.dataset.key === selected) node.setAttribute('aria-current', 'true');
  else node.removeAttribute('aria-current');
}

/* ---------- one client ---------- */

function open(client) {
  selected = client;
  for (const node of $('clients').children) mark(node);
  $('client-detail').hidden = client === null;
  $('client-hint').hidden = client !== null;
  $('client-name').textContent = client ?? '';
  $('client-problem').textContent = '';
  $('client-facts').replaceChildren();
  $('client-subscriptions').replaceChildren();
  $('client-subscriptions').closest('table').hidden = true;
}

function renderClient(one) {
  if (one.problem) {
    $('client-problem').textContent = one.status === 404
      ? 'This client has left, or is connected to another instance.'
      : one.problem;
    return;
  }
  $('client-problem').textContent = '';
  facts($('client-facts'), [
    ['User', one.user],
    ['From', one.address],
    ['By', one.transport === 'ws' ? 'WebSocket' : 'Server-Sent Events'],
    ['Connected', duration(one.connected_ms)],
    ['Waiting', plural(one.backlog, 'message')],
    ['Dropped', plural(one.dropped, 'message')],
  ]);
  const table = $('client-subscriptions');
  table.closest('table').hidden = one.subscriptions.length === 0;
  reconcile(table, one.subscriptions, (it) => it.topic, makeSubscription, (node, it) => {
    cell(node, 'position').textContent = it.position ? `after ${offset(it.position)}` : 'not kept';
    cell(node, 'position').title = it.position ?? '';
    cell(node, 'backlog').textContent = whole(it.backlog);
    cell(node, 'state').textContent = it.catching_up ? 'catching up' : 'live';
    cell(node, 'state').classList.toggle('warn', it.catching_up);
  });
}

function makeSubscription(it) {
  const node = row(['topic', 'position', 'backlog', 'state']);
  const look = () => navigate({ view: 'topics', topic: it.topic });
  node.firstElementChild.append(button('name', it.topic, 'Look at this topic', look));
  return node;
}

const polling = repeat(look, PAUSE);

export const view = {
  show(query) {
    const client = query.client || null;
    if (client !== selected) open(client);
    polling.start();
  },
  hide() {
    polling.stop();
    selected = undefined;
  },
};

export function listen() {
  $('client-filter').addEventListener('input', () => polling.start());
}
