// The form for adding or editing an integration. An existing signing secret is not edited here but rotated. The API's
// messages are shown at their fields.

import * as address from '../address.js';
import * as api from '../api.js';
import * as cache from '../cache.js';
import { Action, ErrorNotice, Field, Loading, Mistake, Switch, TryAgain, UserText, Warnings } from '../components.js';
import { calledUrl, changes, changesOrigin, creation, draftOf, exposesSecrets, mistakesIn, rebase } from '../draft.js';
import * as format from '../format.js';
import { html, useEffect, useRef, useState } from '../html.js';
import { saveDraft, takeSavedDraft } from '../saved_draft.js';
import * as signIn from '../sign_in.js';
import { useTask } from '../use_task.js';
import { OWN_SECRET, reveal, SecretChoice } from './signing_secret.js';

// `start` is what is edited: the integration as it was read, with its ETag; empty for a new one.
export function IntegrationForm({ id }) {
  const form = id ?? 'add';
  const [{ start, draft, lost }, put] = useState(
    () => takeSavedDraft(form) ?? (id ? {} : { start: {}, draft: draftOf(null) }),
  );
  const loading = useTask(async () => {
    const { value, etag } = await api.integration(id);
    put({ start: { current: value, etag }, draft: draftOf(value) });
  });
  useEffect(() => {
    document.title = `${id ? 'Edit' : 'Add'} · Integrations · Roboticks`;
    if (!start) loading.run();
  }, [id]);
  return html`
    <p class="path"><a href="#/">Integrations</a></p>
    <h1>${id ? 'Edit webhook' : 'Add a custom webhook'}</h1>
    <${ErrorNotice} error=${loading.error}><${TryAgain} onClick=${loading.run} /><//>
    ${!start && !loading.error && html`<${Loading} lines=${8} />`}
    ${
      lost &&
      html`<div class="notice info"><p>Secrets and header values are not kept when a session ends: enter them again.</p></div>`
    }
    ${start && html`<${Form} name=${form} start=${start} draft=${draft} />`}
  `;
}

