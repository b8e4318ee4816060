// One delivery: its attempts, and the payload that was sent.

import * as api from '../api.js';
import { keyOf } from '../cache.js';
import {
  Action,
  Code,
  Copy,
  Countdown,
  ErrorNotice,
  Loading,
  State,
  Status,
  Time,
  TryAgain,
  UserText,
} from '../components.js';
import { curl } from '../curl.js';
import * as format from '../format.js';
import { html, useEffect, useMemo, useState } from '../html.js';
import { indented, member } from '../json_text.js';
import { remember, usePolled } from '../polling.js';
import { refreshDelay } from '../refresh_delay.js';
import { useTask } from '../use_task.js';

// A delivery that has ended changes only when it is redelivered, and each refresh loads the whole payload.
const REFRESH_ENDED_MS = 60_000;

export function Delivery({ id, deliveryId }) {
  const integration = usePolled(
    keyOf(id),
    () => api.integration(id),
    () => 60_000,
  );
  const { loaded, error, reload } = usePolled(
    `delivery ${deliveryId}`,
    () => api.oneDelivery(id, deliveryId),
    (last) => (last && !format.isPending(last.value) ? REFRESH_ENDED_MS : refreshDelay(last ? [last.value] : [])),
  );
  const webhook = integration.loaded?.value;
  const delivery = loaded?.value;
  const payload = useMemo(() => delivery && member(loaded.text, 'payload'), [loaded?.text]);
  useEffect(() => {
    document.title = `Delivery · ${format.visible(webhook?.name ?? 'Integration')} · Roboticks`;
  }, [webhook?.name]);
  // The response does not include the payload, which has not changed.
  const onRedelivered = (value) => {
    remember(`delivery ${deliveryId}`, { value: { ...delivery, ...value }, text: loaded.text });
    reload();
  };
  return html`
    <p class="path">
      <a href="#/">Integrations</a><span aria-hidden="true">/</span>
      <a href="#/integrations/${id}">${webhook ? html`<${UserText}>${webhook.name}<//>` : 'Webhook'}</a>
    </p>
    <div class="title">
      <h1>Delivery</h1>
      ${delivery && html`<${Status} status=${delivery.status} />`}
      ${delivery?.test && html`<span class="tag">test</span>`}
    </div>
    <${ErrorNotice} error=${error}>
      ${!delivery && error?.status !== 404 && html`<${TryAgain} onClick=${reload} />`}
    <//>
    ${!delivery && !error && html`<${Loading} lines=${8} />`}
    ${
      delivery &&
      html`<div class="columns">
        <div>
          <${Facts} delivery=${delivery} />
          <${Timeline} delivery=${delivery}>
            ${!delivery.test && html`<${Redeliver} id=${id} delivery=${delivery} onDone=${onRedelivered} />`}
          <//>
        </div>
        <${Request} integration=${webhook} delivery=${delivery} payload=${payload} />
      </div>`
    }
  `;
}

function Facts({ delivery }) {
  return html`<dl class="facts">
    <div><dt>Event</dt><dd><code>${format.visible(delivery.event_type)}</code></dd></div>
    <div><dt>Alert</dt><dd>${delivery.alert_id}</dd></div>
    <div><dt>Created</dt><dd><${Time} of=${delivery.created_at} utc="whole" /></dd></div>
    <div><dt>Id</dt><dd><code class="break">${delivery.id}</code> <${Copy} text=${delivery.id} label="Copy id" /></dd></div>
  </dl>`;
}

function Timeline({ delivery, children }) {
  const { attempts, status, cancel_reason: cancelled } = delivery;
  const first = attempts[0]?.number ?? 1;
  const next = (attempts.at(-1)?.number ?? 0) + 1;
  return html`<section class="card" aria-labelledby="attempts">
    <h2 id="attempts">Attempts</h2>
    <ol class="timeline">
      ${
        first > 1 &&
        html`<li class="quiet">
        <p>The first ${first > 2 ? `${first - 1} attempts are` : 'attempt is'} no longer stored.</p>
      </li>`
      }
      ${attempts.map((attempt) => html`<${Attempt} key=${attempt.number} attempt=${attempt} />`)}
      ${status === 'sending' && html`<li class="busy"><h3>Attempt ${next}</h3><p>Being sent now.</p></li>`}
      ${
        status === 'waiting' &&
        html`<li class="busy">
        <h3>Attempt ${next}</h3>
        <p>
          <${Countdown} to=${delivery.next_attempt_at} over="due now" />
          <span class="quiet"> · </span><${Time} of=${delivery.next_attempt_at} utc="clock" />
        </p>
      </li>`
      }
      ${status === 'failed' && html`<li class="bad"><p>There will be no further attempts: the delivery has failed.</p></li>`}
      ${status === 'cancelled' && html`<li class="off"><p>Cancelled. ${format.visible(cancelled?.message ?? '')}</p></li>`}
    </ol>
    ${children}
  </section>`;
}

function Attempt({ attempt }) {
  const good = attempt.outcome === 'accepted';
  const kind = good ? 'good' : 'bad';
  return html`<li class=${kind}>
    <h3>Attempt ${attempt.number} <${State} kind=${kind}>${format.outcome(attempt)}<//></h3>
    <p class="quiet">
      <${Time} of=${attempt.started_at} utc="clock" />
      ${attempt.duration_ms !== null && ` · ${format.milliseconds(attempt.duration_ms)}`}
    </p>
    ${attempt.error && html`<p class="advice">${format.visible(attempt.error.message)}</p>`}
    ${attempt.possible_duplicate && html`<p class="quiet">Your endpoint may have received this request twice.</p>`}
    ${
      attempt.response_excerpt &&
      html`<${Code} label="Response to attempt ${attempt.number}" lines="wrapped">${attempt.response_excerpt}<//>`
    }
  </li>`;
}

function Redeliver({ id, delivery, onDone }) {
  const [done, setDone] = useState(false);
  const redelivery = useTask(async () => {
    const { value } = await api.redeliver(id, delivery.id);
    setDone(true);
    onDone(value);
  });
  const possible = !format.isPending(delivery) && delivery.redeliveries_left > 0;
  return html`<div class="redeliver">
    ${possible && html`<${Action} busy=${redelivery.busy} busyLabel="Sending…" onClick=${redelivery.run}>Redeliver<//>`}
    <p class="quiet" role="status">${redeliveryHint(delivery, done)}</p>
    <${ErrorNotice} error=${redelivery.error} />
  </div>`;
}

function redeliveryHint(delivery, done) {
  const { redeliveries_left: left } = delivery;
  if (format.isPending(delivery)) return done && 'It is being sent again.';
  if (left === 0) return 'It has been redelivered the maximum number of times.';
  return `Sends it again, with a new round of attempts. ${format.plural(left, 'round')} left.`;
}

function Request({ integration, delivery, payload }) {
  const formatted = useMemo(() => payload && indented(payload), [payload]);
  if (!payload || payload === 'null') {
    return html`<section class="card"><h2>Payload</h2><p class="quiet">It is no longer stored.</p></section>`;
  }
  const command = integration && curl(integration, delivery, payload);
  return html`<div>
    <section class="card" aria-labelledby="payload">
      <header class="card-head"><h2 id="payload">Payload</h2><${Copy} text=${payload} label="Copy as sent" /></header>
      <${Code} label="The payload">${formatted}<//>
    </section>
    ${
      command &&
      html`<section class="card" aria-labelledby="curl">
      <header class="card-head"><h2 id="curl">As curl</h2><${Copy} text=${command} label="Copy curl" /></header>
      <p class="hint">
        Uses the integration's current settings. Secrets are left out: fill in the header values and the signature.
      </p>
      <${Code} label="The curl command">${command}<//>
    </section>`
    }
  </div>`;
}
