// One integration: its state, what can be done with it, its configuration and its log.

import * as address from '../address.js';
import * as api from '../api.js';
import { html, useEffect, useState } from '../html.js';
import * as known from '../known.js';
import { Action, Confirm, Foreign, Loading, State, Switch, Time, Trouble, TryAgain } from '../parts.js';
import { useTask } from '../task.js';
import { useLoaded } from '../watch.js';
import * as words from '../words.js';
import { Log } from './log.js';
import { RotateSecret } from './rotate_secret.js';
import { NewSecret, SigningSecret, Verification } from './signing_secret.js';
import { TestResult } from './test_result.js';

// Its log tells of news sooner.
const REFRESH_MS = 15_000;

export function Integration({ id, query }) {
  const { loaded, error, reload } = useLoaded(
    known.keyOf(id),
    () => api.integration(id),
    () => REFRESH_MS,
  );
  // What was remembered of one that is gone is not shown.
  const integration = error?.status === 404 ? null : loaded?.value;
  useEffect(() => {
    document.title = `${words.shown(integration?.name ?? 'Integration')} · Roboticks`;
  }, [integration?.name]);
  return html`
    <p class="path"><a href="#/">Integrations</a></p>
    ${
      integration
        ? html`<${Body} integration=${integration} etag=${loaded.etag} query=${query} error=${error} reload=${reload} />`
        : html`<h1>Webhook</h1>
          <${Trouble} error=${error}>${error?.status !== 404 && html`<${TryAgain} onClick=${reload} />`}<//>
          ${!error && html`<${Loading} lines=${10} />`}`
    }
  `;
}

function Body({ integration, etag, query, error, reload }) {
  const [dialog, open] = useState(null);
  const [result, show] = useState(null);
  const { id } = integration;
  const [word, kind] = words.health(integration);
  const toggle = useTask(async (enabled) => known.keep(await api.change(id, { enabled })));
  const test = useTask(async () => {
    show(null);
    show((await api.test(id)).value);
  });
  const close = () => open(null);

  return html`
    <div class="title">
      <h1><${Foreign}>${integration.name}<//></h1>
      <${State} kind=${kind}>${word}<//>
      <div class="tools">
        <span class="enabled">
          <span aria-hidden="true">Enabled</span>
          <${Switch} on=${integration.enabled} busy=${toggle.busy} label="Enabled" onChange=${toggle.run} />
        </span>
        <${Action} class="primary" busy=${test.busy} busyLabel="Testing…" onClick=${test.run}>Test<//>
        <a class="button" href="#/integrations/${id}/edit">Edit</a>
        <button type="button" class="danger" onClick=${() => open('delete')}>Delete</button>
      </div>
    </div>
    <${Trouble} error=${error ?? toggle.error} />
    <${Health} integration=${integration} />
    <${NewSecret} integration=${integration} />
    ${
      test.busy &&
      html`<section class="card test">
      <h2>Test</h2>
      <p role="status">Sending a sample payload to your endpoint…</p>
    </section>`
    }
    <${Trouble} error=${test.error} />
    ${result && html`<${TestResult} result=${result} integrationId=${id} onClose=${() => show(null)} />`}
    <section class="card" aria-labelledby="configuration">
      <h2 id="configuration">Configuration</h2>
      <${Configuration} integration=${integration} onRotate=${() => open('rotate')} onRemove=${() => open('remove')} />
    </section>
    <${Log} integration=${integration} query=${query} fresh=${result?.delivery_id} onNews=${reload} isUnreached=${error instanceof api.Unreached} />
    ${dialog === 'delete' && html`<${Delete} integration=${integration} onClose=${close} />`}
    ${dialog === 'remove' && html`<${RemoveSecret} integration=${integration} onClose=${close} />`}
    ${
      dialog === 'rotate' &&
      html`<${RotateSecret} integration=${integration} etag=${etag} onClose=${close} reload=${reload} />`
    }
  `;
}

// Why it does not work, when it does not.
function Health({ integration }) {
  const [word, kind] = words.health(integration);
  const { since } = integration.health;
  if (!(kind === 'bad' || kind === 'off')) return null;
  return html`<div class="notice ${kind}">
    <p>
      ${since && html`<strong>${word} since <${Time} of=${since} />.</strong>`}${' '}
      ${words.why(integration)}
    </p>
  </div>`;
}

function Configuration({ integration, onRotate, onRemove }) {
  const headers = Object.entries(integration.headers);
  const line = (label, content) => html`<div><dt>${label}</dt><dd>${content}</dd></div>`;
  const list = (items) => html`${items.map((item, index) => html`${index > 0 && ', '}<${Foreign}>${item}<//>`)}`;
  return html`<dl class="facts">
      ${line('Webhook URL', html`<span class="mono break"><${Foreign}>${integration.url}<//></span>`)}
      ${line('HTTP Method', integration.method)}
      ${line('Event types', integration.event_types.length ? list(integration.event_types) : 'All')}
      ${integration.severities.length > 0 && line('Severities', list(integration.severities))}
      ${integration.project_ids.length > 0 && line('Projects', list(integration.project_ids))}
      ${line(
        'Custom headers',
        headers.length
          ? headers.map(([name, { last4 }]) => html`<code class="header">${name}: ${words.masked(last4)}</code>`)
          : html`<span class="quiet">None</span>`,
      )}
      ${line(
        'Signing Secret',
        html`<${SigningSecret} integration=${integration} onRotate=${onRotate} onRemove=${onRemove} />`,
      )}
      ${line('Created', html`<${Time} of=${integration.created_at} utc="whole" />`)}
    </dl>
    ${
      integration.has_signing_secret &&
      html`<details class="more">
      <summary>How to verify the signature</summary>
      <${Verification} integration=${integration} />
    </details>`
    }`;
}

function Delete({ integration, onClose }) {
  const removal = useTask(async () => {
    await api.remove(integration.id);
    if (removal.isThere()) address.go('#/');
    known.drop(integration.id);
  });
  return html`<${Confirm} title="Delete this webhook?" verb="Delete" doing="Deleting…" task=${removal} onClose=${onClose}>
    <p>
      <strong><${Foreign}>${integration.name}<//></strong> receives nothing more, and deliveries that wait for another
      attempt are cancelled. This cannot be undone.
    </p>
  <//>`;
}

function RemoveSecret({ integration, onClose }) {
  const removal = useTask(async () => {
    known.keep(await api.change(integration.id, { signing_secret: null }));
    onClose();
  });
  return html`<${Confirm}
    title="Remove the signing secret?"
    verb="Remove"
    doing="Removing…"
    task=${removal}
    onClose=${onClose}
  >
    <p>Requests will no longer be signed. An endpoint that verifies them will refuse them.</p>
  <//>`;
}
