// The log of an integration: its deliveries, newest first, filtered and kept up to date.

import * as api from '../api.js';
import { html, useEffect, useRef, useState } from '../html.js';
import { Action, Loading, Status, Time, Trouble } from '../parts.js';
import { remember, remembered, useRepeated } from '../watch.js';
import * as words from '../words.js';
import { Recover } from './recover.js';

// Often while something is on its way, else as often as a new delivery may take to appear.
const REFRESH_PENDING_MS = 2000;
const REFRESH_MS = 5000;
const PAGE = 25;

// A page may come back short or empty although more follow, when filters leave much out: so many are asked for in one
// go.
const PAGES_AT_ONCE = 8;

const NONE_YET = 'No deliveries yet. Press Test to make the first.';
const NO_MATCH = 'No delivery matches.';

const EVENTS = words.EVENTS.map(([event]) => [event, event]);

const FILTERS = ['status', 'event_type', 'alert_id', 'from', 'to'];

// `fresh` names the newest delivery that is known of: another one is looked for at once. `onNews` is called when a
// delivery came or went on.
export function Log({ id, query, fresh, onNews }) {
  const [recovering, recover] = useState(false);
  const given = new URLSearchParams(query);
  const filters = Object.fromEntries(FILTERS.map((name) => [name, given.get(name) ?? '']));
  const filtered = FILTERS.some((name) => filters[name]);
  // The filters are kept in the address, so that a reload and the way back keep them too.
  const filter = (next) => {
    const given = new URLSearchParams(Object.entries(next).filter(([, value]) => value)).toString();
    history.replaceState(null, '', `#/integrations/${id}${given && `?${given}`}`);
    window.dispatchEvent(new HashChangeEvent('hashchange'));
  };
  return html`<section class="card" aria-labelledby="log">
    <header class="card-head">
      <h2 id="log">Log</h2>
      <button type="button" class="small" onClick=${() => recover(true)}>Recover failed…</button>
    </header>
    <${Filters} filters=${filters} onChange=${filter} filtered=${filtered} />
    <${Deliveries}
      key=${query}
      id=${id}
      filters=${filters}
      filtered=${filtered}
      fresh=${fresh}
      onNews=${onNews}
    />
    ${recovering && html`<${Recover} id=${id} onClose=${() => recover(false)} />`}
  </section>`;
}

function Filters({ filters, filtered, onChange }) {
  const put = (fields) => onChange({ ...filters, ...fields });
  const select = (name, label, choices) => html`<label>
    <span>${label}</span>
    <select onChange=${({ target }) => put({ [name]: target.value })}>
      <option value="" selected=${!filters[name]}>All</option>
      ${choices.map(
        ([value, word]) => html`<option value=${value} selected=${filters[name] === value}>${word}</option>`,
      )}
    </select>
  </label>`;
  const instant = (text) => text && new Date(text).toISOString();
  return html`<div class="filters" role="search" aria-label="Deliveries">
    ${select('status', 'Status', words.STATUSES)} ${select('event_type', 'Event', EVENTS)}
    <${Filter}
      label="Alert"
      value=${filters.alert_id}
      onChange=${(text) => put({ alert_id: text.trim() })}
      inputmode="numeric"
      size="8"
      placeholder="Any"
    />
    <${Filter}
      label="From"
      value=${local(filters.from)}
      onChange=${(text) => put({ from: instant(text) })}
      type="datetime-local"
    />
    <${Filter}
      label="To"
      value=${local(filters.to)}
      onChange=${(text) => put({ to: instant(text) })}
      type="datetime-local"
    />
    ${filtered && html`<button type="button" class="small" onClick=${() => onChange({})}>Show all</button>`}
  </div>`;
}

// What is being typed is the field's own until it is done: the log around it is drawn again meanwhile.
function Filter({ label, value, onChange, ...rest }) {
  const [draft, put] = useState(value);
  useEffect(() => put(value), [value]);
  return html`<label>
    <span>${label}</span>
    <input
      ...${rest}
      value=${draft}
      onInput=${({ target }) => put(target.value)}
      onChange=${({ target }) => onChange(target.value)}
    />
  </label>`;
}

