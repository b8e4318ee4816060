// Sends the failed deliveries of a time range again, after asking for how many that is.

import * as api from '../api.js';
import { html, useState } from '../html.js';
import { Action, Dialog, Field, Time, Trouble } from '../parts.js';
import { useTask } from '../task.js';
import * as words from '../words.js';

export function Recover({ id, onClose }) {
  const [from, setFrom] = useState('');
  const [to, setTo] = useState('');
  const [asked, setAsked] = useState(null);
  const [done, setDone] = useState(null);
  const range = { ...(from && { from: instant(from) }), ...(to && { to: instant(to) }) };

  const counting = useTask(async () => setAsked(await throughAllPages(id, range, 'count')));
  const recovery = useTask(async () => setDone(await throughAllPages(id, range, 'recover')));
  const busy = counting.busy || recovery.busy;
  const error = counting.error ?? recovery.error;
  // The count is that of the range that was asked for.
  const edit = (set) => (event) => {
    set(event.target.value);
    setAsked(null);
  };
  const field = (name, label, hint, value, set) => html`<${Field}
    id="recover-${name}" label=${label} hint=${hint} mistake=${error?.about?.(name)}
  >
    ${(control) =>
      html`<input type="datetime-local" ...${control} value=${value} disabled=${busy} onInput=${edit(set)} />`}
  <//>`;

  if (done) {
    return html`<${Dialog} title="Recover failed deliveries" onClose=${onClose}>
      <${Done} result=${done} />
      <footer class="actions"><button type="button" onClick=${onClose}>Close</button></footer>
    <//>`;
  }
  return html`<${Dialog} title="Recover failed deliveries" onClose=${onClose}>
    <p>Sends every delivery of this time range that ended as failed once more, with a new round of attempts.</p>
    <div class="pair even">
      ${field('from', 'From', 'Empty: from the beginning', from, setFrom)}
      ${field('to', 'To', 'Empty: until now', to, setTo)}
    </div>
    <p class="asked" role="status">${asked && counted(asked)}</p>
    <${Trouble} error=${error} />
    <footer class="actions">
      ${!asked &&
      html`<${Action} class="primary" busy=${busy} busyLabel="Counting…" onClick=${counting.run}>Count them<//>`}
      ${asked?.count > 0 &&
      html`<${Action} class="primary" busy=${busy} busyLabel="Recovering…" onClick=${recovery.run}>
        Recover ${words.plural(asked.count, 'delivery', 'deliveries')}
      <//>`}
      <button type="button" onClick=${onClose}>Cancel</button>
    </footer>
  <//>`;
}

const instant = (text) => new Date(text).toISOString();

function counted({ count, skipped }) {
  const some = count ? words.plural(count, 'failed delivery', 'failed deliveries') : 'No failed delivery';
  return `${some} in this time range.${skipped ? ` ${skipped.toLocaleString()} more cannot be sent again.` : ''}`;
}

function Done({ result }) {
  return html`<div role="status">
    <p>${words.plural(result.count, 'delivery is', 'deliveries are')} on the way again.</p>
    ${result.paced_until &&
    html`<p>So as not to flood your endpoint they are spread out until <${Time} of=${result.paced_until} />.</p>`}
  </div>`;
}

// A call covers as much as fits its time; the next one goes on from its cursor.
async function throughAllPages(id, range, purpose) {
  const total = { count: 0, skipped: 0, paced_until: null };
  let cursor = null;
  do {
    const { value } = await api.recover(id, { ...range, dry_run: purpose === 'count', ...(cursor && { cursor }) });
    total.count += value.count;
    total.skipped += value.skipped;
    total.paced_until = value.paced_until ?? total.paced_until;
    cursor = value.next_cursor;
  } while (cursor);
  return total;
}
