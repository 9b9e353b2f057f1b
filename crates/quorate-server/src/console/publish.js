// Publishing from the page.

import { $, plural, send, topicPath } from './dom.js';
import { navigate } from './views.js';

async function publish() {
  const topic = $('publish-topic').value.trim();
  const type = $('publish-type').value.trim();
  const text = $('publish-data').value;
  const url = `/v1/events/${topicPath(topic)}`;
  let answer;
  if ($('publish-as').value === 'json') {
    let data;
    try {
      data = JSON.parse(text);
    } catch (error) {
      return result(`Payload: ${error.message}`, true);
    }
    answer = await send(url, JSON.stringify(type ? { data, type } : { data }), 'application/json');
  } else {
    const query = type ? `?type=${encodeURIComponent(type)}` : '';
    answer = await send(url + query, text, 'text/plain; charset=utf-8');
  }
  if (answer.problem) return result(answer.problem, true);
  const { receivers, position } = answer;
  let said = `Published to ${answer.topic}`;
  if (typeof receivers === 'number') said += `, matched ${plural(receivers, 'subscription')} of instances`;
  if (position) said += `, kept at ${position}`;
  return result(said, false, position ? answer.topic : null);
}

function result(text, bad, kept = null) {
  $('publish-result').textContent = text;
  $('publish-result').classList.toggle('bad', bad);
  $('publish-history').hidden = kept === null;
  $('publish-history').dataset.topic = kept ?? '';
}

// Fills the form in, for who comes from a topic.
export function prepare(topic) {
  $('publish-topic').value = topic;
  result('', false);
  $('publish-data').focus();
}

export function listen() {
  $('publish-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    $('publish').disabled = true;
    await publish();
    $('publish').disabled = false;
  });
  $('publish-history').addEventListener('click', () => {
    navigate({ view: 'topics', topic: $('publish-history').dataset.topic });
  });
}
