// One delivery: what became of it, attempt by attempt, and what was sent.

import * as api from '../api.js';
import { curl } from '../curl.js';
import { html, useEffect, useState } from '../html.js';
import { indented, member } from '../json_text.js';
import { Action, Code, Copy, Countdown, Foreign, Loading, State, Status, Time, Trouble } from '../parts.js';
import { useTask } from '../task.js';
import { useLoaded } from '../watch.js';
import * as words from '../words.js';

const REFRESH_PENDING_MS = 1500;
const REFRESH_ENDED_MS = 15_000;

export function Delivery({ id, deliveryId }) {
  const integration = useLoaded(
    `integration ${id}`,
    () => api.integration(id),
    () => 60_000,
  );
  const { loaded, error, set, reload } = useLoaded(
    `delivery ${deliveryId}`,
    () => api.oneDelivery(id, deliveryId),
    (known) => (words.PENDING.includes(known?.value.status) ? REFRESH_PENDING_MS : REFRESH_ENDED_MS),
  );
  const webhook = integration.loaded?.value;
  const delivery = loaded?.value;
  useEffect(() => {
    document.title = `Delivery · ${words.shown(webhook?.name ?? 'Integration')} · Roboticks`;
  }, [webhook?.name]);
  return html`
    <p class="path">
      <a href="#/">Integrations</a><span aria-hidden="true">/</span>
      <a href="#/integrations/${id}">${webhook ? html`<${Foreign}>${webhook.name}<//>` : 'Webhook'}</a>
    </p>
    <div class="title">
      <h1>Delivery</h1>
      ${delivery && html`<${Status} status=${delivery.status} />`}
      ${delivery?.test && html`<span class="tag">test</span>`}
    </div>
    <${Trouble} error=${error}>
      ${!delivery && error?.status !== 404 && html`<button type="button" onClick=${() => reload()}>Try again</button>`}
    <//>
    ${!delivery && !error && html`<${Loading} lines=${8} />`}
    ${delivery &&
    html`<div class="columns">
      <div>
        <${Facts} delivery=${delivery} />
        <${Timeline} delivery=${delivery} />
        <${Redeliver} id=${id} delivery=${delivery} text=${loaded.text} onDone=${set} reload=${reload} />
      </div>
      <${Sent} integration=${webhook} delivery=${delivery} text=${loaded.text} />
    </div>`}
  `;
}

function Facts({ delivery }) {
  return html`<dl class="facts">
    <div><dt>Event</dt><dd><code>${words.shown(delivery.event_type)}</code></dd></div>
    <div><dt>Alert</dt><dd>${delivery.alert_id}</dd></div>
    <div><dt>Created</dt><dd><${Time} of=${delivery.created_at} /></dd></div>
    <div><dt>Id</dt><dd><code class="break">${delivery.id}</code> <${Copy} text=${delivery.id} /></dd></div>
  </dl>`;
}

function Timeline({ delivery }) {
  const { attempts, status, cancel_reason: cancelled } = delivery;
  const first = attempts[0]?.number ?? 1;
  const next = (attempts.at(-1)?.number ?? 0) + 1;
  return html`<section class="card" aria-labelledby="attempts">
    <h2 id="attempts">Attempts</h2>
    <ol class="timeline">
      ${first > 1 &&
      html`<li class="quiet">
        <p>The first ${words.plural(first - 1, 'attempt is', 'attempts are')} no longer kept.</p>
      </li>`}
      ${attempts.map((attempt) => html`<${Attempt} key=${attempt.number} attempt=${attempt} />`)}
      ${status === 'sending' && html`<li class="busy"><h3>Attempt ${next}</h3><p>Being sent now.</p></li>`}
      ${status === 'waiting' &&
      html`<li class="busy">
        <h3>Attempt ${next}</h3>
        <p>
          <${Countdown} to=${delivery.next_attempt_at} over="due now" />
          <span class="quiet"> · <${Time} of=${delivery.next_attempt_at} /></span>
        </p>
      </li>`}
      ${status === 'failed' && html`<li class="bad"><p>No attempt is left: the delivery has failed.</p></li>`}
      ${status === 'cancelled' &&
      html`<li class="off"><p>Cancelled. ${words.shown(cancelled?.message ?? '')}</p></li>`}
    </ol>
  </section>`;
}

function Attempt({ attempt }) {
  const good = attempt.outcome === 'accepted';
  const kind = good ? 'good' : 'bad';
  return html`<li class=${kind}>
    <h3>Attempt ${attempt.number} <${State} kind=${kind}>${words.outcome(attempt)}<//></h3>
    <p class="quiet">
      <${Time} of=${attempt.started_at} />
      ${attempt.duration_ms !== null && ` · ${words.milliseconds(attempt.duration_ms)}`}
    </p>
    ${attempt.error && html`<p class="advice">${words.shown(attempt.error.message)}</p>`}
    ${attempt.possible_duplicate && html`<p class="quiet">Your endpoint may have received this request twice.</p>`}
    ${attempt.response_excerpt &&
    html`<${Code} label="Response to attempt ${attempt.number}" lines="wrapped">${attempt.response_excerpt}<//>`}
  </li>`;
}

function Redeliver({ id, delivery, text, onDone, reload }) {
  const [done, setDone] = useState(false);
  const redelivery = useTask(async () => {
    const { value } = await api.redeliver(id, delivery.id);
    // The answer has no payload; it is still the one that is shown.
    onDone({ value: { ...delivery, ...value }, text });
    setDone(true);
    reload();
  });
  const possible = !words.PENDING.includes(delivery.status) && delivery.redeliveries_left > 0;
  return html`<div class="redeliver">
    ${possible &&
    html`<${Action} busy=${redelivery.busy} busyLabel="Sending…" onClick=${redelivery.run}>Redeliver<//>`}
    <p class="quiet" role="status">${aboutRedelivery(delivery, done)}</p>
    <${Trouble} error=${redelivery.error} />
  </div>`;
}

function aboutRedelivery({ status, redeliveries_left: left }, done) {
  if (words.PENDING.includes(status)) return done && 'It is on its way again.';
  if (left === 0) return 'It was redelivered as often as possible.';
  return `Sends it again, with a new round of attempts. ${words.plural(left, 'round')} left.`;
}

function Sent({ integration, delivery, text }) {
  const payload = member(text, 'payload');
  if (!payload || payload === 'null') {
    return html`<section class="card"><h2>Payload</h2><p class="quiet">It is no longer kept.</p></section>`;
  }
  const command = integration && curl(integration, delivery, payload);
  return html`<div>
    <section class="card" aria-labelledby="payload">
      <header class="card-head"><h2 id="payload">Payload</h2><${Copy} text=${payload} label="Copy as sent" /></header>
      <${Code} label="The payload">${indented(payload)}<//>
    </section>
    ${command &&
    html`<section class="card" aria-labelledby="curl">
      <header class="card-head"><h2 id="curl">As curl</h2><${Copy} text=${command} label="Copy curl" /></header>
      <p class="hint">
        With the integration's settings of today. Secrets are left out: fill in header values and signature.
      </p>
      <${Code} label="The curl command">${command}<//>
    </section>`}
  </div>`;
}
