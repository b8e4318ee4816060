// What the fields of an integration hold while they are edited, and what of it is sent. What a field may hold is the
// API's decision; only what could not even be said to it is looked for here.

import { EVENTS } from './words.js';

// A draft of that integration as the API gave it, or of a new one.
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
    // generate, own or none
    secret: 'generate',
    ownSecret: '',
    events: events.length ? events : EVENTS.map(([event]) => event),
    severities: severities.join(', '),
    projects: projects.join(', '),
    // A stored header keeps its value unless a new one is written.
    headers: Object.entries(headers).map(([header, { last4 }]) => ({
      key: header,
      name: header,
      value: '',
      stored: true,
      last4,
    })),
  };
}

// Whether a URL leads to another place than the one before it: another scheme, host or port. Stored header values do not
// follow it there. What is no URL, or not yet, leads nowhere.
export function isElsewhere(before, after) {
  const [here, there] = [before, after].map((url) => (URL.canParse(url) ? new URL(url).origin : null));
  return there !== null && there !== here;
}

// The mistakes that could not be told to the API: an object cannot hold a name twice, no event at all means all, and an
// empty value is one.
export function mistakesIn({ headers, events }) {
  const names = headers.map(({ name }) => name.trim().toLowerCase()).filter(Boolean);
  const twice = names.filter((name, index) => names.indexOf(name) !== index);
  const lost = headers.filter(({ lost, value }) => lost && !value).map(({ name }) => name.trim().toLowerCase());
  return [
    ...twice.map((name) => ({ field: `headers.${name}`, message: 'This header is listed twice.' })),
    ...lost.map((name) => ({ field: `headers.${name}`, message: 'Write this value again, or remove the header.' })),
    ...(events.length ? [] : [{ field: 'event_types', message: 'Choose at least one event type.' }]),
  ];
}

// What creates it.
export function creation(draft) {
  return {
    ...plainFields(draft),
    enabled: draft.enabled,
    headers: Object.fromEntries(draft.headers.filter(({ name, value }) => name || value).map(written)),
    ...(draft.secret === 'generate' && { generate_signing_secret: true }),
    // What was pasted often has a line break or a blank around it.
    ...(draft.secret === 'own' && { signing_secret: draft.ownSecret.trim() }),
  };
}

// What turns one draft into the other, as a merge patch: what is absent stays as it is, so that what was changed
// elsewhere and header values that were not written again stay too.
export function changes(before, after) {
  const old = plainFields(before);
  const changed = Object.entries(plainFields(after)).filter(
    ([field, value]) => JSON.stringify(value) !== JSON.stringify(old[field]),
  );
  const kept = new Set(after.headers.map(({ key }) => key));
  const headers = [
    ...before.headers.filter(({ key }) => !kept.has(key)).map(({ name }) => [name, null]),
    ...after.headers.filter(({ name, value, stored }) => value || (name && !stored)).map(written),
  ];
  return { ...Object.fromEntries(changed), ...(headers.length > 0 && { headers: Object.fromEntries(headers) }) };
}

// What was edited from `before` to `mine`, done to `theirs`, which somebody else has saved meanwhile. `both` names the
// fields that were changed here and there: what is written here stays, until it is looked at. Header values were written
// for where the URL led: if theirs leads elsewhere, they are `lost`.
export function rebased(before, mine, theirs) {
  const draft = { ...mine };
  const both = [];
  for (const field of ['name', 'url', 'method', 'events', 'severities', 'projects']) {
    const [was, here, there] = [before, mine, theirs].map((draft) => String(draft[field]));
    if (here === was) draft[field] = theirs[field];
    else if (there !== was && there !== here) both.push(field);
  }
  const moved = isElsewhere(mine.url, draft.url);
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
    name,
    url: url.trim(),
    method,
    // No list at all means everything, types that are yet to come included.
    event_types: events.length === EVENTS.length ? [] : events,
    severities: listed(severities),
    project_ids: listed(projects).map(asNumber),
  };
}

const written = ({ name, value }) => [name.trim(), value];

function listed(text) {
  const items = text.split(',').map((item) => item.trim());
  return items.filter(Boolean);
}

// Digits become a number; anything else goes as it is, for the API to say what is wrong with it.
function asNumber(text) {
  return /^\d{1,15}$/.test(text) ? Number(text) : text;
}
