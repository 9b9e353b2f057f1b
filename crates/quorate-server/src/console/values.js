// What caches and stores have in common on this page: lists of keys, one entry, and asking whether somebody is sure.

import { $, ask, astray, button, bytes, duration, element, plural, whole } from './dom.js';

/* ---------- keys ---------- */

// A list of keys that is read page by page, when it is asked for: a server looks at all of its database for it.
export class Keys {
  // `note`, `list`, `more`: where it is shown. `open` is called with the key that is chosen.
  constructor({ note, list, more, open }) {
    Object.assign(this, { note, list, more, open });
    this.asked = 0;         // a later question makes the answer to an earlier one worthless
    more.addEventListener('click', () => this.#read(this.next));
    this.clear();
  }

  clear() {
    this.asked += 1;
    this.seen = new Set();
    this.list.replaceChildren();
    this.list.hidden = true;
    this.more.hidden = true;
    this.#say('');
  }

  begin(url) {
    this.clear();
    this.url = url;
    return this.#read(null);
  }

  mark(key) {
    for (const item of this.list.children) {
      if (item.dataset.key === key) item.setAttribute('aria-current', 'true');
      else item.removeAttribute('aria-current');
    }
  }

  async #read(from) {
    this.asked += 1;
    const number = this.asked;
    this.more.disabled = true;
    if (this.seen.size === 0) this.#say('Looking …');
    const page = await ask(`${this.url}&limit=200${from ? `&from=${encodeURIComponent(from)}` : ''}`);
    if (number !== this.asked) return;
    this.more.disabled = false;
    if (page.problem) {
      this.#say(page.problem, true);
      return;
    }
    for (const key of page.keys) {
      if (this.seen.has(key)) continue;
      this.seen.add(key);
      const item = element('li');
      item.dataset.key = key;
      item.append(button('name', key, 'Look at this entry', () => this.open(key)));
      this.list.append(item);
    }
    this.next = page.next;
    this.more.hidden = page.next === null;
    this.list.hidden = this.seen.size === 0;
    if (page.next !== null) this.#say(`${plural(this.seen.size, 'key')} so far; there may be more.`);
    else this.#say(this.seen.size === 0 ? 'No key matches.' : plural(this.seen.size, 'key'));
  }

  #say(text, isError = false) {
    this.note.textContent = text;
    this.note.classList.toggle('error', isError);
  }
}

/* ---------- one entry ---------- */

// An entry as it is, or { problem, status }.
export async function lookAt(url) {
  const problem = astray(url);
  if (problem) return { problem, status: 0 };
  try {
    const response = await fetch(url, { cache: 'no-store' });
    if (!response.ok) {
      if (response.status === 401) document.dispatchEvent(new Event('logged-out'));
      const { detail } = await response.json();
      return { problem: detail ?? response.statusText, status: response.status };
    }
    const body = await response.arrayBuffer();
    const header = (name) => response.headers.get(name);
    const isJson = header('content-type') === 'application/json';
    return {
      text: isJson ? pretty(new TextDecoder().decode(body)) : plain(body),
      isJson,
      size: body.byteLength,
      left: header('quorate-expires-in-ms') === null ? null : Number(header('quorate-expires-in-ms')),
      age: header('age') === null ? null : Number(header('age')) * 1000,
      tags: (header('quorate-tags') ?? '').split(', ').filter(Boolean).map(decodeURIComponent),
    };
  } catch (error) {
    return { problem: `The server cannot be reached (${error.message})`, status: 0 };
  }
}

// With line breaks, unless that would change what is written: numbers keep their digits.
function pretty(text) {
  const value = JSON.parse(text);
  return JSON.stringify(value) === text ? JSON.stringify(value, null, 2) : text;
}

function plain(body) {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch {
    const some = [...new Uint8Array(body.slice(0, 512))].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    return body.byteLength > 512 ? `${some} …` : some;
  }
}

export const sizeText = (entry) => `${bytes(entry.size)}${entry.isJson ? '' : ', no JSON'}`;

export const leftText = (left) => (left === null ? 'until it is deleted' : `for ${duration(left)}`);

/* ---------- being sure ---------- */

// Asks whether to do what cannot be undone.
export function sure(text, yes) {
  const dialog = $('sure');
  $('sure-text').textContent = text;
  $('sure-yes').textContent = yes;
  dialog.returnValue = '';
  dialog.showModal();
  $('sure-no').focus();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

export function listen() {
  $('sure-yes').addEventListener('click', () => $('sure').close('yes'));
  $('sure-no').addEventListener('click', () => $('sure').close('no'));
}

export const percent = (share) => (share === null ? '–' : `${(100 * share).toFixed(share > 0.995 && share < 1 ? 2 : 1)} %`);

export const count = (number) => (number >= 1e6 ? `${(number / 1e6).toFixed(1)} M` : whole(number));