function Form({ name, start: first, draft: initial }) {
  const [start, setStart] = useState(first);
  const [draft, setDraft] = useState(initial);
  // The result of applying the edits to what somebody else has saved.
  const [rebased, setRebased] = useState(null);
  const { current, etag } = start;
  const put = (fields) => setDraft((before) => ({ ...before, ...fields }));
  const idempotencyKey = useRef(crypto.randomUUID());
  useSavedDraft(name, start, draft);
  const saving = useTask(async () => {
    const errors = mistakesIn(draft);
    if (errors.length) throw new api.Problem(422, { errors });
    try {
      const answer = current
        ? await api.change(current.id, changes(draftOf(current), draft), etag)
        : await api.create(creation(draft), idempotencyKey.current);
      const id = storeSaved(answer);
      if (saving.isMounted()) address.go(`#/integrations/${id}`);
    } catch (refused) {
      // A refused request was not carried out, so the next one gets a new key. One without a response may have been.
      if (refused instanceof api.Problem) idempotencyKey.current = crypto.randomUUID();
      throw refused;
    }
  });
  const rebasing = useTask(async () => {
    const { value, etag } = await api.integration(current.id);
    const { draft: merged, ...conflicts } = rebase(draftOf(current), draft, draftOf(value));
    setStart({ current: value, etag });
    setDraft(merged);
    setRebased(conflicts);
  });
  const problem = saving.error;
  const mistake = (field) => problem?.messageFor?.(field);
  const form = useRef();
  useEffect(() => form.current.querySelector('[aria-invalid="true"]')?.focus(), [problem]);
  const submit = (event) => {
    event.preventDefault();
    setRebased(null);
    saving.run();
  };
  const outdated = problem?.status === 412 && !rebased;
  // Stored header values are not sent to another origin than they were entered for.
  const moved = draft.headers.some(({ stored }) => stored) && changesOrigin(current.url, draft.url);

  return html`<form class="card form" ref=${form} onSubmit=${submit} novalidate>
    <${Warnings} integration=${current} />
    <${Text} field="name" label="Name" value=${draft.name} mistake=${mistake('name')} onInput=${put} />
    <div class="pair">
      <${Text}
        field="url"
        label="Webhook URL"
        hint=${urlHint(draft, current, moved)}
        placeholder="https://"
        type="url"
        value=${draft.url}
        mistake=${mistake('url')}
        onInput=${put}
      />
      <${Field} id="method" label="HTTP Method" mistake=${mistake('method')}>
        ${(control) => html`<select ...${control} onChange=${(event) => put({ method: event.target.value })}>
          ${format.METHODS.map((method) => html`<option selected=${method === draft.method}>${method}</option>`)}
        </select>`}
      <//>
    </div>
    ${
      !current &&
      html`<${SecretChoice}
      legend="Signing Secret"
      hint="Signs every request, so that your endpoint can verify it."
      choices=${SECRETS}
      chosen=${draft.secret}
      secret=${draft.ownSecret}
      mistake=${mistake('signing_secret')}
      onChoose=${(secret) => put({ secret })}
      onSecret=${(ownSecret) => put({ ownSecret })}
    />`
    }
    <${Events} chosen=${draft.events} onChange=${(events) => put({ events })} mistake=${mistake('event_types')} />
    <${Headers} headers=${draft.headers} moved=${moved} onChange=${(headers) => put({ headers })} problem=${problem} />
    <${Narrower} draft=${draft} put=${put} mistake=${mistake} />
    ${
      !current &&
      html`<div class="field line">
      <span aria-hidden="true">Enabled</span>
      <${Switch} on=${draft.enabled} label="Enabled" onChange=${(enabled) => put({ enabled })} />
    </div>`
    }
    <${ErrorNotice} error=${rebased ? null : otherError(problem, draft)}>
      ${
        outdated &&
        html`<${Action} busy=${rebasing.busy} busyLabel="Loading…" onClick=${rebasing.run}>Load the current version<//>`
      }
    <//>
    <${ErrorNotice} error=${rebasing.error} />
    ${rebased && html`<${Rebased} ...${rebased} current=${current} />`}
    <footer class="actions">
      <${Action} type="submit" class="primary" busy=${saving.busy} busyLabel=${current ? 'Saving…' : 'Creating…'}>
        ${current ? 'Save' : 'Create'}
      <//>
      <a class="button" href=${current ? `#/integrations/${current.id}` : '#/'}>Cancel</a>
    </footer>
  </form>`;
}

// Saves the draft when the form is closed because the session has ended.
function useSavedDraft(name, start, draft) {
  const latest = useRef();
  latest.current = { start, draft };
  useEffect(() => {
    const user = signIn.session()?.sub;
    return () => {
      if (signIn.hasEnded()) saveDraft(user, name, latest.current.start, latest.current.draft);
    };
  }, []);
}

// Caches the saved integration. A generated secret is shown once, on the integration's page.
function storeSaved({ value: { signing_secret: generated, ...integration }, etag }) {
  if (generated) reveal(integration.id, generated);
  cache.store({ value: integration, etag });
  return integration.id;
}

const THEIRS = {
  name: ['Name', (theirs) => theirs.name],
  url: ['Webhook URL', (theirs) => theirs.url],
  method: ['HTTP Method', (theirs) => theirs.method],
  events: ['Event types', (theirs) => theirs.event_types.join(', ') || 'all'],
  severities: ['Severities', (theirs) => theirs.severities.join(', ') || 'all'],
  projects: ['Project ids', (theirs) => theirs.project_ids.join(', ') || 'all'],
};

function Rebased({ both, lost, current }) {
  return html`<div class="notice info" role="status">
    <p>This is the current version with your changes on top. Review it, then save.</p>
    ${
      both.length > 0 &&
      html`<p>Both of you have changed the following. Your version is shown above; theirs is:</p>
        <ul class="both">
          ${both.map((field) => {
            const [label, of] = THEIRS[field];
            return html`<li>${label}: <${UserText}>${of(current)}<//></li>`;
          })}
        </ul>`
    }
    ${
      lost &&
      html`<p>
        The URL now has another scheme, host or port. The header values that you entered were for the old one and have
        been cleared: enter those again that the new one should receive.
      </p>`
    }
  </div>`;
}

function urlHint(draft, current, moved) {
  const called = calledUrl(draft.url);
  const hints = [
    moved && MOVED,
    exposesSecrets(draft, current) && EXPOSED,
    called && `Requests go to ${format.visible(called)}`,
  ].filter(Boolean);
  return hints.join(' ') || 'Your endpoint. HTTPS is recommended.';
}

