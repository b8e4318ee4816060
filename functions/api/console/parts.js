// The small pieces that the views are put together from.

import { now } from './clock.js';
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

// A moment, in the reader's time zone; pointing at it shows it in UTC, or that stands beside it: `whole`, or the `clock`.
export function Time({ of, utc }) {
  if (!of) return null;
  const time = html`<time datetime=${of} title=${words.inUtc(of)}>${words.moment(of, now())}</time>`;
  if (!utc) return time;
  const beside = utc === 'clock' ? words.inUtc(of).slice(11) : words.inUtc(of);
  return html`${time} <span class="quiet utc">(${beside})</span>`;
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

// Copies `text` exactly, and says so. The button keeps its name, for those who hear it, and its width.
export function Copy({ text, label }) {
  const [said, say] = useState('');
  useEffect(() => {
    if (!said) return undefined;
    const timer = setTimeout(() => say(''), 2000);
    return () => clearTimeout(timer);
  }, [said]);
  const copy = () =>
    navigator.clipboard.writeText(text).then(
      () => say('Copied'),
      () => say('Not copied'),
    );
  return html`<button type="button" class="small copy" aria-label=${label} onClick=${copy}>
      <span class=${said && 'hidden'}>${label}</span>
      <span>${said}</span>
    </button>
    <span class="unseen" role="status">${said === 'Not copied' ? 'Not copied: select the text instead' : said}</span>`;
}

// A text to be read as it is: scrolls within itself, by keyboard too. `lines` is what becomes of long ones: `kept` or
// `wrapped`.
export function Code({ label, lines = 'kept', children }) {
  const text = html`<code dir="ltr">${words.shown(children)}</code>`;
  return html`<pre class="code ${lines}" tabindex="0" role="region" aria-label=${label}>${text}</pre>`;
}

// A dialog over the page. The browser keeps the focus within, and gives it back. While it is `busy` it stays: what is
// under way can no longer be called off.
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

// Asks before `task` is run, which cannot be undone. `verb` is what it does, `doing` what is said meanwhile. Whoever presses
// Enter without reading has done nothing.
export function Confirm({ title, verb, doing, task, onClose, children }) {
  return html`<${Dialog} title=${title} busy=${task.busy} onClose=${onClose}>
    ${children}
    <${Trouble} error=${task.error} />
    <footer class="actions">
      <${Action} class="danger" busy=${task.busy} busyLabel=${doing} onClick=${task.run}>${verb}<//>
      <${Cancel} busy=${task.busy} onClick=${onClose} autofocus />
    </footer>
  <//>`;
}

export function Cancel({ busy, ...rest }) {
  return html`<${Action} busy=${busy} ...${rest}>Cancel<//>`;
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

// `alone` is for one that no control is described by: it is read out when it comes.
export function Mistake({ id, alone, children }) {
  if (!children) return null;
  return html`<p class="mistake" id=${id} role=${alone ? 'alert' : undefined}>${words.shown(children)}</p>`;
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
    aria-busy=${busy && busyLabel ? 'true' : undefined}
    aria-disabled=${busy ? 'true' : undefined}
    onClick=${busy ? stop : rest.onClick}
  >
    ${(busy && busyLabel) || children}
  </button>`;
}

export function TryAgain({ onClick }) {
  return html`<button type="button" onClick=${() => onClick()}>Try again</button>`;
}

// Lines where content will be, so that nothing jumps when it comes.
export function Loading({ lines = 3 }) {
  return html`<div class="loading" role="status" aria-label="Loading">
    ${Array.from({ length: lines }, () => html`<span></span>`)}
  </div>`;
}
