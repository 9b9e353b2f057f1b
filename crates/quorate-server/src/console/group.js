// The group of the job that is shown: how it stands with all that grew out of one job.

import { $, ask, button, element, facts, plural, whole } from './dom.js';

const ENDS = ['succeeded', 'dead', 'cancelled', 'expired', 'open'];

let group = null;           // { queue, id }: the queue and the id of its first job
let own = null;             // the job that is shown
let go = () => {};          // to another job

function hide() {
  $('group').hidden = true;
}

function show(seen) {
  const all = ENDS.reduce((sum, end) => sum + seen[end], 0);
  // What left nothing is alone, and needs no picture.
  if (all < 2 && seen.values.length === 0) {
    hide();
    return;
  }
  $('group').hidden = false;
  const isFirst = own === group.id;
  $('group-state').textContent = seen.over ? 'is over' : `${whole(seen.open)} to be done`;
  $('group-first').replaceChildren(isFirst ? 'It began with this job.' : 'It began with ');
  if (!isFirst) $('group-first').append(button('link mono', group.id.slice(-8), `${group.id} of ${group.queue}`, () => go(group)), ` of ${group.queue}.`);
  $('group-bar').setAttribute('aria-label', ENDS.map((end) => `${whole(seen[end])} ${end}`).join(', '));
  for (const part of $('group-bar').children) {
    part.hidden = seen[part.dataset.end] === 0;
    part.style.flexGrow = seen[part.dataset.end];
  }
  facts($('group-facts'), [
    ['Jobs', whole(all)],
    ['Done', whole(seen.succeeded)],
    ['Dead', seen.dead ? whole(seen.dead) : null],
    ['Cancelled', seen.cancelled ? whole(seen.cancelled) : null],
    ['Expired', seen.expired ? whole(seen.expired) : null],
  ]);
  $('group-said').hidden = seen.values.length === 0;
  const dropped = seen.dropped ? `, ${whole(seen.dropped)} more were too many` : '';
  $('group-saying').textContent = `${plural(seen.values.length, 'value')}${seen.fixed ? ', fixed' : ''}${dropped}`;
  $('group-values').textContent = seen.values.map((value) => JSON.stringify(value)).join('\n');
}

export async function follow() {
  if (group === null) return;
  const of = group;
  const seen = await ask(`/v1/queues/${encodeURIComponent(of.queue)}/groups/${of.id}`, { cache: 'no-store' });
  if (of !== group) return;
  // Nobody knows it any more, or not yet.
  if (seen.problem) hide();
  else show(seen);
}

// Of the job `id`: the group it belongs to, or the one that began with it.
export function open(id, wanted) {
  own = id;
  if (wanted?.id !== group?.id || wanted?.queue !== group?.queue) {
    group = wanted;
    hide();
  }
  follow();
}

export function listen(to) {
  go = to;
  for (const end of ENDS) {
    const part = element('i');
    part.dataset.end = end;
    $('group-bar').append(part);
  }
}
