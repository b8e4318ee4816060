// The integrations API, as the page calls it. An answer is a value; what the API refuses is a `Problem` in its own
// words; a request without an answer is `Unreached`.

import { setClock } from './clock.js';
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

  // The sentence about that field, or about an item of its list, if there is one.
  about(field) {
    return this.errors.find((error) => listOf(error.field) === field)?.message;
  }
}

// What is wrong besides the fields that are marked where they stand: all of it, the rest, or nothing.
export function unmarked(error, isMarked) {
  if (!error?.errors?.length) return error;
  const others = error.errors.filter(({ field }) => !isMarked(listOf(field)));
  return others.length ? { message: others.map(({ message }) => message).join(' ') } : null;
}

// `project_ids[2]` is a mistake of `project_ids`.
const listOf = (field) => field.replace(/\[\d+\]$/, '');

// No answer, or none that can be read: what was asked for may have been done.
export class Unreached extends Error {}

async function call(method, path, { body, headers } = {}) {
  const send = (bearer) =>
    fetched(ROOT.href + path, {
      method,
      headers: {
        authorization: `Bearer ${bearer}`,
        ...(body && { 'content-type': 'application/json' }),
        ...headers,
      },
      body: body && JSON.stringify(body),
    });
  let bearer = await signIn.bearer();
  let answer = bearer && (await send(bearer));
  // A token may be refused before its time: the keys or the clock of the issuer have changed, say. Once only.
  if (answer?.response.status === 401) {
    bearer = await signIn.instead(bearer);
    answer = bearer && (await send(bearer));
    if (answer?.response.status === 401) answer = signIn.end();
  }
  if (!answer) throw new Problem(401, { detail: 'Your session has ended.' });
  const { response, text } = answer;
  setClock(response.headers.get('date'));
  const value = parsed(text);
  const retryAfter = Number(response.headers.get('retry-after')) || null;
  if (!response.ok) throw new Problem(response.status, value, retryAfter);
  if (value === null && response.status !== 204) throw new Unreached('What the API answered cannot be read.');
  return { value, text, etag: response.headers.get('etag') };
}

async function fetched(url, options) {
  try {
    const response = await fetch(url, { ...options, cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS) });
    return { response, text: await response.text() };
  } catch (error) {
    throw new Unreached(
      error.name === 'TimeoutError'
        ? 'The API has not answered in time.'
        : 'The API cannot be reached. Check your connection.',
    );
  }
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

// `attempt` as above: the same one twice gives the same secret.
export const rotateSecret = (id, fields, etag, attempt) =>
  call('POST', `${one(id)}/rotate-secret`, {
    body: fields,
    headers: { 'idempotency-key': attempt, ...(etag && { 'if-match': etag }) },
  });

export const remove = (id) => call('DELETE', one(id));
export const test = (id) => call('POST', `${one(id)}/test`);
export const deliveries = (id, filters) => call('GET', `${one(id)}/deliveries${query(filters)}`);
export const oneDelivery = (id, deliveryId) => call('GET', delivery(id, deliveryId));
export const redeliver = (id, deliveryId) => call('POST', `${delivery(id, deliveryId)}/redeliver`);
export const recover = (id, fields) => call('POST', `${one(id)}/recover`, { body: fields });
