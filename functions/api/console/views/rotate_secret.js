// Gives an integration a new signing secret, or its first, with an overlap in which the old one signs too.

import * as api from '../api.js';
import { html, useRef, useState } from '../html.js';
import * as known from '../known.js';
import { Action, Cancel, Dialog, Field, Mistake, Time, Trouble } from '../parts.js';
import { useTask } from '../task.js';
import { OWN_SECRET, reveal, SecretChoice } from './signing_secret.js';

const CHOICES = [
  ['generate', 'Generate one', 'It is shown once.'],
  ['own', 'Use my own', OWN_SECRET],
];

const OVERLAPS = [
  [0, 'None: the old secret ends at once'],
  [3600, '1 hour'],
  [86_400, '24 hours'],
  [604_800, '7 days'],
];

const MARKED = ['signing_secret', 'overlap_seconds'];

export function RotateSecret({ integration, etag, onClose, reload }) {
  const [choice, choose] = useState('generate');
  const [secret, setSecret] = useState('');
  const [overlap, setOverlap] = useState(86_400);
  const [ending, setEnding] = useState(false);
  // Names this rotation: asked for again after an answer was lost, it gives the same secret, which is shown here only.
  const attempt = useRef(crypto.randomUUID());
  // What is looked at is what is rotated: not what somebody else made of it while this dialog was open.
  const seen = useRef(etag);
  const has = integration.has_signing_secret;
  const { busy, error, run } = useTask(async () => {
    const fields = {
      ...(choice === 'own' && { signing_secret: secret.trim() }),
      overlap_seconds: has ? overlap : 0,
      ...(ending && { replace_previous: true }),
    };
    try {
      const { value, etag } = await api.rotateSecret(integration.id, fields, seen.current, attempt.current);
      const { signing_secret: generated, ...rest } = value;
      if (generated) reveal(integration.id, generated);
      known.keep({ value: rest, etag });
      onClose();
    } catch (refused) {
      // What was refused was not done: the next try is another one. What had no answer may have been.
      if (refused instanceof api.Problem) attempt.current = crypto.randomUUID();
      if (refused.status === 409 || refused.status === 412) reload();
      throw refused;
    }
  });
  const submit = (event) => {
    event.preventDefault();
    if (outdated) return;
    if (inOverlap && !ending) return unconfirmed(true);
    unconfirmed(false);
    run();
  };
  const [isUnconfirmed, unconfirmed] = useState(false);
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
        mistake=${error?.about?.('signing_secret')}
        onChoose=${choose}
        onSecret=${setSecret}
      />
      ${
        has &&
        html`<${Field} id="overlap" label="Overlap" mistake=${error?.about?.('overlap_seconds')}>
        ${(control) => html`<select ...${control} onChange=${(event) => setOverlap(Number(event.target.value))}>
          ${OVERLAPS.map(
            ([seconds, label]) => html`<option value=${seconds} selected=${seconds === overlap}>${label}</option>`,
          )}
        </select>`}
      <//>`
      }
      <${Trouble} error=${outdated ? { message: OUTDATED } : said(error)} />
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
  'This webhook was changed while the dialog was open: by somebody else, or by a rotation whose answer was lost. ' +
  'Nothing was done. Close this, look at it as it is now, and rotate again if you still want to.';

// A request without an answer is worth another try, which does nothing twice.
function said(error) {
  if (error instanceof api.Unreached) {
    return { message: `${error.message} Press the button again: a secret that was made is the one you get.` };
  }
  return api.unmarked(error, (field) => MARKED.includes(field));
}

// Only one old secret can sign beside the new one.
function Ending({ until, on, isMissing, onChange }) {
  return html`<div class="notice bad">
    <p>
      The secret before this one still signs${until && html`${' '}until <${Time} of=${until} />`}. Rotating now ends it at
      once: an endpoint that still holds it will refuse our requests.
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
    <${Mistake} id="ending-mistake" alone>${isMissing && 'Confirm this, or wait until that secret has ended.'}<//>
  </div>`;
}
