// What a kept topic keeps, page by page.

import { $, ask, topicPath, whole } from './dom.js';
import { messageRow, noteRow } from './events.js';

const PAGE = 50;

let topic = null;
let asked = 0;              // a later question makes the answer to an earlier one worthless
let here = '';              // the query of the page that is shown
let next = null;            // the query of the page after it
let before = [];            // the queries of the pages before it

async function read(query) {
  asked += 1;
  const number = asked;
  for (const name of ['history-begin', 'history-back', 'history-next', 'history-latest']) $(name).disabled = true;
  const page = await ask(`/v1/history/${topicPath(topic)}?limit=${PAGE}${query}`);
  if (number !== asked) return;
  here = query;
  render(page);
}

function render(page) {
  const list = $('history');
  const kept = !page.problem;
  $('history-begin').disabled = !kept;
  $('history-latest').disabled = !kept;
  $('history-back').disabled = before.length === 0;
  next = kept && !page.complete && !page.gap ? `&after=${page.position}` : null;
  $('history-next').disabled = next === null;
  list.hidden = !kept || page.messages.length === 0;
  $('history-bar').hidden = page.status === 409;
  if (!kept) {
    // Not kept: that is how it is, and no fault.
    const name = topic.split(':')[0];
    $('history-note').textContent = page.status === 409
      ? `Messages of this topic are not kept. [topics.${name}.keep] in the configuration would keep them.`
      : page.problem;
    $('history-note').classList.toggle('error', page.status !== 409);
    list.replaceChildren();
    return;
  }
  $('history-note').classList.remove('error');
  list.replaceChildren(...page.messages.map(rowOf));
  $('history-note').textContent = describe(page);
  // The end is what was asked for.
  list.scrollTop = here === '' ? list.scrollHeight : 0;
}

const rowOf = (frame) => (frame.event === 'message'
  ? messageRow(frame)
  : noteRow('undecodable', frame.topic, `Unreadable: ${frame.error}.`, ''));

function describe(page) {
  if (page.gap) {
    const missed = page.gap.missed === null ? 'Messages' : `${whole(page.gap.missed)} messages`;
    return `${missed} at this place are no longer kept. Begin with the oldest, or with the latest.`;
  }
  if (page.messages.length === 0) return 'Nothing is kept at the moment.';
  const number = (frame) => Number(frame.position?.split('-')[1]);
  const [first, last] = [page.messages[0], page.messages.at(-1)].map(number);
  const which = Number.isNaN(first + last) ? whole(page.messages.length) : `${whole(first)} to ${whole(last)}`;
  return `Messages ${which}, the oldest first${page.complete ? '; the last is the latest' : ''}.`;
}

function begin(query) {
  before = [];
  read(query);
}

export function open(name) {
  topic = name;
  asked += 1;
  $('history').replaceChildren();
  $('history').hidden = true;
  $('history-note').textContent = '';
  if (topic) begin('');
}

export function listen() {
  $('history-latest').addEventListener('click', () => begin(''));
  $('history-begin').addEventListener('click', () => begin('&from=beginning'));
  $('history-next').addEventListener('click', () => {
    before.push(here);
    read(next);
  });
  $('history-back').addEventListener('click', () => read(before.pop()));
}
