// When to load deliveries again: about when the next attempt of one is due.

import { now } from './clock.js';
import { isPending } from './format.js';

const MIN_MS = 1500;
const MAX_MS = 15_000;

// The delay in milliseconds, at most `longest`: new deliveries appear only when they are asked for.
export function refreshDelay(deliveries, longest = MAX_MS) {
  const due = deliveries.filter(isPending).map(({ next_attempt_at: at }) => (at ? Date.parse(at) - now() : 0));
  return Math.max(MIN_MS, Math.min(longest, MAX_MS, ...due));
}
