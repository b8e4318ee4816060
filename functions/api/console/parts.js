// The small pieces that the views are put together from.

import { now } from './api.js';
import { html, useEffect, useLayoutEffect, useRef, useState } from './html.js';
import * as words from './words.js';

// Text that others wrote, kept from changing what stands around it.
export function Foreign({ children }) {
  return html`<bdi>${words.shown(children)}</bdi>`;
}

// A state in a word, with a shape besides the color. `kind` is good, bad, busy, off or quiet.
export function State({ kind, children }) {
  return html`<span class="state ${kind}"><span class="mark" aria-hidden="true"></span>${children}</span>`;
}

const STATUS_KINDS = { sending: 'busy', waiting: 'busy', delivered: 'good', failed: 'bad', cancelled: 'off' };

export function Status({ status }) {
  const word = new Map(words.STATUSES).get(status) ?? words.shown(status);
  return html`<${State} kind=${STATUS_KINDS[status] ?? 'quiet'}>${word}<//>`;
}

// A moment, in the reader's time zone; pointing at it shows it in UTC.
export function Time({ of }) {
  if (!of) return null;
  return html`<time datetime=${of} title=${of}>${words.moment(of, now())}</time>`;
}

// Draws again every second while there is something to count.
export function useSeconds(counting) {
  const [, draw] = useState(0);
  useEffect(() => {
    if (!counting) return undefined;
    const timer = setInterval(() => draw((count) => count + 1), 1000);
    return () => clearInterval(timer);
  }, [counting]);
}

// The time until `to`, second by second; `over` when it has come.
export function Countdown({ to, over }) {
  const left = Date.parse(to) - now();
  useSeconds(left > -1000);
  return html`<span class="countdown">${left > 0 ? `in ${words.span(left)}` : over}</span>`;
}

// Copies `text` exactly, and says so.
export function Copy({ text, label = 'Copy' }) {
  const [said, say] = useState(null);
  useEffect(() => {
    if (!said) return undefined;
    const timer = setTimeout(() => say(null), 2000);
    return () => clearTimeout(timer);
  }, [said]);
  const copy = () =>
    navigator.clipboard.writeText(text).then(
      () => say('Copied'),
      () => say('Not copied: select it instead'),
    );
  return html`<button type="button" class="small" onClick=${copy}>
    <span aria-live="polite">${said ?? label}</span>
  </button>`;
}

// A text to be read as it is: scrolls within itself, by keyboard too. `lines` is what becomes of long ones: `kept` or
// `wrapped`.
export function Code({ label, lines = 'kept', children }) {
  const text = html`<code dir="ltr">${words.shown(children)}</code>`;
  return html`<pre class="code ${lines}" tabindex="0" role="region" aria-label=${label}>${text}</pre>`;
}

// A dialog over the page. The browser keeps the focus within, and gives it back.
export function Dialog({ title, onClose, children }) {
  const box = useRef();
  useLayoutEffect(() => {
    const dialog = box.current;
    dialog.showModal();
    return () => dialog.close();
  }, []);
  const cancel = (event) => {
    event.preventDefault();
    onClose();
  };
  return html`<dialog ref=${box} onCancel=${cancel} aria-labelledby="dialog-title">
    <h2 id="dialog-title">${title}</h2>
    ${children}
  </dialog>`;
}

// What went wrong, in a box that is read out.
export function Trouble({ error, children }) {
  if (!error) return null;
  const again = error.retryAfter ? ` Try again in ${words.span(error.retryAfter * 1000)}.` : '';
  return html`<div class="notice bad" role="alert">
    <p>${words.shown(error.message)}${again}</p>
    ${children}
  </div>`;
}

// A labelled field with its hint and its mistake, tied together for screen readers. `children` gets what the control
// needs.
export function Field({ id, label, hint, mistake, children }) {
  const described = [hint && `${id}-hint`, mistake && `${id}-mistake`].filter(Boolean).join(' ');
  return html`<div class="field">
    <label for=${id}>${label}</label>
    ${children({ id, 'aria-describedby': described || undefined, 'aria-invalid': mistake ? 'true' : undefined })}
    ${hint && html`<p class="hint" id="${id}-hint">${hint}</p>`}
    <${Mistake} id="${id}-mistake">${mistake}<//>
  </div>`;
}

export function Mistake({ id, children }) {
  return children ? html`<p class="mistake" id=${id}>${words.shown(children)}</p>` : null;
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

// A button that does something which takes a while. It stays where it is and keeps the focus meanwhile.
export function Action({ busy, busyLabel, class: name = '', children, ...rest }) {
  const stop = (event) => event.preventDefault();
  return html`<button
    type="button"
    class=${name}
    ...${rest}
    aria-busy=${busy ? 'true' : undefined}
    aria-disabled=${busy ? 'true' : undefined}
    onClick=${busy ? stop : rest.onClick}
  >
    ${busy ? busyLabel : children}
  </button>`;
}

// Lines where content will be, so that nothing jumps when it comes.
export function Loading({ lines = 3 }) {
  return html`<div class="loading" role="status" aria-label="Loading">
    ${Array.from({ length: lines }, () => html`<span></span>`)}
  </div>`;
}
