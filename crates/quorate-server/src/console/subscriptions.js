// What this page is subscribed to. Kept in the address, so that a page can be shared and reloaded.

import { $, button, element } from './dom.js';
import { request } from './connection.js';
import { gap } from './events.js';

// By topic: { count, active, timer, position }.
const subscriptions = new Map();

function remember() {
  const topics = [...subscriptions.keys()].map(encodeURIComponent).join('&');
  history.replaceState(null, '', `${location.pathname}${location.search}#${topics || 'none'}`);
}

function remembered() {
  const hash = location.hash.slice(1);
  if (hash === 'none') return [];
  return hash ? hash.split('&').map(decoded) : ['*'];
}

// People edit addresses, too.
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function render() {
  $('subscriptions').replaceChildren(...[...subscriptions].map(([topic, subscription]) => {
    const item = element('li', subscription.active ? '' : 'waiting');
    item.dataset.topic = topic;
    const count = element('span', 'muted small', subscription.active ? String(subscription.count) : 'waiting');
    count.dataset.count = '';
    const remove = button('', '×', `Unsubscribe from ${topic}`, () => unsubscribe(topic));
    item.append(element('code', '', topic), count, remove);
    return item;
  }));
}

export function subscribe(topic) {
  if (subscriptions.has(topic)) return;
  subscriptions.set(topic, { count: 0, active: false });
  remember();
  render();
  demand(topic);
}

function demand(topic) {
  const after = subscriptions.get(topic).position;
  request(after ? { subscribe: topic, after } : { subscribe: topic }, (error, answer) => {
    const subscription = subscriptions.get(topic);
    if (!subscription) return;
    subscription.active = !error;
    if (error) {
      $('subscribe-error').textContent = `${topic}: ${error.message}`;
      if (error.retryable) {
        subscription.timer = setTimeout(() => subscriptions.has(topic) && demand(topic), error.retry_after_ms ?? 1000);
      } else {
        subscriptions.delete(topic);
        remember();
      }
    } else {
      subscription.position = answer.position;
      $('subscribe-error').textContent = '';
    }
    render();
  });
}

function unsubscribe(topic) {
  clearTimeout(subscriptions.get(topic)?.timer);
  subscriptions.delete(topic);
  remember();
  render();
  request({ unsubscribe: topic }, () => {});
}

// There is a connection; `again`: after another.
export function opened(again) {
  for (const [topic, { position }] of subscriptions) {
    // A kept topic goes on where it was; whether something is missing says the server.
    if (again && !position) gap(topic, 'page', null);
    demand(topic);
  }
}

export function lost() {
  for (const subscription of subscriptions.values()) {
    subscription.active = false;
    clearTimeout(subscription.timer);
  }
  render();
}

// A message or a gap came.
export function heard(topic, frame) {
  const subscription = subscriptions.get(topic);
  if (!subscription) return;
  if (frame.position) subscription.position = frame.position;
  if (frame.event !== 'message') return;
  subscription.count += 1;
  const item = document.querySelector(`#subscriptions li[data-topic="${CSS.escape(topic)}"] [data-count]`);
  if (item) item.textContent = subscription.count.toLocaleString('en');
}

export function listen() {
  $('subscribe-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const topic = $('subscribe-topic').value.trim();
    $('subscribe-topic').value = '';
    if (topic) subscribe(topic);
  });
  for (const topic of remembered()) subscriptions.set(topic, { count: 0, active: false });
  render();
}
