// One integration: its state, actions, configuration and log.

import * as address from '../address.js';
import * as api from '../api.js';
import * as cache from '../cache.js';
import {
  Action,
  Confirm,
  ErrorNotice,
  Loading,
  State,
  Switch,
  Time,
  TryAgain,
  UserText,
  Warnings,
} from '../components.js';
import * as format from '../format.js';
import { html, useEffect, useState } from '../html.js';
import { usePolled } from '../polling.js';
import { useTask } from '../use_task.js';
import { Log } from './log.js';
import { RotateSecret } from './rotate_secret.js';
import { NewSecret, SigningSecret, Verification } from './signing_secret.js';
import { TestResult } from './test_result.js';

// The log is refreshed more often, and reloads this when a delivery changes.
const REFRESH_MS = 15_000;

export function Integration({ id, query }) {
  const { loaded, error, reload } = usePolled(
    cache.keyOf(id),
    () => api.integration(id),
    () => REFRESH_MS,
  );
  // One that has been deleted is not shown, although it is still remembered.
  const integration = error?.status === 404 ? null : loaded?.value;
  useEffect(() => {
    document.title = `${format.visible(integration?.name ?? 'Integration')} · Roboticks`;
  }, [integration?.name]);
  return html`
    <p class="path"><a href="#/">Integrations</a></p>
    ${
      integration
        ? html`<${Body} integration=${integration} etag=${loaded.etag} query=${query} error=${error} reload=${reload} />`
        : html`<h1>Webhook</h1>
          <${ErrorNotice} error=${error}>${error?.status !== 404 && html`<${TryAgain} onClick=${reload} />`}<//>
          ${!error && html`<${Loading} lines=${10} />`}`
    }
  `;
}

function Body({ integration, etag, query, error, reload }) {
  const [dialog, open] = useState(null);
  const [result, show] = useState(null);
  const { id } = integration;
  const [chosenEvent, chooseEvent] = useState(null);
  const testEvent = chosenEvent ?? integration.event_types[0] ?? format.EVENTS[0][0];
  const [word, kind] = format.health(integration);
  const toggle = useTask(async (enabled) => cache.store(await api.change(id, { enabled })));
  const test = useTask(async () => {
    show(null);
    show((await api.test(id, testEvent)).value);
  });
  const close = () => open(null);

  return html`
    <div class="title">
      <h1><${UserText}>${integration.name}<//></h1>
      <${State} kind=${kind}>${word}<//>
      <div class="tools">
        <span class="enabled">
          <span aria-hidden="true">Enabled</span>
          <${Switch} on=${integration.enabled} busy=${toggle.busy} label="Enabled" onChange=${toggle.run} />
        </span>
        <select aria-label="Event to test with" onChange=${({ target }) => chooseEvent(target.value)}>
          ${format.EVENTS.map(([event]) => html`<option selected=${event === testEvent}>${event}</option>`)}
        </select>
        <${Action} class="primary" busy=${test.busy} busyLabel="Testing…" onClick=${() => test.run()}>Test<//>
        <a class="button" href="#/integrations/${id}/edit">Edit</a>
        <button type="button" class="danger" onClick=${() => open('delete')}>Delete</button>
      </div>
    </div>
    <${ErrorNotice} error=${error ?? toggle.error} />
    <${Health} integration=${integration} />
    <${Warnings} integration=${integration} />
    <${NewSecret} integration=${integration} />
    ${
      test.busy &&
      html`<section class="card test">
      <h2>Test</h2>
      <p role="status">Sending a sample event to your endpoint…</p>
    </section>`
    }
    <${ErrorNotice} error=${test.error} />
    ${result && html`<${TestResult} result=${result} integrationId=${id} onClose=${() => show(null)} />`}
    <section class="card" aria-labelledby="configuration">
      <h2 id="configuration">Configuration</h2>
      <${Configuration} integration=${integration} onRotate=${() => open('rotate')} onRemove=${() => open('remove')} />
    </section>
    <${Log} integration=${integration} query=${query} fresh=${result?.delivery_id} onChange=${reload} isUnreachable=${error instanceof api.NoResponse} />
    ${dialog === 'delete' && html`<${Delete} integration=${integration} onClose=${close} />`}
    ${dialog === 'remove' && html`<${RemoveSecret} integration=${integration} onClose=${close} />`}
    ${
      dialog === 'rotate' &&
      html`<${RotateSecret} integration=${integration} etag=${etag} onClose=${close} reload=${reload} />`
    }
  `;
}

// Why the integration does not work, if it does not.
function Health({ integration }) {
  const [word, kind] = format.health(integration);
  const { since } = integration.health;
  if (!(kind === 'bad' || kind === 'off')) return null;
  return html`<div class="notice ${kind}">
    <p>
      ${since && html`<strong>${word} since <${Time} of=${since} />.</strong>`}${' '}
      ${format.healthReason(integration)}
    </p>
  </div>`;
}

function Configuration({ integration, onRotate, onRemove }) {
  const headers = Object.entries(integration.headers);
  const line = (label, content) => html`<div><dt>${label}</dt><dd>${content}</dd></div>`;
  const list = (items) => html`${items.map((item, index) => html`${index > 0 && ', '}<${UserText}>${item}<//>`)}`;
  return html`<dl class="facts">
      ${line('Webhook URL', html`<span class="mono break"><${UserText}>${integration.url}<//></span>`)}
      ${line('HTTP Method', integration.method)}
      ${line('Event types', integration.event_types.length ? list(integration.event_types) : 'All')}
      ${integration.severities.length > 0 && line('Severities', list(integration.severities))}
      ${integration.project_ids.length > 0 && line('Projects', list(integration.project_ids))}
      ${line(
        'Custom headers',
        headers.length
          ? headers.map(([name, { last4 }]) => html`<code class="header">${name}: ${format.masked(last4)}</code>`)
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
    if (removal.isMounted()) address.go('#/');
    cache.remove(integration.id);
  });
  return html`<${Confirm} title="Delete this webhook?" verb="Delete" doing="Deleting…" task=${removal} onClose=${onClose}>
    <p>
      <strong><${UserText}>${integration.name}<//></strong> will receive no more alerts, and deliveries that wait for
      another attempt will be cancelled. This cannot be undone.
    </p>
  <//>`;
}

function RemoveSecret({ integration, onClose }) {
  const removal = useTask(async () => {
    cache.store(await api.change(integration.id, { signing_secret: null }));
    onClose();
  });
  return html`<${Confirm}
    title="Remove the signing secret?"
    verb="Remove"
    doing="Removing…"
    task=${removal}
    onClose=${onClose}
  >
    <p>Requests will no longer be signed. An endpoint that verifies signatures will reject them.</p>
  <//>`;
}
