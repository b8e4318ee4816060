// Counts or recovers the failed deliveries of a time range, one request after another.
//
// Each request covers a part of the range and returns a cursor for the next. After a failure, continuing from the last
// cursor sends nothing twice. So the progress is a value that each request updates and that survives a failure.

import * as api from './api.js';
import { now } from './clock.js';

// `range` is sent with the first request; after that the cursor contains it.
export const startOf = (range) => ({ range, cursor: null, count: 0, skipped: 0, pacedUntil: null, ended: false });

// Makes one more request and returns the progress after it.
async function advance(id, progress, dryRun) {
  const where = progress.cursor ? { cursor: progress.cursor } : progress.range;
  const { value } = await api.recover(id, { ...where, dry_run: dryRun });
  return {
    ...progress,
    count: progress.count + value.count,
    skipped: progress.skipped + value.skipped,
    pacedUntil: value.paced_until ?? progress.pacedUntil,
    cursor: value.next_cursor,
    ended: !value.next_cursor,
  };
}

// Continues to the end of the range and returns the progress. `onProgress` gets the progress after each request, and, when
// the API asked for a pause, the time until which it lasts. Stops when `shouldContinue` returns false.
export async function runToEnd(id, start, dryRun, { onProgress, shouldContinue }) {
  let progress = start;
  while (!progress.ended && shouldContinue()) {
    try {
      progress = await advance(id, progress, dryRun);
      onProgress(progress, null);
    } catch (error) {
      if (error.status !== 429 || !error.retryAfter) throw error;
      const until = now() + error.retryAfter * 1000;
      onProgress(progress, new Date(until).toISOString());
      while (shouldContinue() && now() < until) await new Promise((next) => setTimeout(next, 250));
    }
  }
  return progress;
}
