// The signing secret: choosing one, showing a new one once, and how to verify its signatures.

import { Code, Copy, Countdown, Mistake, Time } from '../components.js';
import * as format from '../format.js';
import { html, useEffect, useId, useRef, useState } from '../html.js';
import { forget, remember, remembered } from '../polling.js';
import { examples, isPathLeftOut } from '../verification.js';

// A generated secret, until the user confirms having copied it. In memory only, so a reload loses it, as the page says.
const keyOf = (id) => `secret ${id}`;

export function reveal(id, secret) {
  remember(keyOf(id), secret);
}

export function NewSecret({ integration }) {
  const secret = remembered(keyOf(integration.id));
  const [, draw] = useState(0);
  const heading = useRef();
  // Scrolls to the secret and announces it, since it is shown only once.
  useEffect(() => heading.current?.focus(), [secret]);
  if (!secret) return null;
  const done = () => {
    forget(keyOf(integration.id));
    draw((count) => count + 1);
  };
  return html`<section class="card notice info" aria-labelledby="new-secret">
    <h2 id="new-secret" tabindex="-1" ref=${heading}>Your signing secret</h2>
    <p>Copy it now and store it where your endpoint can read it. It will not be shown again.</p>
    <div class="copyable">
      <code class="secret">${secret}</code>
      <${Copy} text=${secret} label="Copy secret" />
    </div>
    <${Verification} integration=${integration} of="the new secret" />
    <p><button type="button" onClick=${done}>I have copied it</button></p>
  </section>`;
}

// `of` distinguishes it from another one on the page.
export function Verification({ integration, of = 'the secret' }) {
  const id = useId();
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
      Every request carries <code>X-Roboticks-Signature</code>, the HMAC-SHA256 of the raw body, and the three headers of
      Standard Webhooks. Verify <code>Webhook-Signature</code>, as these examples and that project's libraries do: it
      covers the time too, so that a recorded request cannot be sent again later.${' '}
      <${SigningKeys} secretFormat=${integration.signing_secret_format} />
    </p>
    <div class="tabs" role="tablist" aria-label="Language, for ${of}" ref=${tabs} onKeyDown=${move}>
      ${all.map(
        ([name], index) => html`<button type="button" role="tab" id="${id}-tab-${index}" aria-controls="${id}-example"
          aria-selected=${index === chosen ? 'true' : 'false'} tabindex=${index === chosen ? 0 : -1}
          onClick=${() => choose(index)}>${name}</button>`,
      )}
    </div>
    <div id="${id}-example" role="tabpanel" aria-labelledby="${id}-tab-${chosen}" class="example">
      <${Code} label="Verification of ${of} in ${language}">${code}<//>
      <${Copy} text=${code} label="Copy code" />
    </div>
    ${
      isPathLeftOut(integration) &&
      html`<p class="hint">Where an example uses the path <code>/</code>, put the path of your Webhook URL instead.</p>`
    }
  </div>`;
}

// The keys of the two signatures, which differ for a secret that begins with `whsec_`.
function SigningKeys({ secretFormat }) {
  if (secretFormat === 'whsec') {
    return html`The key of the first is the whole text of your signing secret, <code>whsec_</code> included; that of the
      second is what the base64 after <code>whsec_</code> decodes to. Give those libraries the secret as it is.`;
  }
  if (secretFormat === 'raw') {
    return html`The key of both is the text of your signing secret. Those libraries expect base64: give them your secret
      encoded as base64, not as it is.`;
  }
  return html`The key of both is the text of your signing secret. If it begins with <code>whsec_</code>, the key of the
    second is what the base64 after that decodes to.`;
}

// The secret's line of the configuration, with its actions.
export function SigningSecret({ integration, onRotate, onRemove }) {
  const { has_signing_secret: has, signing_secret_last4: last4, previous_secret_valid_until: overlap } = integration;
  if (!has) {
    return html`<span class="quiet">None: requests are not signed</span>
      <button type="button" class="small" onClick=${onRotate}>Add a secret</button>`;
  }
  return html`
    <code>${format.masked(last4)}</code>
    <button type="button" class="small" onClick=${onRotate}>Rotate</button>
    <button type="button" class="small" onClick=${onRemove}>Remove</button>
    ${
      overlap &&
      html`<span class="overlap">
      The previous secret also signs until <${Time} of=${overlap} />${' '}
      (<${Countdown} to=${overlap} over="ended" />).
    </span>`
    }
  `;
}

const OWN = 'own';

export const OWN_SECRET = '16 to 256 ASCII characters without spaces, or whsec_ and the base64 of 24 to 64 bytes.';

// The choice of where a secret comes from: `choices` are [name, label, hint]. With `own` the customer enters it.
export function SecretChoice({ legend, hint, choices, chosen, secret, mistake, onChoose, onSecret }) {
  const id = useId();
  const own = html`<div class="own">
    <input
      class="mono"
      aria-label="Your signing secret"
      autocomplete="off"
      spellcheck=${false}
      value=${secret}
      aria-invalid=${mistake ? 'true' : undefined}
      aria-describedby=${mistake ? `${id}-mistake` : undefined}
      onInput=${(event) => onSecret(event.target.value)}
    />
    <${Mistake} id="${id}-mistake">${mistake}<//>
  </div>`;
  return html`<fieldset>
    <legend>${legend}</legend>
    ${hint && html`<p class="hint">${hint}</p>`}
    ${choices.map(
      ([name, label, about]) => html`<label class="choice">
          <input type="radio" name=${id} checked=${chosen === name} onChange=${() => onChoose(name)} />
          <span>${label}<small>${about}</small></span>
        </label>
        ${name === OWN && chosen === OWN && own}`,
    )}
  </fieldset>`;
}
