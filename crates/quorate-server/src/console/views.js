// Which part of the page is shown. It stands in the address, so that it can be shared and reloaded; what
// is subscribed to stands behind the `#`, and stays.

import { $ } from './dom.js';

const views = new Map();
let shown = null;

// A part of the page: `show(query)` is called when it is opened and when its query changes.
export function define(name, view) {
  views.set(name, view);
}

export function navigate(query) {
  const search = new URLSearchParams(query).toString();
  const url = `${location.pathname}${search ? `?${search}` : ''}${location.hash}`;
  if (search !== location.search.slice(1)) history.pushState(null, '', url);
  render();
}

export function render() {
  const query = Object.fromEntries(new URLSearchParams(location.search));
  const name = views.has(query.view) ? query.view : 'events';
  if (shown && shown !== name) views.get(shown).hide();
  shown = name;
  for (const known of views.keys()) {
    $(`view-${known}`).hidden = known !== name;
    const link = document.querySelector(`nav a[data-view="${known}"]`);
    if (known === name) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  views.get(name).show(query);
}

export function leave() {
  if (shown) views.get(shown).hide();
  shown = null;
}

export function listen() {
  for (const link of document.querySelectorAll('nav a[data-view]')) {
    link.addEventListener('click', (event) => {
      // Into another tab, as with any link.
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
      event.preventDefault();
      const { view } = link.dataset;
      navigate(view === 'events' ? {} : { view });
    });
  }
  window.addEventListener('popstate', () => {
    if (shown) render();
  });
}