// An instant as a field for local time holds it. Addresses are written by hand, too: what is no instant is left out.
function local(time) {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return '';
  return new Date(date - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

function Deliveries({ id, filters, filtered, fresh, onNews }) {
  const memory = `log ${id} ${JSON.stringify(filters)}`;
  const [, draw] = useState(0);
  const [error, fail] = useState(null);
  const [busy, setBusy] = useState(false);
  const log = useRef(remembered(memory));
  const put = (next) => {
    log.current = next;
    remember(memory, next);
    draw((count) => count + 1);
  };

  const refresh = async (alive) => {
    try {
      const newest = await page(id, filters, null);
      if (!alive()) return;
      fail(null);
      if (log.current && isNews(newest.items, log.current.items)) onNews();
      put(log.current ? updated(log.current, newest) : newest);
      if (newest.items.length < PAGE && log.current.items.length < PAGE && log.current.cursor) await more(alive);
    } catch (problem) {
      if (alive()) fail(problem);
    }
  };

  const more = async (alive = () => true) => {
    if (busy) return;
    setBusy(true);
    try {
      const wanted = log.current.items.length + PAGE;
      for (let left = PAGES_AT_ONCE; left > 0 && log.current.cursor && log.current.items.length < wanted; left -= 1) {
        const older = await page(id, filters, log.current.cursor);
        if (!alive()) return;
        const known = new Set(log.current.items.map((item) => item.id));
        put({
          items: [...log.current.items, ...older.items.filter((item) => !known.has(item.id))],
          cursor: older.cursor,
        });
      }
      fail(null);
    } catch (problem) {
      fail(problem);
    }
    setBusy(false);
  };

  const pending = () => log.current?.items.some((item) => words.PENDING.includes(item.status));
  useRepeated(memory, refresh, () => (pending() ? REFRESH_PENDING_MS : REFRESH_MS));
  useEffect(() => {
    if (fresh) refresh(() => true);
  }, [fresh]);

  const items = log.current?.items;
  return html`
    <${Trouble} error=${error} />
    ${!items && !error && html`<${Loading} lines=${6} />`}
    ${items?.length === 0 && !log.current.cursor && html`<p class="empty">${filtered ? NO_MATCH : NONE_YET}</p>`}
    ${items?.length > 0 &&
    html`<table class="log">
      <thead>
        <tr><th scope="col">Status</th><th scope="col">Event</th><th scope="col">Alert</th><th scope="col">Attempts</th>
          <th scope="col">Last outcome</th><th scope="col">Created</th></tr>
      </thead>
      <tbody>
        ${items.map((item) => html`<${Row} key=${item.id} item=${item} />`)}
      </tbody>
    </table>`}
    ${log.current?.cursor &&
    html`<p class="more"><${Action} busy=${busy} busyLabel="Loading…" onClick=${() => more()}>Show older<//></p>`}
  `;
}

function Row({ item }) {
  const last = item.attempts.at(-1);
  return html`<tr>
    <td class="status"><${Status} status=${item.status} /></td>
    <td class="event">
      <a href="#/integrations/${item.integration_id}/deliveries/${item.id}">${words.shown(item.event_type)}</a>
      ${item.test && html`${' '}<span class="tag">test</span>`}
    </td>
    <td class="alert">${item.alert_id}</td>
    <td class="count">${last?.number ?? 0}</td>
    <td class="last">${lastOutcome(item, last)}</td>
    <td class="when"><${Time} of=${item.created_at} /></td>
  </tr>`;
}

function lastOutcome(item, last) {
  if (item.status === 'cancelled') return words.shown(item.cancel_reason?.code ?? '').replaceAll('_', ' ');
  if (!last) return '';
  const took =
    last.duration_ms === null ? '' : html`<span class="quiet"> · ${words.milliseconds(last.duration_ms)}</span>`;
  return html`${words.outcome(last)}${took}`;
}

async function page(id, filters, cursor) {
  const { value } = await api.deliveries(id, { ...filters, cursor, limit: PAGE });
  return { items: value.items, cursor: value.next_cursor };
}

// Whether one of the newest deliveries was not known, or not to stand as it does.
function isNews(newest, known) {
  return newest.some(({ id, status, attempts }) => {
    const before = known.find((item) => item.id === id);
    return before?.status !== status || before.attempts.length !== attempts.length;
  });
}

// The newest page takes the place of what was known of its time; what is older stays.
function updated(known, newest) {
  if (!newest.cursor) return newest;
  const reach = newest.items.at(-1)?.id;
  if (!reach) return known;
  const older = known.items.filter((item) => item.id < reach);
  const meets = known.items.some((item) => item.id >= reach);
  return meets ? { items: [...newest.items, ...older], cursor: known.cursor } : newest;
}
