// Sends the failed deliveries of a time range again, after asking for how many that is.

import * as api from '../api.js';
import { now } from '../clock.js';
import { html, useState } from '../html.js';
import { Action, Cancel, Countdown, Dialog, Field, Time, Trouble } from '../parts.js';
import { begun, throughout } from '../recovery.js';
import { useTask } from '../task.js';
import * as words from '../words.js';

const MARKED = ['from', 'to'];

// The steps: a range, its count, the recovery, and what came of it. Closing the dialog stops a recovery where it is.
export function Recover({ id, onClose }) {
  const [from, setFrom] = useState('');
  const [to, setTo] = useState('');
  const [count, setCount] = useState(null);
  const [run, setRun] = useState(null);
  const [pausedUntil, setPausedUntil] = useState(null);

  const counting = useTask(async () => {
    // Without an end the range would grow between counting and recovering.
    const end = words.instant(to, true) || new Date(now()).toISOString();
    const start = words.instant(from);
    const range = { ...(start && { from: start }), to: end };
    setCount(await throughout(id, begun(range), true, { put: () => {}, isWanted: counting.isThere }));
  });
  const recovery = useTask(async () => {
    const put = (next, until) => {
      setRun(next);
      setPausedUntil(until);
    };
    const start = run ?? begun(count.range);
    setRun(start);
    await throughout(id, start, false, { put, isWanted: recovery.isThere });
  });
  // The count is that of the range that was asked for.
  const edit = (set) => (event) => {
    set(event.target.value);
    setCount(null);
  };
  const field = (name, label, hint, value, set) => html`<${Field}
    id="recover-${name}" label=${label} hint=${hint} mistake=${counting.error?.about?.(name)}
  >
    ${(control) =>
      html`<input type="datetime-local" ...${control} value=${value} disabled=${counting.busy} onInput=${edit(set)} />`}
  <//>`;
  const error = recovery.error ?? api.unmarked(counting.error, (name) => MARKED.includes(name));

  if (run?.ended) {
    return html`<${Dialog} title=${TITLE} onClose=${onClose}>
      <${Done} run=${run} />
      <footer class="actions"><button type="button" onClick=${onClose}>Close</button></footer>
    <//>`;
  }
  if (run) {
    return html`<${Dialog} title=${TITLE} onClose=${onClose}>
      <${Progress} run=${run} of=${count.count} pausedUntil=${recovery.busy && pausedUntil} />
      <${Trouble} error=${error} />
      <footer class="actions">
        ${error && html`<button type="button" class="primary" onClick=${recovery.run}>Continue</button>`}
        <button type="button" onClick=${onClose}>Stop</button>
      </footer>
    <//>`;
  }
  return html`<${Dialog} title=${TITLE} onClose=${onClose}>
    <p>Sends every delivery of this time range that ended as failed once more, with a new round of attempts.</p>
    <div class="pair even">
      ${field('from', 'From', 'Empty: from the beginning', from, setFrom)}
      ${field('to', 'To', 'Empty: until now', to, setTo)}
    </div>
    <p class="asked" role="status">${count && counted(count)}</p>
    <${Trouble} error=${error} />
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
        Recover ${words.plural(count.count, 'delivery', 'deliveries')}
      </button>`
      }
      <${Cancel} onClick=${onClose} />
    </footer>
  <//>`;
}

const TITLE = 'Recover failed deliveries';

function counted({ count, skipped }) {
  const some = count ? words.plural(count, 'failed delivery', 'failed deliveries') : 'No failed delivery';
  return `${some} in this time range.${skipped ? ` ${skipped.toLocaleString()} more cannot be sent again.` : ''}`;
}

function Progress({ run, of, pausedUntil }) {
  const done = run.count + run.skipped;
  return html`<p role="status">${run.count.toLocaleString()} of ${of.toLocaleString()} are on the way again.</p>
    <progress aria-label="Recovered" value=${Math.min(done, of)} max=${of}></progress>
    ${
      pausedUntil &&
      html`<p>
        As many as your endpoint should get within ten minutes are on the way. It goes on by itself${' '}
        <${Countdown} to=${pausedUntil} over="now" />. Keep this open, or stop and recover the rest later.
      </p>`
    }`;
}

function Done({ run }) {
  return html`<div role="status">
    <p>${words.plural(run.count, 'delivery is', 'deliveries are')} on the way again.</p>
    ${run.skipped > 0 && html`<p>${words.plural(run.skipped, 'delivery was', 'deliveries were')} left alone: sent again or expired meanwhile, or sent as often as possible.</p>`}
    ${
      run.pacedUntil &&
      html`<p>So as not to flood your endpoint they are spread out until <${Time} of=${run.pacedUntil} />.</p>`
    }
  </div>`;
}
