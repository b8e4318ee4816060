// The result of a test: the request, the response, how long each phase took, and what to do about a failure.

import { Code, State } from '../components.js';
import * as format from '../format.js';
import { html, useEffect, useRef } from '../html.js';
import { indented } from '../json_text.js';

export function TestResult({ result, integrationId, onClose }) {
  const { request, response, error, timings, outcome } = result;
  const good = outcome === 'accepted';
  // Scrolls to the result and announces it.
  const heading = useRef();
  useEffect(() => heading.current.focus(), [result]);
  return html`<section class="card test" aria-labelledby="test-result">
    <header class="card-head">
      <h2 id="test-result" tabindex="-1" ref=${heading}>Test</h2>
      <button type="button" class="small" onClick=${onClose}>Close</button>
    </header>
    <p class="verdict">
      <${State} kind=${good ? 'good' : 'bad'}>${format.outcome({ outcome, status_code: response?.status_code })}<//>
      ${result.duration_ms !== null && html`<span class="quiet">in ${format.milliseconds(result.duration_ms)}</span>`}
      <a href="#/integrations/${integrationId}/deliveries/${result.delivery_id}">View it in the log</a>
    </p>
    ${good && html`<p>Your endpoint accepted the request.</p>`}
    ${error && html`<p class="advice">${format.visible(error.message)}</p>`}
    ${timings && html`<${Phases} timings=${timings} />`}
    <div class="exchange">
      <div>
        <h3>What was sent</h3>
        <${Code} label="The request">${requestText(request)}<//>
      </div>
      <div>
        <h3>What came back</h3>
        ${
          response
            ? html`<p>Status <strong>${response.status_code}</strong>${!response.excerpt && ', with an empty body'}</p>
              ${
                response.excerpt && html`<${Code} label="Start of the response" lines="wrapped">${response.excerpt}<//>`
              }`
            : html`<p class="quiet">No response.</p>`
        }
      </div>
    </div>
  </section>`;
}

function requestText({ method, url, headers, body }) {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  return `${method} ${url}\n${lines.join('\n')}\n\n${indented(body)}`;
}

const PHASES = [
  ['dns_ms', 'DNS'],
  ['connect_ms', 'Connect'],
  ['tls_ms', 'TLS'],
  ['first_byte_ms', 'First byte'],
];

// The durations of the phases, as a bar and in numbers.
function Phases({ timings }) {
  const taken = PHASES.map(([name, label]) => [label, timings[name]]).filter(([, ms]) => ms !== null);
  if (taken.length === 0) return null;
  return html`<div class="phases">
    <div class="bar" aria-hidden="true">
      ${taken.map(([label, ms]) => html`<span data-phase=${label} style=${{ flexGrow: Math.max(ms, 0.5) }}></span>`)}
    </div>
    <dl>
      ${taken.map(
        ([label, ms]) => html`<div data-phase=${label}><dt>${label}</dt><dd>${format.milliseconds(ms)}</dd></div>`,
      )}
    </dl>
  </div>`;
}
