// The connection of the page: one WebSocket that comes back by itself. It speaks the protocol of
// docs/protocol.md and nothing else.

const FIRST_DELAY = 300;    // milliseconds before the first reconnect; doubles
const LONGEST_DELAY = 10_000;

let socket = null;
let waiting = new Map();    // answers to come, by id
let lastId = 0;
let failures = 0;
let comeback = 0;           // milliseconds the server asked us to stay away
let beat = 0;
let silence = 45_000;       // milliseconds without a sign of life until we give up
let heardAt = 0;
let listener = null;

// Of this page, as the server calls it.
export let clientId = null;

export function request(frame, answer) {
  if (socket?.readyState !== WebSocket.OPEN) return;
  lastId += 1;
  waiting.set(lastId, answer);
  socket.send(JSON.stringify({ id: lastId, ...frame }));
}

// `heard` has opened(), lost(), event(frame), and mayConnect(), which settles before each further attempt.
export function connect(heard) {
  listener = heard;
  const url = new URL('/v1/ws', location.href);
  url.protocol = url.protocol.replace('http', 'ws');
  const opening = new WebSocket(url, 'quorate.v1');
  socket = opening;
  opening.addEventListener('open', () => {
    failures = 0;
    heardAt = Date.now();
    listener.opened();
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
  clientId = null;
  waiting = new Map();
  listener.lost();
  const longest = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** failures);
  const delay = comeback || longest / 2 + Math.random() * longest / 2;
  comeback = 0;
  failures += 1;
  setTimeout(reconnect, delay);
}

async function reconnect() {
  // A refused WebSocket does not say why. If it is the token, a person has to give it again.
  if (await listener.mayConnect()) connect(listener);
}

function receive(frame) {
  if ('id' in frame && waiting.has(frame.id) && ('ok' in frame || 'error' in frame)) {
    const answer = waiting.get(frame.id);
    waiting.delete(frame.id);
    answer(frame.error ?? null, frame);
    return;
  }
  if (frame.event === 'hello') {
    clientId = frame.client;
    silence = 3 * frame.heartbeat_ms;
    clearInterval(beat);
    beat = setInterval(keepAlive, frame.heartbeat_ms);
  } else if (frame.event === 'closing') {
    comeback = frame.retry_after_ms ?? 0;
  } else {
    listener.event(frame);
  }
}

// A half-open connection says nothing at all. Ask, and give up when not even that is answered.
function keepAlive() {
  if (socket?.readyState !== WebSocket.OPEN) return;
  if (Date.now() - heardAt > silence) {
    const silent = socket;
    lost();
    silent.close();
  } else {
    socket.send('{"ping":true}');
  }
}
