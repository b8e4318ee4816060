// The fields of an integration: to add one, or to edit one (without its signing secret, which is rotated, not edited).
// Mistakes are marked at their fields, in the API's own sentences.

import * as api from '../api.js';
import { changes, creation, draftOf, mistakesIn } from '../draft.js';
import { html, useEffect, useRef, useState } from '../html.js';
import { Action, Field, Loading, Mistake, Switch, Trouble } from '../parts.js';
import { useTask } from '../task.js';
import { remember } from '../watch.js';
import * as words from '../words.js';
import { OwnSecret, reveal } from './signing_secret.js';

export function IntegrationForm({ id }) {
  const [start, setStart] = useState(id ? null : { draft: draftOf(null) });
  const loading = useTask(async () => {
    const { value, etag } = await api.integration(id);
    setStart({ draft: draftOf(value), current: value, etag });
  });
  useEffect(() => {
    document.title = `${id ? 'Edit' : 'Add'} · Integrations · Roboticks`;
    if (id) loading.run();
  }, [id]);
  return html`
    <p class="path"><a href="#/">Integrations</a></p>
    <h1>${id ? 'Edit webhook' : 'Add a custom webhook'}</h1>
    <${Trouble} error=${loading.error}><button type="button" onClick=${loading.run}>Try again</button><//>
    ${!start && !loading.error && html`<${Loading} lines=${8} />`}
    ${start && html`<${Form} key=${start.etag ?? ''} ...${start} onReload=${loading.run} />`}
  `;
}

// `current` is the integration that is edited, with its `etag`; neither is there for a new one.
function Form({ draft: initial, current, etag, onReload }) {
  const [draft, setDraft] = useState(initial);
  const put = (fields) => setDraft((before) => ({ ...before, ...fields }));
  const attempt = useRef(crypto.randomUUID());
  const saving = useTask(async () => {
    const errors = mistakesIn(draft);
    if (errors.length) throw new api.Problem(422, { errors });
    try {
      const answer = current
        ? await api.change(current.id, changes(initial, draft), etag)
        : await api.create(creation(draft), attempt.current);
      leaveFor(answer);
    } catch (refused) {
      // What was refused is not this creation's answer; what had no answer may have been carried out.
      if (refused instanceof api.Problem) attempt.current = crypto.randomUUID();
      throw refused;
    }
  });
  const problem = saving.error;
  const mistake = (field) => problem?.about?.(field);
  const form = useRef();
  useEffect(() => form.current.querySelector('[aria-invalid="true"]')?.focus(), [problem]);
  const submit = (event) => {
    event.preventDefault();
    saving.run();
  };

  return html`<form class="card form" ref=${form} onSubmit=${submit} novalidate>
    <${Text} field="name" label="Name" value=${draft.name} mistake=${mistake('name')} onInput=${put} />
    <div class="pair">
      <${Text}
        field="url"
        label="Webhook URL"
        hint="Your endpoint. HTTPS is recommended."
        placeholder="https://"
        type="url"
        value=${draft.url}
        mistake=${mistake('url')}
        onInput=${put}
      />
      <${Field} id="method" label="HTTP Method" mistake=${mistake('method')}>
        ${(control) => html`<select ...${control} onChange=${(event) => put({ method: event.target.value })}>
          ${words.METHODS.map((method) => html`<option selected=${method === draft.method}>${method}</option>`)}
        </select>`}
      <//>
    </div>
    ${!current && html`<${SecretChoice} draft=${draft} put=${put} mistake=${mistake('signing_secret')} />`}
    <${Events} chosen=${draft.events} onChange=${(events) => put({ events })} mistake=${mistake('event_types')} />
    <${Headers} headers=${draft.headers} onChange=${(headers) => put({ headers })} problem=${problem} />
    <${Narrower} initial=${initial} draft=${draft} put=${put} mistake=${mistake} />
    ${!current &&
    html`<div class="field line">
      <span aria-hidden="true">Enabled</span>
      <${Switch} on=${draft.enabled} label="Enabled" onChange=${(enabled) => put({ enabled })} />
    </div>`}
    <${Trouble} error=${withoutPlace(problem)}>
      ${problem?.status === 412 && html`<button type="button" onClick=${onReload}>Load it as it is now</button>`}
    <//>
    <footer class="actions">
      <${Action} type="submit" class="primary" busy=${saving.busy} busyLabel=${current ? 'Saving…' : 'Creating…'}>
        ${current ? 'Save' : 'Create'}
      <//>
      <a class="button" href=${current ? `#/integrations/${current.id}` : '#/'}>Cancel</a>
    </footer>
  </form>`;
}

// To the page of what was saved; a secret that was generated is shown there, once.
function leaveFor({ value: { signing_secret: generated, ...integration }, etag }) {
  if (generated) reveal(integration.id, generated);
  remember(`integration ${integration.id}`, { value: integration, etag });
  location.hash = `#/integrations/${integration.id}`;
}

const FIELDS = ['name', 'url', 'method', 'signing_secret', 'event_types', 'severities', 'project_ids', 'headers'];

// What is wrong but not with one of the fields that are shown.
function withoutPlace(problem) {
  if (!problem?.errors?.length) return problem;
  const others = problem.errors.filter(({ field }) => !FIELDS.includes(field.split('.')[0]));
  return others.length ? { message: others.map(({ message }) => message).join(' ') } : null;
}

