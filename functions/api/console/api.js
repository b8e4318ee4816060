// Calls the integrations API. A refusal by the API throws a `Problem` with the API's own message; a request that got no
// response throws `NoResponse`.

import { setClock } from './clock.js';
import { without } from './json_text.js';
import * as signIn from './sign_in.js';

const ROOT = new URL('integrations', new URL('.', document.baseURI));

// Longer than the API takes at most, which is 30 seconds.
const TIMEOUT_MS = 35_000;

// A refusal by the API, with a message for each invalid field.
export class Problem extends Error {
  constructor(status, body, retryAfter) {
    super(body?.detail ?? body?.title ?? `The API answered ${status}.`);
    this.status = status;
    this.errors = body?.errors ?? [];
    this.retryAfter = retryAfter;
  }

  // The message for that field, or for an item of its list, if there is one.
  messageFor(field) {
    return this.errors.find((error) => listOf(error.field) === field)?.message;
  }
}

// What the form has to show of an error besides the messages at its own fields: the whole error when it names no field,
// else the messages for the other fields, if there are any.
export function withoutFields(error, isFormField) {
  if (!error?.errors?.length) return error;
  const others = error.errors.filter(({ field }) => !isFormField(listOf(field)));
  return others.length ? { message: others.map(({ message }) => message).join(' ') } : null;
}

// An error in `project_ids[2]` belongs to the field `project_ids`.
const listOf = (field) => field.replace(/\[\d+\]$/, '');

// No response, or an unreadable one: the request may have been carried out all the same.
export class NoResponse extends Error {}

async function call(method, path, { body, headers, read = parse } = {}) {
  const send = (bearer) =>
    request(ROOT.href + path, {
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
  // A token can be refused before it expires, for example when the issuer has changed its keys. Retry once with a new one.
  if (answer?.response.status === 401) {
    bearer = await signIn.replaceToken(bearer);
    answer = bearer && (await send(bearer));
    if (answer?.response.status === 401) answer = signIn.end();
  }
  if (!answer) throw new Problem(401, { detail: 'Your session has ended.' });
  const { response, text } = answer;
  setClock(response.headers.get('date'));
  const value = read(text);
  const retryAfter = Number(response.headers.get('retry-after')) || null;
  if (!response.ok) throw new Problem(response.status, value, retryAfter);
  if (value === null && response.status !== 204) throw new NoResponse('The response of the API cannot be read.');
  return { value, text, etag: response.headers.get('etag') };
}

async function request(url, options) {
  try {
    const response = await fetch(url, { ...options, cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS) });
    return { response, text: await response.text() };
  } catch (error) {
    throw new NoResponse(
      error.name === 'TimeoutError'
        ? 'The API did not respond in time.'
        : 'The API cannot be reached. Check your connection.',
    );
  }
}

// Integers that a JavaScript number cannot represent stay text.
function parse(text) {
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

// With the same `idempotencyKey`, a retry after a lost response does not create a second integration.
export const create = (fields, idempotencyKey) =>
  call('POST', '', { body: fields, headers: { 'idempotency-key': idempotencyKey } });

// With an `etag`, fails with 412 if somebody else has changed the integration since.
export const change = (id, fields, etag) =>
  call('PATCH', one(id), { body: fields, headers: etag ? { 'if-match': etag } : {} });

// With the same `idempotencyKey`, a retry returns the same secret.
export const rotateSecret = (id, fields, etag, idempotencyKey) =>
  call('POST', `${one(id)}/rotate-secret`, {
    body: fields,
    headers: { 'idempotency-key': idempotencyKey, ...(etag && { 'if-match': etag }) },
  });

export const remove = (id) => call('DELETE', one(id));
export const test = (id, eventType) => call('POST', `${one(id)}/test`, { body: { event_type: eventType } });
export const deliveries = (id, filters) => call('GET', `${one(id)}/deliveries${query(filters)}`);

// The payload is in the `text` only: nested deeply enough, it cannot be parsed.
export const oneDelivery = (id, deliveryId) =>
  call('GET', delivery(id, deliveryId), { read: (text) => parse(without(text, 'payload')) });

export const redeliver = (id, deliveryId) => call('POST', `${delivery(id, deliveryId)}/redeliver`);
export const recover = (id, fields) => call('POST', `${one(id)}/recover`, { body: fields });
