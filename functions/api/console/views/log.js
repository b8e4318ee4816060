// The log of an integration: its deliveries, newest first, with filters, kept up to date.

import * as address from '../address.js';
import * as api from '../api.js';
import { Action, ErrorNotice, Loading, Status, Time } from '../components.js';
import * as format from '../format.js';
import { html, useEffect, useRef, useState } from '../html.js';
import { remember, remembered, usePolling } from '../polling.js';
import { refreshDelay } from '../refresh_delay.js';
import { Recover } from './recover.js';

// The longest that a new delivery takes to appear.
const REFRESH_MS = 5000;

// The size of a page, and the largest that the API returns.
const PAGE = 25;
const MAX_LIMIT = 100;

// With filters, the API may return a short or empty page although more follow: how many pages are read in a row then.
const MAX_PAGES = 8;

const NO_MATCH = 'No deliveries match.';
const NO_MATCH_YET = 'No deliveries match so far; older ones have not been searched yet.';

const EVENTS = format.EVENTS.map(([event]) => [event, event]);

const FILTERS = ['status', 'event_type', 'alert_id', 'from', 'to'];

// `fresh` is the id of a delivery that was just created: the log is refreshed immediately when it changes. `onChange` is
// called when a delivery was added or has changed. With `isUnreachable` the page already shows that the API is unreachable.
export function Log({ integration, query, fresh, onChange, isUnreachable }) {
  const { id } = integration;
  const [recovering, recover] = useState(false);
  const given = new URLSearchParams(query);
  const filters = Object.fromEntries(FILTERS.map((name) => [name, given.get(name) ?? '']));
  const filtered = FILTERS.some((name) => filters[name]);
  // The filters are stored in the URL, so that they survive a reload and going back.
  const filter = (next) => {
    const given = new URLSearchParams(Object.entries(next).filter(([, value]) => value)).toString();
    address.replace(`#/integrations/${id}${given && `?${given}`}`);
  };
  return html`<section class="card" aria-labelledby="log">
    <header class="card-head">
      <h2 id="log">Log</h2>
      <button type="button" class="small" onClick=${() => recover(true)}>Recover failed…</button>
    </header>
    <${Filters} filters=${filters} onChange=${filter} filtered=${filtered} />
    <${Deliveries}
      key=${query}
      integration=${integration}
      filters=${filters}
      filtered=${filtered}
      fresh=${fresh}
      onChange=${onChange}
      isUnreachable=${isUnreachable}
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
  const time = (name, label, endOfMinute) => html`<${Filter}
    label=${label}
    value=${format.localInput(filters[name])}
    onChange=${(text) => put({ [name]: format.parseLocal(text, endOfMinute) })}
    type="datetime-local"
  />`;
  return html`<div class="filters" role="search" aria-label="Deliveries">
    ${select('status', 'Status', format.STATUSES)} ${select('event_type', 'Event', EVENTS)}
    <${Filter}
      label="Alert"
      value=${filters.alert_id}
      onChange=${(text) => put({ alert_id: text.trim() })}
      inputmode="numeric"
      size="8"
      placeholder="Any"
    />
    ${time('from', 'From', false)} ${time('to', 'To', true)}
    ${filtered && html`<button type="button" class="small" onClick=${() => onChange({})}>Show all</button>`}
  </div>`;
}

// A filter takes effect when the field loses the focus or Enter is pressed, not while it is being typed: a date is not
// complete with its first digit. Until then the draft also survives refreshes of the log.
function Filter({ label, value, onChange, ...rest }) {
  const [draft, put] = useState(value);
  useEffect(() => put(value), [value]);
  const commit = ({ target }) => target.value !== value && onChange(target.value);
  return html`<label>
    <span>${label}</span>
    <input
      ...${rest}
      value=${draft}
      onInput=${({ target }) => put(target.value)}
      onBlur=${commit}
      onKeyDown=${(event) => event.key === 'Enter' && commit(event)}
    />
  </label>`;
}

function Deliveries({ integration, filters, filtered, fresh, onChange, isUnreachable }) {
  const { log, error, busy, refresh, showOlder } = useLog(integration.id, filters, onChange);
  useEffect(() => {
    if (fresh) refresh();
  }, [fresh]);
  const items = log?.items;
  const empty = log?.cursor ? NO_MATCH_YET : filtered ? NO_MATCH : emptyText(integration);
  return html`
    <${ErrorNotice} error=${isUnreachable && error instanceof api.NoResponse ? null : error} />
    ${!items && !error && html`<${Loading} lines=${6} />`}
    ${items?.length === 0 && html`<p class="empty">${empty}</p>`}
    ${
      items?.length > 0 &&
      html`<table class="log" role="table">
      <thead role="rowgroup">
        <tr role="row">
          ${COLUMNS.map((name) => html`<th scope="col" role="columnheader">${name}</th>`)}
        </tr>
      </thead>
      <tbody role="rowgroup">
        ${items.map((item) => html`<${Row} key=${item.id} item=${item} />`)}
      </tbody>
    </table>`
    }
    ${
      log?.cursor &&
      html`<p class="more"><${Action} busy=${busy} busyLabel="Loading…" onClick=${showOlder}>Show older<//></p>`
    }
  `;
}

// The text for an empty log, with what keeps alerts from being sent, if anything. It does not claim that there never was a
// delivery, since they are stored for a limited time.
function emptyText(integration) {
  const narrowed = [
    ['event types', integration.event_types],
    ['severities', integration.severities],
    ['projects', integration.project_ids],
  ].flatMap(([name, wanted]) => (wanted.length > 0 ? [name] : []));
  const only = new Intl.ListFormat('en-GB').format(narrowed);
  const why = integration.enabled
    ? only && ` Only alerts that match its ${only} are sent.`
    : ' It is switched off, so no alerts are sent.';
  return `No deliveries in the log.${why} Press Test to send a sample.`;
}

// What the log shows: {items, cursor, deep}. `deep` is true once older deliveries were loaded: from then on every refresh
// reads all that are shown, since old ones may still be waiting or may no longer match the filters.
function useLog(id, filters, onChange) {
  const memory = `log ${id} ${JSON.stringify(filters)}`;
  const [, draw] = useState(0);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const mounted = useRef(true);
  useEffect(
    () => () => {
      mounted.current = false;
    },
    [],
  );
  const log = remembered(memory);

  // Reads one after another, so that none overwrites a newer one. Returns the error, if there was one.
  const queue = useRef(Promise.resolve());
  const read = (load) => {
    queue.current = queue.current.then(() => readNow(load));
    return queue.current;
  };
  const readNow = async (load) => {
    try {
      const before = remembered(memory);
      const next = await load(before);
      if (!mounted.current) return null;
      remember(memory, next);
      setError(null);
      draw((count) => count + 1);
      if (before && hasChanged(next.items, before.items)) onChange();
      return null;
    } catch (problem) {
      if (mounted.current) setError(problem);
      return problem;
    }
  };
  const refresh = () => read((shown) => newest(id, filters, shown));
  const showOlder = async () => {
    setBusy(true);
    await read((shown) => older(id, filters, shown));
    setBusy(false);
  };
  usePolling(memory, refresh, () => refreshDelay(remembered(memory)?.items ?? [], REFRESH_MS));
  return { log, error, busy, refresh, showOlder };
}

// The newest page of deliveries; if older ones are shown, everything down to the last of them.
async function newest(id, filters, shown) {
  const last = shown?.deep ? shown.items.at(-1)?.id : null;
  // The last one may have expired, or may no longer match.
  const isEnough = ({ items }) =>
    last ? items.some(({ id }) => id === last) || items.length > shown.items.length + PAGE : items.length >= PAGE;
  return readPages(id, filters, { items: [], cursor: null, deep: Boolean(last) }, isEnough, last ? MAX_LIMIT : PAGE);
}

function older(id, filters, shown) {
  const wanted = shown.items.length + PAGE;
  return readPages(id, filters, { ...shown, deep: true }, ({ items }) => items.length >= wanted, PAGE);
}

// Reads pages from `start` on until `isEnough`, at most `MAX_PAGES`.
async function readPages(id, filters, start, isEnough, limit) {
  let log = start;
  for (let left = MAX_PAGES; left > 0; left -= 1) {
    const { value } = await api.deliveries(id, { ...filters, cursor: log.cursor, limit });
    log = { ...log, items: [...log.items, ...value.items], cursor: value.next_cursor };
    if (!log.cursor || isEnough(log)) break;
  }
  return log;
}

const COLUMNS = ['Status', 'Event', 'Alert', 'Attempts', 'Last outcome', 'Created'];

function Row({ item }) {
  const last = item.attempts.at(-1);
  return html`<tr role="row">
    <td role="cell" class="status"><${Status} status=${item.status} /></td>
    <td role="cell" class="event">
      <a href="#/integrations/${item.integration_id}/deliveries/${item.id}">${format.visible(item.event_type)}</a>
      ${item.test && html`${' '}<span class="tag">test</span>`}
    </td>
    <td role="cell" class="alert">${item.alert_id}</td>
    <td role="cell" class="count">${last?.number ?? 0}</td>
    <td role="cell" class="last">${lastOutcome(item, last)}</td>
    <td role="cell" class="when"><${Time} of=${item.created_at} /></td>
  </tr>`;
}

function lastOutcome(item, last) {
  if (item.status === 'cancelled') return format.visible(item.cancel_reason?.code ?? '').replaceAll('_', ' ');
  if (!last) return '';
  const took =
    last.duration_ms === null ? '' : html`<span class="quiet"> · ${format.milliseconds(last.duration_ms)}</span>`;
  return html`${format.outcome(last)}${took}`;
}

// Whether a delivery was added or has changed.
function hasChanged(newest, shown) {
  return newest.some(({ id, status, attempts }) => {
    const before = shown.find((item) => item.id === id);
    return before?.status !== status || before.attempts.length !== attempts.length;
  });
}
