// When to look at deliveries again: about when the next attempt of one is due.

import { now } from './clock.js';
import { isPending } from './words.js';

const SOONEST_MS = 1500;
const LATEST_MS = 15_000;

// `quiet` is how long to wait at most: new deliveries are not announced.
export function lookAgain(deliveries, quiet = LATEST_MS) {
  const due = deliveries.filter(isPending).map(({ next_attempt_at: at }) => (at ? Date.parse(at) - now() : 0));
  return Math.max(SOONEST_MS, Math.min(quiet, LATEST_MS, ...due));
}