const EXPOSED =
  'Requests to http:// are not encrypted: others on the way can read the alerts and the values of custom headers, and ' +
  'answer in the name of your endpoint. Use https:// if you can.';
const MOVED = 'This URL has another scheme, host or port: enter the values of the custom headers below again.';

const FIELDS = ['name', 'url', 'method', 'signing_secret', 'event_types', 'severities', 'project_ids', 'headers'];

// The error, unless it is shown at its field.
function otherError(problem, { headers }) {
  const rows = headers.map(({ name }) => headerField(name));
  return api.withoutFields(problem, (field) => FIELDS.includes(field) || rows.includes(field.toLowerCase()));
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
  ['own', 'Use my own', OWN_SECRET],
  ['none', 'None', 'Your endpoint cannot verify that requests come from us.'],
];

function Events({ chosen, onChange, mistake }) {
  const toggle = (event, on) => onChange(on ? [...chosen, event] : chosen.filter((other) => other !== event));
  return html`<fieldset aria-describedby=${mistake ? 'events-mistake' : undefined}>
    <legend>Event types</legend>
    <div class="choices">
      ${format.EVENTS.map(
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

function Headers({ headers, moved, onChange, problem }) {
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
    ${
      moved &&
      html`<div class="notice info" role="status">
        <p>
          The new URL has another scheme, host or port. Stored values are not sent there: enter them again, or remove
          the headers.
        </p>
      </div>`
    }
    <ul class="headers">
      ${headers.map(
        (header, index) => html`<${Header}
          key=${header.key}
          number=${index + 1}
          header=${header}
          isMissing=${moved && header.stored}
          mistake=${headerMistake(problem, header.name)}
          onInput=${(fields) => put(index, fields)}
          onRemove=${() => remove(index)}
        />`,
      )}
    </ul>
    <${Mistake} id="headers-mistake" alone>${problem?.messageFor?.('headers')}<//>
    <button type="button" class="small add" onClick=${add}>Add header</button>
  </fieldset>`;
}

function Header({ number, header, isMissing, mistake, onInput, onRemove }) {
  // Both inputs are marked, except that a stored name cannot be wrong.
  const described = mistake && { 'aria-invalid': 'true', 'aria-describedby': `header-${number}-mistake` };
  const inputs = { class: 'mono', autocomplete: 'off', spellcheck: false };
  const stored = `${format.masked(header.last4)}, ${isMissing ? 'enter it again' : 'unchanged'}`;
  return html`<li>
    <input
      ...${inputs}
      aria-label="Name of header ${number}"
      placeholder="Name"
      value=${header.name}
      readonly=${header.stored}
      ...${!header.stored && described}
      onInput=${(event) => onInput({ name: event.target.value })}
    />
    <input
      ...${inputs}
      aria-label="Value of header ${number}"
      placeholder=${header.stored ? stored : 'Value'}
      required=${isMissing}
      value=${header.value}
      ...${described}
      onInput=${(event) => onInput({ value: event.target.value })}
    />
    <button type="button" class="small" aria-label="Remove header ${number}" onClick=${onRemove}>Remove</button>
    <${Mistake} id="header-${number}-mistake">${mistake}<//>
  </li>`;
}

// The API names a header's field after the header, as it was entered or in lower case.
const headerField = (name) => `headers.${name.trim()}`.toLowerCase();

function headerMistake(problem, name) {
  return problem?.errors?.find((error) => error.field.toLowerCase() === headerField(name))?.message;
}

// Filters that few need: open initially if they are in use.
function Narrower({ draft, put, mistake }) {
  const [open, setOpen] = useState(Boolean(draft.severities || draft.projects));
  const wrong = mistake('severities') || mistake('project_ids');
  useEffect(() => {
    if (wrong) setOpen(true);
  }, [wrong]);
  return html`<details class="more" open=${open} onToggle=${({ target }) => setOpen(target.open)}>
    <summary>Only some severities or projects</summary>
    <${Text}
      field="severities"
      label="Severities"
      hint="Separated by commas, for example: critical, warning. Leave empty for every severity."
      value=${draft.severities}
      mistake=${mistake('severities')}
      onInput=${put}
    />
    <${Text}
      field="projects"
      label="Project ids"
      hint="Separated by commas. Leave empty for every project."
      inputmode="numeric"
      value=${draft.projects}
      mistake=${mistake('project_ids')}
      onInput=${put}
    />
  </details>`;
}
