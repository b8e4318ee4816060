// The cached integrations: each one, and the list of all. A change goes to both here, so that no view shows old data.

import { forget, remember, update } from './polling.js';

export const LIST = 'integrations';
export const keyOf = (id) => `integration ${id}`;

// Stores an integration as the API has just returned it.
export function store({ value, etag }) {
  remember(keyOf(value.id), { value, etag });
  update(LIST, (list) => withIntegration(list, value));
}

export function remove(id) {
  forget(keyOf(id));
  update(LIST, ({ value }) => ({ value: { ...value, items: value.items.filter((item) => item.id !== id) } }));
}

// The list with that integration in its current state; a new one comes last, as in the API's response.
function withIntegration({ value }, integration) {
  const isListed = value.items.some(({ id }) => id === integration.id);
  const items = isListed
    ? value.items.map((item) => (item.id === integration.id ? integration : item))
    : [...value.items, integration];
  return { value: { ...value, items } };
}
