// The log of an integration: its deliveries, newest first, filtered and kept up to date.

import * as address from '../address.js';
import * as api from '../api.js';
import { html, useEffect, useRef, useState } from '../html.js';
import { lookAgain } from '../pace.js';
import { Action, Loading, Status, Time, Trouble } from '../parts.js';
import { remember, remembered, useRepeated } from '../watch.js';
import * as words from '../words.js';
import { Recover } from './recover.js';

// As long as a new delivery may take to appear.
const REFRESH_MS = 5000;

// What one page shows, and the most that the API gives in one answer.
const PAGE = 25;
const MOST = 100;

// A page may come back short or empty although more follow, when filters leave much out: so many are asked for in one
// go.
const PAGES_AT_ONCE = 8;

const NO_MATCH = 'No delivery matches.';
const NO_MATCH_YET = 'No delivery matches so far; older ones were not looked at yet.';

const EVENTS = words.EVENTS.map(([event]) => [event, event]);

const FILTERS = ['status', 'event_type', 'alert_id', 'from', 'to'];

// `fresh` names the newest delivery that is known of: another one is looked for at once. `onNews` is called when a
// delivery came or went on. `isUnreached` says that the page already tells that nothing can be reached.
export function Log({ integration, query, fresh, onNews, isUnreached }) {
  const { id } = integration;
  const [recovering, recover] = useState(false);
  const given = new URLSearchParams(query);
  const filters = Object.fromEntries(FILTERS.map((name) => [name, given.get(name) ?? '']));
  const filtered = FILTERS.some((name) => filters[name]);
  // The filters are kept in the address, so that a reload and the way back keep them too.
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
      onNews=${onNews}
      isUnreached=${isUnreached}
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
  const time = (name, label, through) => html`<${Filter}
    label=${label}
    value=${words.local(filters[name])}
    onChange=${(text) => put({ [name]: words.instant(text, through) })}
    type="datetime-local"
  />`;
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
    ${time('from', 'From', false)} ${time('to', 'To', true)}
    ${filtered && html`<button type="button" class="small" onClick=${() => onChange({})}>Show all</button>`}
  </div>`;
}

// What is being typed is the field's own until it is left or Enter is pressed: a date is not done with its first digit,
// and the log around it is drawn again meanwhile.
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

function Deliveries({ integration, filters, filtered, fresh, onNews, isUnreached }) {
  const { log, error, busy, refresh, showOlder } = useLog(integration.id, filters, onNews);
  useEffect(() => {
    if (fresh) refresh();
  }, [fresh]);
  const items = log?.items;
  const empty = log?.cursor ? NO_MATCH_YET : filtered ? NO_MATCH : none(integration);
  return html`
    <${Trouble} error=${isUnreached && error instanceof api.Unreached ? null : error} />
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

// Of a log without a delivery: what keeps alerts away, if anything does. That there was none ever would be said too much,
// since deliveries are kept for a while only.
function none(integration) {
  const narrowed = [
    ['event types', integration.event_types],
    ['severities', integration.severities],
    ['projects', integration.project_ids],
  ].flatMap(([name, wanted]) => (wanted.length > 0 ? [name] : []));
  const only = new Intl.ListFormat('en-GB').format(narrowed);
  const why = integration.enabled
    ? only && ` Only alerts that match its ${only} are sent.`
    : ' It is switched off, so no alert is sent.';
  return `No deliveries in the log.${why} Press Test to send a sample.`;
}

// What the log shows: {items, cursor, deep}. `deep` once older ones were asked for: then all that is shown is read again
// each time, since what is old may still be waiting, or match no more.
function useLog(id, filters, onNews) {
  const memory = `log ${id} ${JSON.stringify(filters)}`;
  const [, draw] = useState(0);
  const [error, fail] = useState(null);
  const [busy, setBusy] = useState(false);
  const there = useRef(true);
  useEffect(
    () => () => {
      there.current = false;
    },
    [],
  );
  const log = remembered(memory);

  // One after the other, so that none undoes another. Answers what went wrong.
  const line = useRef(Promise.resolve());
  const read = (load) => {
    line.current = line.current.then(() => readNow(load));
    return line.current;
  };
  const readNow = async (load) => {
    try {
      const before = remembered(memory);
      const next = await load(before);
      if (!there.current) return null;
      remember(memory, next);
      fail(null);
      draw((count) => count + 1);
      if (before && isNews(next.items, before.items)) onNews();
      return null;
    } catch (problem) {
      if (there.current) fail(problem);
      return problem;
    }
  };
  const refresh = () => read((known) => newest(id, filters, known));
  const showOlder = async () => {
    setBusy(true);
    await read((known) => older(id, filters, known));
    setBusy(false);
  };
  useRepeated(memory, refresh, () => lookAgain(remembered(memory)?.items ?? [], REFRESH_MS));
  return { log, error, busy, refresh, showOlder };
}

// The newest deliveries, as far down as those that are known, if they are many.
async function newest(id, filters, known) {
  const last = known?.deep ? known.items.at(-1)?.id : null;
  // The last may be there no more, or match no more.
  const isEnough = ({ items }) =>
    last ? items.some(({ id }) => id === last) || items.length > known.items.length + PAGE : items.length >= PAGE;
  return readOn(id, filters, { items: [], cursor: null, deep: Boolean(last) }, isEnough, last ? MOST : PAGE);
}

function older(id, filters, known) {
  const wanted = known.items.length + PAGE;
  return readOn(id, filters, { ...known, deep: true }, ({ items }) => items.length >= wanted, PAGE);
}

async function readOn(id, filters, start, isEnough, limit) {
  let log = start;
  for (let left = PAGES_AT_ONCE; left > 0; left -= 1) {
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
      <a href="#/integrations/${item.integration_id}/deliveries/${item.id}">${words.shown(item.event_type)}</a>
      ${item.test && html`${' '}<span class="tag">test</span>`}
    </td>
    <td role="cell" class="alert">${item.alert_id}</td>
    <td role="cell" class="count">${last?.number ?? 0}</td>
    <td role="cell" class="last">${lastOutcome(item, last)}</td>
    <td role="cell" class="when"><${Time} of=${item.created_at} /></td>
  </tr>`;
}

function lastOutcome(item, last) {
  if (item.status === 'cancelled') return words.shown(item.cancel_reason?.code ?? '').replaceAll('_', ' ');
  if (!last) return '';
  const took =
    last.duration_ms === null ? '' : html`<span class="quiet"> · ${words.milliseconds(last.duration_ms)}</span>`;
  return html`${words.outcome(last)}${took}`;
}

// Whether one of the newest deliveries was not known, or not to stand as it does.
function isNews(newest, known) {
  return newest.some(({ id, status, attempts }) => {
    const before = known.find((item) => item.id === id);
    return before?.status !== status || before.attempts.length !== attempts.length;
  });
}
