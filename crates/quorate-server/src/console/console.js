// The page of `quorate serve`. It speaks the protocol of docs/protocol.md and nothing else.

const SHOWN = 400;          // rows kept in the list; the counters go on
const SECONDS = 120;        // width of the sparkline
const FIRST_DELAY = 300;    // milliseconds before the first reconnect; doubles
const LONGEST_DELAY = 10_000;

const $ = (id) => document.getElementById(id);
const element = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};

/* ---------- what is counted and shown ---------- */

const totals = { received: 0, gaps: 0, missed: 0, unknownGaps: 0, undecodable: 0 };
const perSecond = new Array(SECONDS).fill(0);
let thisSecond = 0;
let paused = false;
let queue = [];             // rows waiting for the next frame
let scheduled = false;

const REASONS = {
  reconnected: 'The connection to the backend was interrupted; what was published meanwhile did not arrive',
  lost: 'Messages were lost on the way',
  buffer_full: 'This page was slower than the messages came; the oldest were dropped',
  page: 'This page was disconnected from its server; what was published meanwhile did not arrive',
};

function clock(timestamp) {
  const date = timestamp ? new Date(timestamp) : new Date();
  const pad = (number, width = 2) => String(number).padStart(width, '0');
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}.${pad(date.getMilliseconds(), 3)}`;
}

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

function messageRow(frame) {
  return () => {
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
  };
}

function noteRow(kind, topic, text) {
  const time = clock();
  return () => {
    const item = element('li', kind);
    const note = element('div', 'note');
    note.append(element('time', '', time), element('span', 'topic', topic), element('span', '', text));
    item.append(note);
    return item;
  };
}

function gap(topic, reason, missed) {
  totals.gaps += 1;
  if (typeof missed === 'number') totals.missed += missed;
  else totals.unknownGaps += 1;
  const count = typeof missed === 'number' ? `${missed.toLocaleString('en')} missing` : 'number unknown';
  show(noteRow('gap', topic, `Gap: ${REASONS[reason] ?? reason} (${count}).`));
}

function tick() {
  perSecond.push(thisSecond);
  perSecond.shift();
  $('rate').textContent = thisSecond.toLocaleString('en');
  thisSecond = 0;
  const top = Math.max(4, ...perSecond);
  const points = perSecond.map((value, at) =>
    `${(at * 240 / (SECONDS - 1)).toFixed(1)},${(47 - 44 * value / top).toFixed(1)}`);
  $('spark').querySelector('.line').setAttribute('d', `M${points.join('L')}`);
  $('spark').querySelector('.area').setAttribute('d', `M0,48L${points.join('L')}L240,48Z`);
}

function pill(id, state, text, title) {
  const node = $(id);
  node.dataset.state = state;
  node.lastElementChild.textContent = text;
  if (title) node.title = title;
}

/* ---------- subscriptions ---------- */

// By topic: { count, active, timer }. Kept in the address, so that a page can be shared and reloaded.
const subscriptions = new Map();

function remember() {
  const topics = [...subscriptions.keys()].map(encodeURIComponent).join('&');
  history.replaceState(null, '', topics ? `#${topics}` : '#none');
}

function remembered() {
  const hash = location.hash.slice(1);
  if (hash === 'none') return [];
  return hash ? hash.split('&').map(decodeURIComponent) : ['*'];
}

function renderSubscriptions() {
  const list = $('subscriptions');
  list.replaceChildren(...[...subscriptions].map(([topic, subscription]) => {
    const item = element('li', subscription.active ? '' : 'waiting');
    item.dataset.topic = topic;
    const remove = element('button', '', '×');
    remove.type = 'button';
    remove.title = `Unsubscribe from ${topic}`;
    remove.addEventListener('click', () => unsubscribe(topic));
    const count = element('span', 'muted small', subscription.active ? String(subscription.count) : 'waiting');
    count.dataset.count = '';
    item.append(element('code', '', topic), count, remove);
    return item;
  }));
}

function subscribe(topic) {
  if (subscriptions.has(topic)) return;
  subscriptions.set(topic, { count: 0, active: false });
  remember();
  renderSubscriptions();
  ask(topic);
}

function ask(topic) {
  request({ subscribe: topic }, (error) => {
    const subscription = subscriptions.get(topic);
    if (!subscription) return;
    subscription.active = !error;
    if (error) {
      $('subscribe-error').textContent = `${topic}: ${error.message}`;
      if (error.retryable) {
        subscription.timer = setTimeout(() => subscriptions.has(topic) && ask(topic), 1000);
      } else {
        subscriptions.delete(topic);
        remember();
      }
    } else {
      $('subscribe-error').textContent = '';
    }
    renderSubscriptions();
  });
}

function unsubscribe(topic) {
  clearTimeout(subscriptions.get(topic)?.timer);
  subscriptions.delete(topic);
  remember();
  renderSubscriptions();
  request({ unsubscribe: topic }, () => {});
}

/* ---------- the connection ---------- */

let socket = null;
let waiting = new Map();    // answers to come, by id
let lastId = 0;
let failures = 0;
let wasLive = false;
let comeback = 0;           // milliseconds the server asked us to stay away
let beat = 0;
let heardAt = 0;

function request(frame, answer) {
  if (socket?.readyState !== WebSocket.OPEN) return;
  lastId += 1;
  waiting.set(lastId, answer);
  socket.send(JSON.stringify({ id: lastId, ...frame }));
}

