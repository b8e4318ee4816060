// The integrations API, as the page calls it. An answer is a value; what the API refuses is a `Problem` in its own
// words; a request without an answer is `Unreached`.

import * as signIn from './sign_in.js';

const ROOT = new URL('integrations', new URL('.', document.baseURI));

// A request that has had no answer for this long is given up: the API itself answers within 30 seconds.
const TIMEOUT_MS = 35_000;

// What the API refuses, with the sentence for each field.
export class Problem extends Error {
  constructor(status, body, retryAfter) {
    super(body?.detail ?? body?.title ?? `The API answered ${status}.`);
    this.status = status;
    this.errors = body?.errors ?? [];
    this.retryAfter = retryAfter;
  }

  // The sentence about that field, if there is one.
  about(field) {
    return this.errors.find((error) => error.field === field)?.message;
  }
}

export class Unreached extends Error {
  constructor() {
    super('The API cannot be reached. Check your connection.');
  }
}

let skew = 0;

// The time by the API's clock, as far as it is known: countdowns must not depend on this computer's.
export function now() {
  return Date.now() + skew;
}

async function call(method, path, { body, headers } = {}) {
  let response;
  let text;
  try {
    const bearer = await signIn.bearer();
    if (!bearer) throw new Problem(401, { detail: 'Your session has ended.' });
    response = await fetch(ROOT.href + path, {
      method,
      headers: {
        authorization: `Bearer ${bearer}`,
        ...(body && { 'content-type': 'application/json' }),
        ...headers,
      },
      body: body && JSON.stringify(body),
      cache: 'no-store',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    text = await response.text();
  } catch (error) {
    throw error instanceof Problem ? error : new Unreached();
  }
  setClock(response.headers.get('date'));
  if (response.status === 401) signIn.end();
  const value = parsed(text);
  if (!response.ok) throw new Problem(response.status, value, response.headers.get('retry-after'));
  return { value, text, etag: response.headers.get('etag') };
}

// The header counts whole seconds: less than that is no difference.
function setClock(date) {
  const difference = Date.parse(date) - Date.now();
  if (Number.isFinite(difference)) skew = Math.abs(difference) > 3000 ? difference : 0;
}

// Integers that a number cannot hold stay as they were written.
function parsed(text) {
  try {
    return JSON.parse(text, (_, value, context) =>
      Number.isInteger(value) && !Number.isSafeInteger(value) ? (context?.source ?? value) : value,
    );
  } catch {
    return null;
  }
}

const one = (id) => `/${encodeURIComponent(id)}`;
const delivery = (id, deliveryId) => `${one(id)}/deliveries/${encodeURIComponent(deliveryId)}`;

function query(fields) {
  const set = Object.entries(fields).filter(([, value]) => value);
  return set.length ? `?${new URLSearchParams(set)}` : '';
}

export const integrations = () => call('GET', '');
export const integration = (id) => call('GET', one(id));

// `attempt` names this creation: the same one twice, after an answer was lost, creates one integration.
export const create = (fields, attempt) => call('POST', '', { body: fields, headers: { 'idempotency-key': attempt } });

// With an `etag`, only if nobody else changed it since.
export const change = (id, fields, etag) =>
  call('PATCH', one(id), { body: fields, headers: etag ? { 'if-match': etag } : {} });

export const remove = (id) => call('DELETE', one(id));
export const test = (id) => call('POST', `${one(id)}/test`);
export const rotateSecret = (id, fields) => call('POST', `${one(id)}/rotate-secret`, { body: fields });
export const deliveries = (id, filters) => call('GET', `${one(id)}/deliveries${query(filters)}`);
export const oneDelivery = (id, deliveryId) => call('GET', delivery(id, deliveryId));
export const redeliver = (id, deliveryId) => call('POST', `${delivery(id, deliveryId)}/redeliver`);
export const recover = (id, fields) => call('POST', `${one(id)}/recover`, { body: fields });
