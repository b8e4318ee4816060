// Gives an integration a new signing secret, or its first. During an overlap the previous one signs requests too.

import * as api from '../api.js';
import * as cache from '../cache.js';
import { Action, Cancel, Dialog, ErrorNotice, Field, Mistake, Time } from '../components.js';
import { html, useRef, useState } from '../html.js';
import { useTask } from '../use_task.js';
import { OWN_SECRET, reveal, SecretChoice } from './signing_secret.js';

const CHOICES = [
  ['generate', 'Generate one', 'It is shown once.'],
  ['own', 'Use my own', OWN_SECRET],
];

const OVERLAPS = [
  [0, 'None: the old secret stops signing immediately'],
  [3600, '1 hour'],
  [86_400, '24 hours'],
  [604_800, '7 days'],
];

const FIELDS = ['signing_secret', 'overlap_seconds'];

export function RotateSecret({ integration, etag, onClose, reload }) {
  const [choice, choose] = useState('generate');
  const [secret, setSecret] = useState('');
  const [overlap, setOverlap] = useState(86_400);
  const [ending, setEnding] = useState(false);
  // With the same key, a retry after a lost response returns the same secret, which is shown only here.
  const idempotencyKey = useRef(crypto.randomUUID());
  // The version that the user sees: if somebody else changes the webhook while this dialog is open, nothing is rotated.
  const seen = useRef(etag);
  const has = integration.has_signing_secret;
  const { busy, error, run } = useTask(async () => {
    const fields = {
      ...(choice === 'own' && { signing_secret: secret.trim() }),
      overlap_seconds: has ? overlap : 0,
      ...(ending && { replace_previous: true }),
    };
    try {
      const { value, etag } = await api.rotateSecret(integration.id, fields, seen.current, idempotencyKey.current);
      const { signing_secret: generated, ...rest } = value;
      if (generated) reveal(integration.id, generated);
      cache.store({ value: rest, etag });
      onClose();
    } catch (refused) {
      // A refused request was not carried out, so the next one gets a new key. One without a response may have been.
      if (refused instanceof api.Problem) idempotencyKey.current = crypto.randomUUID();
      if (refused.status === 409 || refused.status === 412) reload();
      throw refused;
    }
  });
  const submit = (event) => {
    event.preventDefault();
    if (outdated) return;
    if (inOverlap && !ending) return setUnconfirmed(true);
    setUnconfirmed(false);
    run();
  };
  const [isUnconfirmed, setUnconfirmed] = useState(false);
  const outdated = error?.status === 412;
  const inOverlap = has && Boolean(integration.previous_secret_valid_until || error?.status === 409);
  return html`<${Dialog} title=${has ? 'Rotate the signing secret' : 'Add a signing secret'} busy=${busy} onClose=${onClose}>
    <form onSubmit=${submit} novalidate>
      ${
        has &&
        html`<p>
        During the overlap every request carries both signatures: the new secret's in
        ${' '}<code>X-Roboticks-Signature</code>, the old one's in <code>X-Roboticks-Signature-Previous</code>.
      </p>`
      }
      ${
        inOverlap &&
        html`<${Ending} until=${integration.previous_secret_valid_until} on=${ending} onChange=${setEnding}
          isMissing=${isUnconfirmed && !ending} />`
      }
      <${SecretChoice}
        legend="New secret"
        choices=${CHOICES}
        chosen=${choice}
        secret=${secret}
        mistake=${error?.messageFor?.('signing_secret')}
        onChoose=${choose}
        onSecret=${setSecret}
      />
      ${
        has &&
        html`<${Field} id="overlap" label="Overlap" mistake=${error?.messageFor?.('overlap_seconds')}>
        ${(control) => html`<select ...${control} onChange=${(event) => setOverlap(Number(event.target.value))}>
          ${OVERLAPS.map(
            ([seconds, label]) => html`<option value=${seconds} selected=${seconds === overlap}>${label}</option>`,
          )}
        </select>`}
      <//>`
      }
      <${ErrorNotice} error=${outdated ? { message: OUTDATED } : otherError(error)} />
      <footer class="actions">
        ${
          !outdated &&
          html`<${Action} type="submit" class="primary" busy=${busy} busyLabel="Saving…">${has ? 'Rotate' : 'Add'}<//>`
        }
        <${Cancel} busy=${busy} onClick=${onClose} />
      </footer>
    </form>
  <//>`;
}

const OUTDATED =
  'This webhook was changed while the dialog was open, by somebody else or by a rotation whose response was lost. ' +
  'The secret was not rotated now. Close this dialog, check the webhook, and rotate again if you still want to.';

// The error, unless it is shown at its field. A request without a response is safe to repeat.
function otherError(error) {
  if (error instanceof api.NoResponse) {
    return {
      message: `${error.message} Press the button again: if a new secret was already created, you get that one.`,
    };
  }
  return api.withoutFields(error, (field) => FIELDS.includes(field));
}

// Only one previous secret can sign together with the new one, so a rotation during an overlap has to be confirmed.
function Ending({ until, on, isMissing, onChange }) {
  return html`<div class="notice bad">
    <p>
      The previous secret still signs${until && html`${' '}until <${Time} of=${until} />`}. Rotating now ends it
      immediately: an endpoint that still uses it will reject our requests.
    </p>
    <label class="choice">
      <input
        type="checkbox"
        checked=${on}
        aria-invalid=${isMissing ? 'true' : undefined}
        aria-describedby=${isMissing ? 'ending-mistake' : undefined}
        onChange=${({ target }) => onChange(target.checked)}
      />
      <span>End it now</span>
    </label>
    <${Mistake} id="ending-mistake" alone>${isMissing && 'Confirm this, or wait until the previous secret has ended.'}<//>
  </div>`;
}