function connect() {
  const url = new URL('/v1/ws', location.href);
  url.protocol = url.protocol.replace('http', 'ws');
  const opening = new WebSocket(url, 'quorate.v1');
  socket = opening;
  opening.addEventListener('open', () => {
    failures = 0;
    heardAt = Date.now();
    pill('page-state', 'live', 'live');
    for (const topic of subscriptions.keys()) {
      if (wasLive) gap(topic, 'page', null);
      ask(topic);
    }
    wasLive = true;
  });
  opening.addEventListener('message', (message) => {
    heardAt = Date.now();
    receive(JSON.parse(message.data));
  });
  opening.addEventListener('close', () => {
    if (socket === opening) lost();
  });
}

function lost() {
  socket = null;
  waiting = new Map();
  for (const subscription of subscriptions.values()) {
    subscription.active = false;
    clearTimeout(subscription.timer);
  }
  renderSubscriptions();
  pill('page-state', 'offline', 'offline', 'This page has lost its server and tries to reach it again');
  pill('backend-state', 'unknown', 'unknown');
  const longest = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** failures);
  const delay = comeback || longest / 2 + Math.random() * longest / 2;
  comeback = 0;
  failures += 1;
  setTimeout(reconnect, delay);
}

async function reconnect() {
  // A refused WebSocket does not say why. If it is the token, a person has to give it again.
  const session = await fetchSession();
  if (session && session.required && !session.authenticated) start();
  else connect();
}

function receive(frame) {
  if ('id' in frame && waiting.has(frame.id) && ('ok' in frame || 'error' in frame)) {
    const answer = waiting.get(frame.id);
    waiting.delete(frame.id);
    answer(frame.error ?? null);
    return;
  }
  switch (frame.event) {
    case 'hello':
      clearInterval(beat);
      beat = setInterval(keepAlive, frame.heartbeat_ms);
      break;
    case 'state':
      pill('backend-state', frame.state, `backend ${frame.state}`, frame.reason);
      show(noteRow('state', 'backend', `${frame.state}: ${frame.reason}`));
      break;
    case 'closing':
      comeback = frame.retry_after_ms;
      break;
    case 'message': {
      totals.received += 1;
      thisSecond += 1;
      const subscription = subscriptions.get(frame.subscription);
      if (subscription) {
        subscription.count += 1;
        const item = document.querySelector(`#subscriptions li[data-topic="${CSS.escape(frame.subscription)}"] [data-count]`);
        if (item) item.textContent = subscription.count.toLocaleString('en');
      }
      show(messageRow(frame));
      break;
    }
    case 'gap':
      gap(frame.topic, frame.reason, frame.missed);
      break;
    case 'undecodable':
      totals.undecodable += 1;
      show(noteRow('undecodable', frame.topic, `Unreadable: ${frame.error}.`));
      break;
    default:
      if (frame.error) $('subscribe-error').textContent = frame.error.message;
  }
}

// A half-open connection says nothing at all. Ask, and give up when not even that is answered.
function keepAlive() {
  if (socket?.readyState !== WebSocket.OPEN) return;
  if (Date.now() - heardAt > 3 * 15_000) {
    const silent = socket;
    lost();
    silent.close();
  } else {
    socket.send('{"ping":true}');
  }
}

/* ---------- publishing ---------- */

async function publish() {
  const topic = $('publish-topic').value.trim();
  const type = $('publish-type').value.trim();
  const text = $('publish-data').value;
  const path = topic.split('/').map(encodeURIComponent).join('/');
  let response;
  if ($('publish-as').value === 'json') {
    let data;
    try {
      data = JSON.parse(text);
    } catch (error) {
      return result(`Payload: ${error.message}`, true);
    }
    const body = JSON.stringify(type ? { data, type } : { data });
    response = await send(`/v1/events/${path}`, body, 'application/json');
  } else {
    const query = type ? `?type=${encodeURIComponent(type)}` : '';
    response = await send(`/v1/events/${path}${query}`, text, 'text/plain; charset=utf-8');
  }
  if (response.problem) return result(response.problem, true);
  const { receivers } = response;
  const to = receivers === null || receivers === undefined ? '' : `, matched ${receivers} subscription${receivers === 1 ? '' : 's'} of instances`;
  return result(`Published to ${response.topic}${to}`, false);
}

async function send(url, body, type) {
  try {
    const response = await fetch(url, { method: 'POST', body, headers: { 'content-type': type } });
    const text = await response.text();
    const document = text ? JSON.parse(text) : {};
    return response.ok ? document : { problem: document.detail ?? response.statusText };
  } catch (error) {
    return { problem: `The server cannot be reached (${error.message})` };
  }
}

function result(text, bad) {
  $('publish-result').textContent = text;
  $('publish-result').classList.toggle('bad', bad);
}

/* ---------- start ---------- */

async function fetchSession() {
  try {
    const response = await fetch('/v1/session');
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

async function start() {
  const session = await fetchSession();
  if (!session) {
    setTimeout(start, 1000);
    return;
  }
  $('version').textContent = session.version;
  $('login').hidden = session.authenticated;
  $('console').hidden = !session.authenticated;
  $('log-out').hidden = !(session.required && session.authenticated);
  if (!session.authenticated) {
    pill('page-state', 'offline', 'logged out');
    $('token').focus();
    return;
  }
  $('backend').textContent = `State is kept in: ${session.backend}${session.namespace ? `, under ${session.namespace}` : ''}.`;
  $('hint').textContent = `curl ${location.origin}/v1/events/demo --json '{"data": {"hello": "world"}}'`;
  connect();
}

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
$('publish-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  $('publish').disabled = true;
  await publish();
  $('publish').disabled = false;
});
$('subscribe-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const topic = $('subscribe-topic').value.trim();
  $('subscribe-topic').value = '';
  if (topic) subscribe(topic);
});
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

for (const topic of remembered()) subscriptions.set(topic, { count: 0, active: false });
renderSubscriptions();
setInterval(tick, 1000);
tick();
start();
