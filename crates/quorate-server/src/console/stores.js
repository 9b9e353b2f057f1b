// Stores: keys that begin with a text, and one entry.

import { $, facts } from './dom.js';
import { Keys, leftText, lookAt, sizeText } from './values.js';
import { navigate } from './views.js';

let keys;
let listed;                 // the store and prefix whose keys are shown
let asked = 0;              // a later look at an entry makes an earlier one worthless

const path = (...parts) => `/v1/store/${parts.map(encodeURIComponent).join('/')}`;

const chosen = () => ({ store: $('store-name').value.trim(), prefix: $('store-prefix').value });

function choose(key) {
  const { store, prefix } = listed;
  navigate({ view: 'stores', store, ...(prefix && { prefix }), key });
}

async function openEntry(store, key) {
  keys.mark(key);
  asked += 1;
  const number = asked;
  $('store-entry').hidden = key === null;
  $('store-hint').hidden = key !== null;
  if (key === null) return;
  $('store-key').textContent = key;
  $('store-key-problem').textContent = '';
  const entry = await lookAt(path(store, key));
  if (number !== asked) return;
  $('store-key-problem').textContent = entry.problem ?? '';
  $('store-value').hidden = Boolean(entry.problem);
  $('store-value').textContent = entry.text ?? '';
  facts($('store-key-facts'), entry.problem ? [] : [
    ['Stays', leftText(entry.left)],
    ['Size', sizeText(entry)],
  ]);
}

export const view = {
  async show(query) {
    const store = query.store || null;
    const prefix = query.prefix ?? '';
    if (store === null) {
      listed = undefined;
      keys.clear();
      openEntry(null, null);
      return;
    }
    const known = listed?.store === store && listed?.prefix === prefix;
    $('store-name').value = store;
    $('store-prefix').value = prefix;
    openEntry(store, query.key || null);
    if (known) return;
    listed = { store, prefix };
    await keys.begin(`${path(store)}?prefix=${encodeURIComponent(prefix)}`);
    keys.mark(query.key || null);
  },
  hide() {
    asked += 1;
    listed = undefined;
  },
};

export function listen() {
  keys = new Keys({ note: $('store-keys-note'), list: $('store-keys'), more: $('store-keys-more'), open: choose });
  $('store-list').addEventListener('submit', (event) => {
    event.preventDefault();
    const { store, prefix } = chosen();
    if (!store) return;
    // Also what is shown already: somebody wants to see it again.
    listed = undefined;
    navigate({ view: 'stores', store, ...(prefix && { prefix }) });
  });
  $('store-open').addEventListener('submit', (event) => {
    event.preventDefault();
    const { store, prefix } = chosen();
    const key = $('store-open-key').value;
    if (store && key) navigate({ view: 'stores', store, ...(prefix && { prefix }), key });
  });
}
