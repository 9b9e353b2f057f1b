// The page of `quorate serve`: who may see it, and what holds its parts together.

import { $, ask, pill, send } from './console/dom.js';
import * as caches from './console/caches.js';
import * as connection from './console/connection.js';
import * as events from './console/events.js';
import * as instances from './console/instances.js';
import * as publish from './console/publish.js';
import * as limits from './console/limits.js';
import * as locks from './console/locks.js';
import * as queues from './console/queues.js';
import * as sessions from './console/sessions.js';
import * as stores from './console/stores.js';
import * as subscriptions from './console/subscriptions.js';
import * as topics from './console/topics.js';
import * as values from './console/values.js';
import * as views from './console/views.js';

let wasLive = false;

const heard = {
  opened() {
    pill($('page-state'), 'live', 'live', 'This page is connected to its server');
    subscriptions.opened(wasLive);
    wasLive = true;
  },
  lost() {
    subscriptions.lost();
    pill($('page-state'), 'offline', 'offline', 'This page has lost its server and tries to reach it again');
    pill($('backend-state'), 'unknown', 'unknown');
  },
  event(frame) {
    switch (frame.event) {
      case 'state':
        pill($('backend-state'), frame.state, `backend ${frame.state}`, frame.reason);
        events.state(frame);
        break;
      case 'message':
        subscriptions.heard(frame.subscription, frame);
        events.message(frame);
        break;
      case 'gap':
        subscriptions.heard(frame.topic, frame);
        events.gap(frame.topic, frame.reason, frame.missed);
        break;
      case 'undecodable':
        events.undecodable(frame);
        break;
      default:
        if (frame.error) $('subscribe-error').textContent = frame.error.message;
    }
  },
  async mayConnect() {
    const session = await ask('/v1/session');
    const known = session.problem || !session.required || session.authenticated;
    if (!known) start();
    return known;
  },
};

async function start() {
  const session = await ask('/v1/session');
  if (session.problem) {
    setTimeout(start, 1000);
    return;
  }
  $('version').textContent = session.version;
  $('login').hidden = session.authenticated;
  $('console').hidden = !session.authenticated;
  document.querySelector('nav').hidden = !session.authenticated;
  $('log-out').hidden = !(session.required && session.authenticated);
  if (!session.authenticated) {
    views.leave();
    pill($('page-state'), 'offline', 'logged out');
    $('token').focus();
    return;
  }
  $('backend').textContent = `State is kept in: ${session.backend}${session.namespace ? `, under ${session.namespace}` : ''}.`;
  $('hint').textContent = `curl ${location.origin}/v1/events/demo --json '{"data": {"hello": "world"}}'`;
  views.render();
  connection.connect(heard);
}

// The cookie may end while somebody only looks at the numbers.
document.addEventListener('logged-out', () => {
  if ($('login').hidden) location.reload();
});
$('login-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const answer = await send('/v1/session', JSON.stringify({ token: $('token').value }), 'application/json');
  $('login-error').textContent = answer.problem ?? '';
  if (!answer.problem) {
    $('token').value = '';
    start();
  }
});
$('log-out').addEventListener('click', async () => {
  await fetch('/v1/session', { method: 'DELETE' });
  location.reload();
});

views.define('events', { show() {}, hide() {} });
views.define('topics', topics.view);
views.define('caches', caches.view);
views.define('stores', stores.view);
views.define('sessions', sessions.view);
views.define('limits', limits.view);
views.define('locks', locks.view);
views.define('queues', queues.view);
views.define('instances', instances.view);
for (const part of [views, events, subscriptions, publish, topics, values, caches, stores, sessions, limits, locks, queues, instances]) part.listen();
start();
