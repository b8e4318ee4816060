// The organization's integrations, each with its state; or an introduction, when there are none yet.

import * as api from '../api.js';
import * as cache from '../cache.js';
import { ErrorNotice, Loading, State, Switch, Time, TryAgain, UserText } from '../components.js';
import * as format from '../format.js';
import { html, useEffect } from '../html.js';
import { usePolled } from '../polling.js';
import { useTask } from '../use_task.js';

const REFRESH_MS = 10_000;

export function Integrations() {
  const { loaded, error, reload } = usePolled(cache.LIST, api.integrations, () => REFRESH_MS);
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
      <${ErrorNotice} error=${error}>${!items && html`<${TryAgain} onClick=${reload} />`}<//>
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
  const [word, kind] = format.health(item);
  const { since } = item.health;
  const notWorking = kind === 'bad' || kind === 'off';
  const toggle = useTask(async (enabled) => cache.store(await api.change(item.id, { enabled })));
  return html`<li>
    <a class="name" href="#/integrations/${item.id}"><${UserText}>${item.name}<//></a>
    <span class="target"><span class="method">${item.method}</span> <${UserText}>${item.url}<//></span>
    <span class="row-state">
      <${State} kind=${kind}>${word}<//>
      ${notWorking && since && html`<span class="since">since <${Time} of=${since} /></span>`}
    </span>
    <${Switch}
      on=${item.enabled}
      busy=${toggle.busy}
      label="Enabled: ${format.visible(item.name)}"
      onChange=${toggle.run}
    />
    ${notWorking && html`<p class="reason">${format.healthReason(item)}</p>`}
    <${ErrorNotice} error=${toggle.error} />
  </li>`;
}

function First() {
  return html`<div class="first">
    <div>
      <h3>No webhook yet</h3>
      <p>
        A webhook is a URL of yours that we call when something happens: one HTTP request for each alert of your
        organization, with the details as JSON.
      </p>
      <ol>
        <li>Set up an HTTP endpoint that answers with 200.</li>
        <li>Add it here, with a signing secret so that it can verify that requests come from us.</li>
        <li>Press Test to see what was sent and what came back.</li>
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