function Text({ field, label, hint, value, mistake, onInput, ...rest }) {
  return html`<${Field} id=${field} label=${label} hint=${hint} mistake=${mistake}>
    ${(control) => html`<input
      ...${control}
      ...${rest}
      value=${value}
      autocomplete="off"
      spellcheck=${false}
      onInput=${(event) => onInput({ [field]: event.target.value })}
    />`}
  <//>`;
}

const SECRETS = [
  ['generate', 'Generate one', 'Recommended. It is shown once, after you press Create.'],
  ['own', 'Use my own', 'Between 8 and 256 bytes.'],
  ['none', 'None', 'Your endpoint cannot tell our requests from others.'],
];

function SecretChoice({ draft, put, mistake }) {
  const choice = (name, label, hint) => html`<label class="choice">
    <input type="radio" name="secret" checked=${draft.secret === name} onChange=${() => put({ secret: name })} />
    <span>${label}<small>${hint}</small></span>
  </label>`;
  const own = html`<${OwnSecret}
    id="secret"
    value=${draft.ownSecret}
    mistake=${mistake}
    onInput=${(ownSecret) => put({ ownSecret })}
  />`;
  return html`<fieldset>
    <legend>Signing Secret</legend>
    <p class="hint">Signs every request, so that your endpoint can verify it.</p>
    ${SECRETS.map(
      ([name, label, hint]) => html`${choice(name, label, hint)} ${name === 'own' && draft.secret === name && own}`,
    )}
  </fieldset>`;
}

function Events({ chosen, onChange, mistake }) {
  const toggle = (event, on) => onChange(on ? [...chosen, event] : chosen.filter((other) => other !== event));
  return html`<fieldset aria-describedby=${mistake ? 'events-mistake' : undefined}>
    <legend>Event types</legend>
    <div class="choices">
      ${words.EVENTS.map(
        ([event, meaning]) => html`<label class="choice">
          <input
            type="checkbox"
            checked=${chosen.includes(event)}
            aria-invalid=${mistake ? 'true' : undefined}
            onChange=${({ target }) => toggle(event, target.checked)}
          />
          <span><code>${event}</code><small>${meaning}</small></span>
        </label>`,
      )}
    </div>
    <${Mistake} id="events-mistake">${mistake}<//>
  </fieldset>`;
}

function Headers({ headers, onChange, problem }) {
  const box = useRef();
  const focus = (selector) => requestAnimationFrame(() => box.current.querySelector(selector).focus());
  const put = (index, fields) =>
    onChange(headers.map((header, at) => (at === index ? { ...header, ...fields } : header)));
  const add = () => {
    onChange([...headers, { key: crypto.randomUUID(), name: '', value: '', stored: false }]);
    focus('li:last-child input');
  };
  const remove = (index) => {
    onChange(headers.filter((_, at) => at !== index));
    focus('.add');
  };
  return html`<fieldset ref=${box}>
    <legend>Custom headers</legend>
    <p class="hint">
      Sent with every request, for example to authenticate. Values are stored encrypted and not shown again.
    </p>
    <ul class="headers">
      ${headers.map(
        (header, index) => html`<${Header}
          key=${header.key}
          number=${index + 1}
          header=${header}
          mistake=${aboutHeader(problem, header.name)}
          onInput=${(fields) => put(index, fields)}
          onRemove=${() => remove(index)}
        />`,
      )}
    </ul>
    <${Mistake} id="headers-mistake">${problem?.about?.('headers')}<//>
    <button type="button" class="small add" onClick=${add}>Add header</button>
  </fieldset>`;
}

function Header({ number, header, mistake, onInput, onRemove }) {
  const described = mistake ? { 'aria-invalid': 'true', 'aria-describedby': `header-${number}-mistake` } : {};
  return html`<li>
    <input
      class="mono"
      aria-label="Name of header ${number}"
      placeholder="Name"
      autocomplete="off"
      spellcheck=${false}
      value=${header.name}
      readonly=${header.stored}
      ...${described}
      onInput=${(event) => onInput({ name: event.target.value })}
    />
    <input
      class="mono"
      aria-label="Value of header ${number}"
      placeholder=${header.stored ? `${words.masked(header.last4)}, unchanged` : 'Value'}
      autocomplete="off"
      spellcheck=${false}
      value=${header.value}
      onInput=${(event) => onInput({ value: event.target.value })}
    />
    <button type="button" class="small" aria-label="Remove header ${number}" onClick=${onRemove}>Remove</button>
    <${Mistake} id="header-${number}-mistake">${mistake}<//>
  </li>`;
}

function aboutHeader(problem, name) {
  const field = `headers.${name.trim()}`.toLowerCase();
  return problem?.errors?.find((error) => error.field.toLowerCase() === field)?.message;
}

// Filters that few need: open when they are in use.
function Narrower({ initial, draft, put, mistake }) {
  const wrong = mistake('severities') || mistake('project_ids');
  return html`<details class="more" open=${Boolean(initial.severities || initial.projects || wrong)}>
    <summary>Only some severities or projects</summary>
    <${Text}
      field="severities"
      label="Severities"
      hint="Separated by commas, for example: critical, warning. Empty: every severity."
      value=${draft.severities}
      mistake=${mistake('severities')}
      onInput=${put}
    />
    <${Text}
      field="projects"
      label="Project ids"
      hint="Separated by commas. Empty: every project."
      inputmode="numeric"
      value=${draft.projects}
      mistake=${mistake('project_ids')}
      onInput=${put}
    />
  </details>`;
}
