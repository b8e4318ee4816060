// What is remembered of integrations: each by itself, and the list of them. Whoever changes one tells both here, so that
// no view shows what is over.

import { amend, forget, remember } from './watch.js';

export const LIST = 'integrations';
export const keyOf = (id) => `integration ${id}`;

// An integration as the API has just answered it.
export function keep({ value, etag }) {
  remember(keyOf(value.id), { value, etag });
  amend(LIST, (list) => replaced(list, value));
}

export function drop(id) {
  forget(keyOf(id));
  amend(LIST, ({ value }) => ({ value: { ...value, items: value.items.filter((item) => item.id !== id) } }));
}

// The list with that integration in it as it is now; a new one stands last, as in the API's answer.
function replaced({ value }, integration) {
  const isKnown = value.items.some(({ id }) => id === integration.id);
  const items = isKnown
    ? value.items.map((item) => (item.id === integration.id ? integration : item))
    : [...value.items, integration];
  return { value: { ...value, items } };
}
