// Counting or recovering the failed deliveries of a time range, one request after the other.
//
// A request covers a part and says where the next one goes on; whenever that breaks off, going on from the last cursor
// sends nothing twice. So a run is a value that each request changes, and that outlives a failure.

import * as api from './api.js';
import { now } from './clock.js';

// `range` is what is asked for with the first request; its cursor holds it afterwards.
export const begun = (range) => ({ range, cursor: null, count: 0, skipped: 0, pacedUntil: null, ended: false });

// The run after one more request.
export async function continued(id, run, dryRun) {
  const where = run.cursor ? { cursor: run.cursor } : run.range;
  const { value } = await api.recover(id, { ...where, dry_run: dryRun });
  return {
    ...run,
    count: run.count + value.count,
    skipped: run.skipped + value.skipped,
    pacedUntil: value.paced_until ?? run.pacedUntil,
    cursor: value.next_cursor,
    ended: !value.next_cursor,
  };
}

// Goes on until the end. `put` is given the run after each request, and until when the API wants to be left alone;
// `isWanted` says whether to go on.
export async function throughout(id, start, dryRun, { put, isWanted }) {
  let run = start;
  while (!run.ended && isWanted()) {
    try {
      run = await continued(id, run, dryRun);
      put(run, null);
    } catch (error) {
      if (error.status !== 429 || !error.retryAfter) throw error;
      const until = now() + error.retryAfter * 1000;
      put(run, new Date(until).toISOString());
      while (isWanted() && now() < until) await new Promise((next) => setTimeout(next, 250));
    }
  }
  return run;
}
