// The components that the views share.

import { now } from './clock.js';
import * as format from './format.js';
import { html, useEffect, useLayoutEffect, useRef, useState } from './html.js';

// Text from outside. `bdi` keeps its direction from changing the text around it.
export function UserText({ children }) {
  return html`<bdi>${format.visible(children)}</bdi>`;
}

// A state: a label with a color and a shape. `kind` is good, bad, busy, off or quiet.
export function State({ kind, children }) {
  return html`<span class="state ${kind}"><span class="mark" aria-hidden="true"></span>${children}</span>`;
}

const STATUS_KINDS = { sending: 'busy', waiting: 'busy', delivered: 'good', failed: 'bad', cancelled: 'off' };

export function Status({ status }) {
  const word = new Map(format.STATUSES).get(status) ?? format.visible(status);
  return html`<${State} kind=${STATUS_KINDS[status] ?? 'quiet'}>${word}<//>`;
}

// A time in the reader's time zone, with UTC as a tooltip. `utc` also shows it in UTC: `whole`, or `clock` for the time of
// day only.
export function Time({ of, utc }) {
  if (!of) return null;
  const time = html`<time datetime=${of} title=${format.utcTime(of)}>${format.localTime(of, now())}</time>`;
  if (!utc) return time;
  const beside = utc === 'clock' ? format.utcTime(of).slice(11) : format.utcTime(of);
  return html`${time} <span class="quiet utc">(${beside})</span>`;
}

// Renders the component again every second while `counting`.
export function useSeconds(counting) {
  const [, draw] = useState(0);
  useEffect(() => {
    if (!counting) return undefined;
    const timer = setInterval(() => draw((count) => count + 1), 1000);
    return () => clearInterval(timer);
  }, [counting]);
}

// The time left until `to`, updated every second; then the text `over`.
export function Countdown({ to, over }) {
  const left = Date.parse(to) - now();
  useSeconds(left > -1000);
  return html`<span class="countdown">${left > 0 ? `in ${format.duration(left)}` : over}</span>`;
}

// Copies `text` exactly and confirms it. The button keeps its width, and its name for screen readers.
export function Copy({ text, label }) {
  const [message, setMessage] = useState('');
  useEffect(() => {
    if (!message) return undefined;
    const timer = setTimeout(() => setMessage(''), 2000);
    return () => clearTimeout(timer);
  }, [message]);
  const copy = () =>
    navigator.clipboard.writeText(text).then(
      () => setMessage('Copied'),
      () => setMessage('Not copied'),
    );
  return html`<button type="button" class="small copy" aria-label=${label} onClick=${copy}>
      <span class=${message && 'hidden'}>${label}</span>
      <span>${message}</span>
    </button>
    <span class="unseen" role="status">${message === 'Not copied' ? 'Not copied: select the text instead' : message}</span>`;
}

// Preformatted text in a box that scrolls, by keyboard too. `lines` is how long lines are shown: `kept` or `wrapped`.
export function Code({ label, lines = 'kept', children }) {
  const text = html`<code dir="ltr">${format.visible(children)}</code>`;
  return html`<pre class="code ${lines}" tabindex="0" role="region" aria-label=${label}>${text}</pre>`;
}

// A modal dialog. The browser keeps the focus within it and restores it afterwards. While `busy`, it cannot be closed,
// since what is in progress cannot be cancelled.
export function Dialog({ title, busy, onClose, children }) {
  const box = useRef();
  useLayoutEffect(() => {
    const dialog = box.current;
    dialog.showModal();
    return () => dialog.close();
  }, []);
  const cancel = (event) => {
    event.preventDefault();
    if (!busy) onClose();
  };
  return html`<dialog ref=${box} onCancel=${cancel} aria-labelledby="dialog-title">
    <h2 id="dialog-title">${title}</h2>
    ${children}
  </dialog>`;
}

// Asks for confirmation before `task` runs, which cannot be undone. `verb` labels the button, `doing` replaces it while the
// task runs. Cancel has the focus, so that pressing Enter without reading does nothing.
export function Confirm({ title, verb, doing, task, onClose, children }) {
  return html`<${Dialog} title=${title} busy=${task.busy} onClose=${onClose}>
    ${children}
    <${ErrorNotice} error=${task.error} />
    <footer class="actions">
      <${Action} class="danger" busy=${task.busy} busyLabel=${doing} onClick=${task.run}>${verb}<//>
      <${Cancel} busy=${task.busy} onClick=${onClose} autofocus />
    </footer>
  <//>`;
}

export function Cancel({ busy, ...rest }) {
  return html`<${Action} busy=${busy} ...${rest}>Cancel<//>`;
}

// An error in a box, announced to screen readers.
export function ErrorNotice({ error, children }) {
  if (!error) return null;
  const retry = error.retryAfter ? ` Try again in ${format.duration(error.retryAfter * 1000)}.` : '';
  return html`<div class="notice bad" role="alert">
    <p>${format.visible(error.message)}${retry}</p>
    ${children}
  </div>`;
}

// What the API warns of: the integration works, but maybe not as intended.
export function Warnings({ integration }) {
  const warnings = integration?.warnings ?? [];
  if (warnings.length === 0) return null;
  return html`<div class="warnings" role="note" aria-label="Warnings">
    ${warnings.map(({ message }) => html`<p>${format.visible(message)}</p>`)}
  </div>`;
}

// A labelled field with its hint and its error message, linked for screen readers. `children` is called with the
// attributes for the control.
export function Field({ id, label, hint, mistake, children }) {
  const described = [hint && `${id}-hint`, mistake && `${id}-mistake`].filter(Boolean).join(' ');
  return html`<div class="field">
    <label for=${id}>${label}</label>
    ${children({ id, 'aria-describedby': described || undefined, 'aria-invalid': mistake ? 'true' : undefined })}
    ${hint && html`<p class="hint" id="${id}-hint">${hint}</p>`}
    <${Mistake} id="${id}-mistake">${mistake}<//>
  </div>`;
}

// The error message of a field. `alone` is for one that describes no control: it is announced when it appears.
export function Mistake({ id, alone, children }) {
  if (!children) return null;
  return html`<p class="mistake" id=${id} role=${alone ? 'alert' : undefined}>${format.visible(children)}</p>`;
}

export function Switch({ on, label, busy, onChange }) {
  return html`<button
    type="button"
    class="switch"
    role="switch"
    aria-checked=${on ? 'true' : 'false'}
    aria-label=${label}
    aria-busy=${busy ? 'true' : 'false'}
    onClick=${() => busy || onChange(!on)}
  >
    <span class="knob"></span>
  </button>`;
}

// A button for something that takes a while. It is not disabled meanwhile, which would take the focus away.
export function Action({ busy, busyLabel, class: name = '', children, ...rest }) {
  const ignore = (event) => event.preventDefault();
  return html`<button
    type="button"
    class=${name}
    ...${rest}
    aria-busy=${busy && busyLabel ? 'true' : undefined}
    aria-disabled=${busy ? 'true' : undefined}
    onClick=${busy ? ignore : rest.onClick}
  >
    ${(busy && busyLabel) || children}
  </button>`;
}

export function TryAgain({ onClick }) {
  return html`<button type="button" onClick=${() => onClick()}>Try again</button>`;
}

// Placeholder lines, so that the layout does not shift when the content appears.
export function Loading({ lines = 3 }) {
  return html`<div class="loading" role="status" aria-label="Loading">
    ${Array.from({ length: lines }, () => html`<span></span>`)}
  </div>`;
}
