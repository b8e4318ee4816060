// The content of an integration's form, and what is sent of it. The API validates the fields; only mistakes that a request
// could not express are found here.

import { EVENTS } from './format.js';

// The draft of an integration from the API, or of a new one.
export function draftOf(integration) {
  const {
    name = '',
    url = '',
    method = 'POST',
    enabled = true,
    headers = {},
    event_types: events = [],
    severities = [],
    project_ids: projects = [],
  } = integration ?? {};
  return {
    name,
    url,
    method,
    enabled,
    // `generate`, `own` or `none`.
    secret: 'generate',
    ownSecret: '',
    events: events.length ? events : EVENTS.map(([event]) => event),
    severities: severities.join(', '),
    projects: projects.join(', '),
    // A stored header keeps its value unless a new one is entered.
    headers: Object.entries(headers).map(([header, { last4 }]) => ({
      key: header,
      name: header,
      value: '',
      stored: true,
      last4,
    })),
  };
}

// Whether a change of the URL changes its scheme, host or port. Stored header values are not sent to another origin. A URL
// that is not valid, or not yet complete, counts as unchanged.
export function changesOrigin(before, after) {
  const [old, current] = [before, after].map((url) => (URL.canParse(url) ? new URL(url).origin : null));
  return current !== null && current !== old;
}

// The URL that is called, if it differs from what was typed by more than a slash after the host: `/a/../b` is sent as
// `/b`. The API normalizes URLs as browsers do. What it refuses has none.
export function calledUrl(typed) {
  const url = typed.trim();
  if (!/^https?:\/\/[^\s\\#@]+$/i.test(url) || !URL.canParse(url)) return null;
  const { href } = new URL(url);
  return href === url || href === `${url}/` ? null : href;
}

// Whether an unencrypted URL would carry what others must not read or repeat: custom headers, or signed requests.
export function exposesSecrets({ url, headers, secret }, current) {
  const signs = current ? current.has_signing_secret : secret !== 'none';
  return /^\s*http:\/\//i.test(url) && (signs || headers.some(({ name }) => name.trim()));
}

// The mistakes that a request could not express: a JSON object cannot contain a name twice, an empty list of events means
// all of them, and an empty header value is a valid one.
export function mistakesIn({ headers, events }) {
  const names = headers.map(({ name }) => name.trim().toLowerCase()).filter(Boolean);
  const duplicates = names.filter((name, index) => names.indexOf(name) !== index);
  const lost = headers.filter(({ lost, value }) => lost && !value).map(({ name }) => name.trim().toLowerCase());
  return [
    ...duplicates.map((name) => ({ field: `headers.${name}`, message: 'This header is listed twice.' })),
    ...lost.map((name) => ({ field: `headers.${name}`, message: 'Enter this value again, or remove the header.' })),
    ...(events.length ? [] : [{ field: 'event_types', message: 'Choose at least one event type.' }]),
  ];
}

// The request body that creates the integration.
export function creation(draft) {
  return {
    ...plainFields(draft),
    enabled: draft.enabled,
    headers: Object.fromEntries(draft.headers.filter(({ name, value }) => name || value).map(headerEntry)),
    ...(draft.secret === 'generate' && { generate_signing_secret: true }),
    ...(draft.secret === 'own' && { signing_secret: draft.ownSecret.trim() }),
  };
}

// The JSON merge patch from one draft to the other. It contains only what was edited, so that it neither undoes other
// people's changes nor touches header values that were not entered again.
export function changes(before, after) {
  const old = plainFields(before);
  const changed = Object.entries(plainFields(after)).filter(
    ([field, value]) => JSON.stringify(value) !== JSON.stringify(old[field]),
  );
  const kept = new Set(after.headers.map(({ key }) => key));
  const headers = [
    ...before.headers.filter(({ key }) => !kept.has(key)).map(({ name }) => [name, null]),
    ...after.headers.filter(({ name, value, stored }) => value || (name && !stored)).map(headerEntry),
  ];
  return { ...Object.fromEntries(changed), ...(headers.length > 0 && { headers: Object.fromEntries(headers) }) };
}

// Applies the edits from `before` to `mine` to `theirs`, which somebody else has saved meanwhile. `both` lists the fields
// that both have changed: those keep my value, for the user to review. Header values were entered for the origin of my
// URL: if theirs has another, they are `lost`.
export function rebase(before, mine, theirs) {
  const draft = { ...mine };
  const both = [];
  for (const field of ['name', 'url', 'method', 'events', 'severities', 'projects']) {
    const [old, ours, other] = [before, mine, theirs].map((draft) => String(draft[field]));
    if (ours === old) draft[field] = theirs[field];
    else if (other !== old && other !== ours) both.push(field);
  }
  const moved = changesOrigin(mine.url, draft.url);
  const lost = moved && mine.headers.some(({ value }) => value);
  const edited = new Map(mine.headers.filter(({ stored }) => stored).map((header) => [header.key, header]));
  const removed = before.headers.filter(({ key }) => !edited.has(key)).map(({ key }) => key);
  draft.headers = [
    ...theirs.headers
      .filter(({ key }) => !removed.includes(key))
      .map((header) => ({ ...header, value: (!moved && edited.get(header.key)?.value) || '' })),
    ...mine.headers
      .filter(({ stored }) => !stored)
      .map((header) => (moved && header.value ? { ...header, value: '', lost: true } : header)),
  ];
  return { draft, both, lost };
}

function plainFields({ name, url, method, events, severities, projects }) {
  return {
    // Pasted text often begins or ends with white space, and sometimes with a byte order mark, which `trim` removes too.
    name: name.trim(),
    url: url.trim(),
    method,
    // An empty list means all types, including those that may be added later.
    event_types: events.length === EVENTS.length ? [] : events,
    severities: splitList(severities),
    project_ids: splitList(projects).map(asNumber),
  };
}

const headerEntry = ({ name, value }) => [name.trim(), value];

function splitList(text) {
  const items = text.split(',').map((item) => item.trim());
  return items.filter(Boolean);
}

// Digits become a number; anything else is sent as it is, so that the API reports what is wrong with it.
function asNumber(text) {
  return /^\d{1,15}$/.test(text) ? Number(text) : text;
}
