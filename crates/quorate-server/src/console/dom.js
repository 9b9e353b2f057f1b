// What every part of the page uses: elements, numbers, little pictures, requests.

export const $ = (id) => document.getElementById(id);

export function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

export function button(className, text, title, action) {
  const node = element('button', className, text);
  node.type = 'button';
  if (title) node.title = title;
  node.addEventListener('click', action);
  return node;
}

export function pill(node, state, text, title) {
  node.dataset.state = state;
  node.lastElementChild.textContent = text;
  if (title) node.title = title;
}

/* ---------- numbers and times ---------- */

export const whole = (number) => Math.round(number).toLocaleString('en');

export function rate(number) {
  if (number >= 10 || number === 0) return whole(number);
  return number < 0.05 ? '<0.1' : number.toFixed(1);
}

export function bytes(number) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let at = 0;
  let value = number;
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[at]}`;
}

// The largest unit that leaves no more than two digits and a half: "90 s", "36 h", "12 d".
export function duration(milliseconds) {
  const units = [['d', 86_400_000], ['h', 3_600_000], ['min', 60_000], ['s', 1000]];
  for (const [name, length] of units) {
    if (milliseconds >= 2 * length || milliseconds === length) return `${Math.floor(milliseconds / length)} ${name}`;
  }
  return milliseconds >= 1000 ? '1 s' : `${Math.floor(milliseconds)} ms`;
}

export function clock(timestamp) {
  const date = timestamp ? new Date(timestamp) : new Date();
  const pad = (number, width = 2) => String(number).padStart(width, '0');
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}.${pad(date.getMilliseconds(), 3)}`;
}

// The part of a position that people can compare.
export const offset = (position) => whole(Number(position.split('-')[1]));

export const plural = (number, one) => `${whole(number)} ${one}${number === 1 ? '' : 's'}`;

/* ---------- pictures ---------- */

const SVG = 'http://www.w3.org/2000/svg';

export function sparkline(label) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'spark');
  svg.setAttribute('viewBox', '0 0 240 48');
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', label);
  for (const name of ['area', 'line']) {
    const path = document.createElementNS(SVG, 'path');
    path.setAttribute('class', name);
    svg.append(path);
  }
  return svg;
}

// The last values of something, and the line through them.
export class Trace {
  constructor(length) {
    this.values = new Array(length).fill(0);
  }

  push(value) {
    this.values.push(value);
    this.values.shift();
  }

  draw(svg) {
    const top = Math.max(4, ...this.values);
    const last = this.values.length - 1;
    const points = this.values.map((value, at) => `${(at * 240 / last).toFixed(1)},${(47 - 44 * value / top).toFixed(1)}`);
    svg.querySelector('.line').setAttribute('d', `M${points.join('L')}`);
    svg.querySelector('.area').setAttribute('d', `M0,48L${points.join('L')}L240,48Z`);
  }
}

/* ---------- lists ---------- */

// Makes the children of a node those of the items, in their order. What is there already is changed and not
// replaced: whoever has the focus keeps it.
export function reconcile(parent, items, keyOf, create, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let before = null;
  for (const item of items) {
    const key = keyOf(item);
    let node = known.get(key);
    known.delete(key);
    if (!node) {
      node = create(item);
      node.dataset.key = key;
    }
    update(node, item);
    const place = before ? before.nextElementSibling : parent.firstElementChild;
    if (place !== node) parent.insertBefore(node, place);
    before = node;
  }
  for (const gone of known.values()) gone.remove();
}

// A row of a table: the first cell is what it is about.
export function row(columns, open) {
  const node = element('tr');
  for (const [at, name] of columns.entries()) {
    const cell = element(at === 0 ? 'th' : 'td', name);
    if (at === 0) cell.scope = 'row';
    node.append(cell);
  }
  if (open) {
    node.classList.add('opens');
    node.firstElementChild.append(button('name', '', '', () => {}));
    // One handler for the button and for all that lies beside it.
    node.addEventListener('click', () => open(node.dataset.key));
  }
  return node;
}

export const cell = (node, name) => node.querySelector(`.${name}`);

export function facts(list, pairs) {
  list.replaceChildren(...pairs.filter(([, value]) => value !== null && value !== undefined).map(([name, value]) => {
    const group = element('div');
    group.append(element('dt', '', name), element('dd', '', value));
    return group;
  }));
}

/* ---------- requests ---------- */

// Why an address does not lead where it says; null if it does. A browser takes a part `.` or `..` out of a path, also one that
// is written %2E, and so asks for something else: for what is about the key `.`, for what is about the key behind it.
export function astray(url) {
  const part = url.split('?', 1)[0].split('/').find((one) => one === '.' || one === '..');
  return part === undefined ? null : `A browser cannot ask for what is called "${part}": use the command line`;
}

// The document of an answer, or { problem, status }.
export async function ask(url, options) {
  const problem = astray(url);
  if (problem) return { problem, status: 0 };
  try {
    const response = await fetch(url, options);
    const text = await response.text();
    const document_ = text ? JSON.parse(text) : {};
    if (response.ok) return document_;
    if (response.status === 401) document.dispatchEvent(new Event('logged-out'));
    return { problem: document_.detail ?? response.statusText, status: response.status };
  } catch (error) {
    return { problem: `The server cannot be reached (${error.message})`, status: 0 };
  }
}

export function send(url, body, type) {
  return ask(url, { method: 'POST', body, headers: { 'content-type': type } });
}

export const topicPath = (topic) => topic.split('/').map(encodeURIComponent).join('/');

// Calls `turn` now and then, for as long as it is started and somebody looks.
export function repeat(turn, pause) {
  let running = 0;
  async function go(number) {
    while (running === number) {
      if (!document.hidden) await turn(() => running === number);
      await new Promise((resolve) => { setTimeout(resolve, pause); });
    }
  }
  return {
    start() {
      running += 1;
      go(running);
    },
    stop() {
      running += 1;
    },
  };
}
