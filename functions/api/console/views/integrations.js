// All integrations of the organization, each with its state; or what a webhook is, when there is none yet.

import * as api from '../api.js';
import { html, useEffect } from '../html.js';
import * as known from '../known.js';
import { Foreign, Loading, State, Switch, Time, Trouble, TryAgain } from '../parts.js';
import { useTask } from '../task.js';
import { useLoaded } from '../watch.js';
import * as words from '../words.js';

const REFRESH_MS = 10_000;

export function Integrations() {
  const { loaded, error, reload } = useLoaded(known.LIST, api.integrations, () => REFRESH_MS);
  const items = loaded?.value.items;
  useEffect(() => {
    document.title = 'Integrations · Roboticks';
  }, []);
  return html`
    <p class="path">Settings</p>
    <h1>Integrations</h1>
    <section class="card" aria-labelledby="custom-webhook">
      <header class="card-head">
        <div>
          <h2 id="custom-webhook">Custom Webhook</h2>
          <p class="hint">Send alert data to any HTTP endpoint.</p>
        </div>
        <a class="button primary" href="#/add">Add</a>
      </header>
      <${Trouble} error=${error}>${!items && html`<${TryAgain} onClick=${reload} />`}<//>
      ${!items && !error && html`<${Loading} lines=${4} />`}
      ${items?.length === 0 && html`<${First} />`}
      ${
        items?.length > 0 &&
        html`<ul class="integrations">
        ${items.map((item) => html`<${Row} key=${item.id} item=${item} />`)}
      </ul>`
      }
    </section>
  `;
}

function Row({ item }) {
  const [word, kind] = words.health(item);
  const { since } = item.health;
  const troubled = kind === 'bad' || kind === 'off';
  const toggle = useTask(async (enabled) => known.keep(await api.change(item.id, { enabled })));
  return html`<li>
    <a class="name" href="#/integrations/${item.id}"><${Foreign}>${item.name}<//></a>
    <span class="target"><span class="method">${item.method}</span> <${Foreign}>${item.url}<//></span>
    <span class="row-state">
      <${State} kind=${kind}>${word}<//>
      ${troubled && since && html`<span class="since">since <${Time} of=${since} /></span>`}
    </span>
    <${Switch}
      on=${item.enabled}
      busy=${toggle.busy}
      label="Enabled: ${words.shown(item.name)}"
      onChange=${toggle.run}
    />
    ${troubled && html`<p class="reason">${words.why(item)}</p>`}
    <${Trouble} error=${toggle.error} />
  </li>`;
}

function First() {
  return html`<div class="first">
    <div>
      <h3>No webhook yet</h3>
      <p>
        A webhook is an address of yours that is told when something happens. For each alert of your organization we
        send it one HTTP request with the details as JSON.
      </p>
      <ol>
        <li>Have an HTTP endpoint that answers with 200.</li>
        <li>Add it here, with a signing secret so that it can tell our requests from others.</li>
        <li>Press Test, and see what was sent and what came back.</li>
      </ol>
      <p><a class="button" href="#/add">Add your first webhook</a></p>
    </div>
    <pre class="code" aria-label="An example of a request" role="region" tabindex="0"><code>${EXAMPLE}</code></pre>
  </div>`;
}

const EXAMPLE = `POST /your-endpoint HTTP/1.1
Content-Type: application/json
X-Roboticks-Event: alert.triggered
X-Roboticks-Signature: sha256=6c1f…

{
  "event_type": "alert.triggered",
  "alert": {
    "name": "Device Offline",
    "severity": "critical",
    …
  },
  …
}`;
