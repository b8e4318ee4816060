// Sends the failed deliveries of a time range again, after counting them.

import * as api from '../api.js';
import { now } from '../clock.js';
import { Action, Cancel, Countdown, Dialog, ErrorNotice, Field, Time } from '../components.js';
import * as format from '../format.js';
import { html, useState } from '../html.js';
import { runToEnd, startOf } from '../recovery.js';
import { useTask } from '../use_task.js';

const FIELDS = ['from', 'to'];

// The steps: choosing a range, counting, recovering, the result. Closing the dialog stops the recovery.
export function Recover({ id, onClose }) {
  const [from, setFrom] = useState('');
  const [to, setTo] = useState('');
  const [count, setCount] = useState(null);
  const [run, setRun] = useState(null);
  const [pausedUntil, setPausedUntil] = useState(null);

  const counting = useTask(async () => {
    // A fixed end, so that the range does not grow between counting and recovering.
    const end = format.parseLocal(to, true) || new Date(now()).toISOString();
    const start = format.parseLocal(from);
    const range = { ...(start && { from: start }), to: end };
    setCount(await runToEnd(id, startOf(range), true, { onProgress: () => {}, shouldContinue: counting.isMounted }));
  });
  const recovery = useTask(async () => {
    const onProgress = (next, until) => {
      setRun(next);
      setPausedUntil(until);
    };
    const start = run ?? startOf(count.range);
    setRun(start);
    await runToEnd(id, start, false, { onProgress, shouldContinue: recovery.isMounted });
  });
  // The count belongs to the range that was counted, so editing the range discards it.
  const edit = (set) => (event) => {
    set(event.target.value);
    setCount(null);
  };
  const field = (name, label, hint, value, set) => html`<${Field}
    id="recover-${name}" label=${label} hint=${hint} mistake=${counting.error?.messageFor?.(name)}
  >
    ${(control) =>
      html`<input type="datetime-local" ...${control} value=${value} disabled=${counting.busy} onInput=${edit(set)} />`}
  <//>`;
  const error = recovery.error ?? api.withoutFields(counting.error, (name) => FIELDS.includes(name));

  if (run?.ended) {
    return html`<${Dialog} title=${TITLE} onClose=${onClose}>
      <${Done} run=${run} />
      <footer class="actions"><button type="button" onClick=${onClose}>Close</button></footer>
    <//>`;
  }
  if (run) {
    return html`<${Dialog} title=${TITLE} onClose=${onClose}>
      <${Progress} run=${run} of=${count.count} pausedUntil=${recovery.busy && pausedUntil} />
      <${ErrorNotice} error=${error} />
      <footer class="actions">
        ${error && html`<button type="button" class="primary" onClick=${recovery.run}>Continue</button>`}
        <button type="button" onClick=${onClose}>Stop</button>
      </footer>
    <//>`;
  }
  return html`<${Dialog} title=${TITLE} onClose=${onClose}>
    <p>Sends every failed delivery of this time range again, with a new round of attempts.</p>
    <div class="pair even">
      ${field('from', 'From', 'Leave empty to start from the beginning', from, setFrom)}
      ${field('to', 'To', 'Leave empty to end now', to, setTo)}
    </div>
    <p class="asked" role="status">${count && counted(count)}</p>
    <${ErrorNotice} error=${error} />
    <footer class="actions">
      ${
        !count &&
        html`<${Action} class="primary" busy=${counting.busy} busyLabel="Counting…" onClick=${counting.run}>
          Count them
        <//>`
      }
      ${
        count?.count > 0 &&
        html`<button type="button" class="primary" onClick=${recovery.run}>
        Recover ${format.plural(count.count, 'delivery', 'deliveries')}
      </button>`
      }
      <${Cancel} onClick=${onClose} />
    </footer>
  <//>`;
}

const TITLE = 'Recover failed deliveries';

function counted({ count, skipped }) {
  const some = count ? format.plural(count, 'failed delivery', 'failed deliveries') : 'No failed deliveries';
  return `${some} in this time range.${skipped ? ` ${skipped.toLocaleString()} more cannot be sent again.` : ''}`;
}

function Progress({ run, of, pausedUntil }) {
  const done = run.count + run.skipped;
  return html`<p role="status">${run.count.toLocaleString()} of ${of.toLocaleString()} are being sent again.</p>
    <progress aria-label="Recovered" value=${Math.min(done, of)} max=${of}></progress>
    ${
      pausedUntil &&
      html`<p>
        Your endpoint is already getting as many as it should within ten minutes. Recovery continues automatically${' '}
        <${Countdown} to=${pausedUntil} over="now" />. Keep this open, or stop and recover the rest later.
      </p>`
    }`;
}

function Done({ run }) {
  return html`<div role="status">
    <p>${format.plural(run.count, 'delivery is', 'deliveries are')} being sent again.</p>
    ${
      run.skipped > 0 &&
      html`<p>
        ${format.plural(run.skipped, 'delivery was', 'deliveries were')} skipped: already sent again, expired, or sent
        the maximum number of times.
      </p>`
    }
    ${
      run.pacedUntil &&
      html`<p>To protect your endpoint, they are spread out until <${Time} of=${run.pacedUntil} />.</p>`
    }
  </div>`;
}
