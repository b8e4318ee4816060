// The signing secret: shown once when it is new, rotated with an overlap, and how to verify what it signs.

import * as api from '../api.js';
import { html, useRef, useState } from '../html.js';
import { Action, Code, Copy, Countdown, Dialog, Field, Mistake, Time, Trouble } from '../parts.js';
import { useTask } from '../task.js';
import { examples } from '../verification.js';
import * as words from '../words.js';

// Generated secrets that were not confirmed as copied. In memory only: a reload forgets them, as the page says.
const fresh = new Map();

export function reveal(id, secret) {
  fresh.set(id, secret);
}

export function NewSecret({ integration, onDone }) {
  const secret = fresh.get(integration.id);
  if (!secret) return null;
  const done = () => {
    fresh.delete(integration.id);
    onDone();
  };
  return html`<section class="card notice info" aria-labelledby="new-secret">
    <h2 id="new-secret">Your signing secret</h2>
    <p>Copy it now, and keep it where your endpoint can read it. It is not shown again.</p>
    <div class="copyable">
      <code class="secret">${secret}</code>
      <${Copy} text=${secret} label="Copy secret" />
    </div>
    <${Verification} integration=${integration} />
    <p><button type="button" onClick=${done}>I have copied it</button></p>
  </section>`;
}

export function Verification({ integration }) {
  const [chosen, choose] = useState(0);
  const tabs = useRef();
  const all = examples(integration);
  const [language, code] = all[chosen];
  const move = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = (chosen + step + all.length) % all.length;
    choose(next);
    tabs.current.children[next].focus();
  };
  return html`<div class="verification">
    <p>
      Every request carries <code>X-Roboticks-Signature</code>: the HMAC-SHA256 of the raw body, keyed by your whole
      signing secret (<code>whsec_</code> included). The libraries of Standard Webhooks, which also refuse replays, work
      with the secret as well.
    </p>
    <div class="tabs" role="tablist" aria-label="Language" ref=${tabs} onKeyDown=${move}>
      ${all.map(
        ([name], index) => html`<button type="button" role="tab" id="language-${index}" aria-controls="example"
          aria-selected=${index === chosen ? 'true' : 'false'} tabindex=${index === chosen ? 0 : -1}
          onClick=${() => choose(index)}>${name}</button>`,
      )}
    </div>
    <div id="example" role="tabpanel" aria-labelledby="language-${chosen}" class="example">
      <${Code} label="Verification in ${language}">${code}<//>
      <${Copy} text=${code} />
    </div>
  </div>`;
}

// The line of the configuration that tells of the secret, with what can be done about it.
export function SigningSecret({ integration, onChange, onRotate }) {
  const { has_signing_secret: has, signing_secret_last4: last4, previous_secret_valid_until: overlap } = integration;
  if (!has) {
    return html`<span class="quiet">None: requests are not signed</span>
      <button type="button" class="small" onClick=${onRotate}>Add a secret</button>`;
  }
  return html`
    <code>${words.masked(last4)}</code>
    <button type="button" class="small" onClick=${onRotate}>Rotate</button>
    <${Remove} integration=${integration} onChange=${onChange} />
    ${overlap &&
    html`<span class="overlap">
      The previous secret signs too, until <${Time} of=${overlap} />${' '}
      (<${Countdown} to=${overlap} over="over" />).
    </span>`}
  `;
}

function Remove({ integration, onChange }) {
  const [asked, ask] = useState(false);
  const removal = useTask(async () => {
    onChange(await api.change(integration.id, { signing_secret: null }));
    ask(false);
  });
  const dialog = html`<${Dialog} title="Remove the signing secret?" onClose=${() => ask(false)}>
    <p>Requests will no longer be signed. An endpoint that verifies them will refuse them.</p>
    <${Trouble} error=${removal.error} />
    <footer class="actions">
      <${Action} class="danger" busy=${removal.busy} busyLabel="Removing…" onClick=${removal.run}>Remove<//>
      <button type="button" onClick=${() => ask(false)}>Cancel</button>
    </footer>
  <//>`;
  return html`<button type="button" class="small" onClick=${() => ask(true)}>Remove</button>
    ${asked && dialog}`;
}

const OVERLAPS = [
  [0, 'None: the old secret ends at once'],
  [3600, '1 hour'],
  [86_400, '24 hours'],
  [604_800, '7 days'],
];

export function RotateSecret({ integration, onClose, onRotated }) {
  const [own, setOwn] = useState(false);
  const [secret, setSecret] = useState('');
  const [overlap, setOverlap] = useState(86_400);
  const has = integration.has_signing_secret;
  const { busy, error, run } = useTask(async () => {
    const fields = { ...(own && { signing_secret: secret }), overlap_seconds: has ? overlap : 0 };
    const { value, etag } = await api.rotateSecret(integration.id, fields);
    const { signing_secret: generated, ...rest } = value;
    if (generated) reveal(integration.id, generated);
    onRotated({ value: rest, etag });
  });
  const rotate = (event) => {
    event.preventDefault();
    run();
  };
  const mistake = error?.about?.('signing_secret');
  return html`<${Dialog} title=${has ? 'Rotate the signing secret' : 'Add a signing secret'} onClose=${onClose}>
    <form onSubmit=${rotate} novalidate>
      ${has &&
      html`<p>
        During the overlap every request carries both signatures: the new secret's in
        ${' '}<code>X-Roboticks-Signature</code>, the old one's in <code>X-Roboticks-Signature-Previous</code>.
      </p>`}
      <fieldset>
        <legend>New secret</legend>
        <label class="choice">
          <input type="radio" name="new" checked=${!own} onChange=${() => setOwn(false)} />
          <span>Generate one<small>It is shown once.</small></span>
        </label>
        <label class="choice">
          <input type="radio" name="new" checked=${own} onChange=${() => setOwn(true)} />
          <span>Use my own<small>Between 8 and 256 bytes.</small></span>
        </label>
        ${own && html`<${OwnSecret} id="rotate" value=${secret} mistake=${mistake} onInput=${setSecret} />`}
      </fieldset>
      ${has &&
      html`<${Field} id="overlap" label="Overlap" mistake=${error?.about?.('overlap_seconds')}>
        ${(control) => html`<select ...${control} onChange=${(event) => setOverlap(Number(event.target.value))}>
          ${OVERLAPS.map(
            ([seconds, label]) => html`<option value=${seconds} selected=${seconds === overlap}>${label}</option>`,
          )}
        </select>`}
      <//>`}
      <${Trouble} error=${mistake ? null : error} />
      <footer class="actions">
        <${Action} type="submit" class="primary" busy=${busy} busyLabel="Saving…">${has ? 'Rotate' : 'Add'}<//>
        <button type="button" onClick=${onClose}>Cancel</button>
      </footer>
    </form>
  <//>`;
}

// A field for a secret of the customer's own, with its mistake.
export function OwnSecret({ id, value, mistake, onInput }) {
  return html`<div class="own">
    <input
      class="mono"
      aria-label="Your signing secret"
      autocomplete="off"
      spellcheck=${false}
      value=${value}
      aria-invalid=${mistake ? 'true' : undefined}
      aria-describedby=${mistake ? `${id}-mistake` : undefined}
      onInput=${(event) => onInput(event.target.value)}
    />
    <${Mistake} id="${id}-mistake">${mistake}<//>
  </div>`;
}
