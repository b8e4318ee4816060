// Keeps what is shown up to date: loads at once, again at intervals while the page is looked at, and remembers the last
// answer, so that a view that was left opens as it was.

import { useEffect, useRef, useState } from './html.js';

// The longest pause after errors.
const MOST_PATIENT_MS = 60_000;

const memory = new Map();

// Those who show something that is remembered.
const watchers = new Set();

// Counts what was remembered or forgotten: what was asked for before that is older.
let clock = 0;

export const remembered = (key) => memory.get(key)?.value ?? null;

export function remember(key, value) {
  clock += 1;
  memory.set(key, { value, at: clock });
  for (const watcher of watchers) watcher(key);
}

export const forget = (key) => remember(key, null);

export function forgetAll() {
  for (const key of memory.keys()) forget(key);
}

// Changes what is remembered there, if anything is.
export function amend(key, change) {
  const value = remembered(key);
  if (value !== null) remember(key, change(value));
}

// A question whose answer counts only if nothing newer was remembered since it was asked.
export function asked(key) {
  const before = memory.get(key)?.at;
  return { isNews: () => memory.get(key)?.at === before };
}

// How long to wait: longer after each error in a row, and as long as the answer says.
export function pause(delay, failures, error) {
  const patient = Math.min(delay * 2 ** failures, Math.max(delay, MOST_PATIENT_MS));
  return Math.max(patient, (error?.retryAfter ?? 0) * 1000);
}

// Calls `work` at once, and `delay()` ms after it has ended, for as long as the page is visible and the view is there.
// `work` answers what went wrong, if anything did.
export function useRepeated(key, work, delay) {
  const latest = useRef();
  latest.current = { work, delay };
  useEffect(() => {
    let timer = null;
    let alive = true;
    let running = false;
    let failures = 0;
    let notBefore = 0;
    const turn = async () => {
      clearTimeout(timer);
      if (running) return;
      running = true;
      const error = await latest.current.work(() => alive);
      running = false;
      failures = error ? failures + 1 : 0;
      const wait = pause(latest.current.delay(), failures, error);
      notBefore = Date.now() + (error ? wait : 0);
      if (alive && !document.hidden) timer = setTimeout(turn, wait);
    };
    // Whoever comes back to the page is shown news at once, unless there is to be a pause.
    const looked = () => {
      clearTimeout(timer);
      if (!document.hidden) timer = setTimeout(turn, Math.max(0, notBefore - Date.now()));
    };
    document.addEventListener('visibilitychange', looked);
    turn();
    return () => {
      alive = false;
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', looked);
    };
  }, [key]);
}

// What `load` answers, kept up to date; or what was remembered in its place meanwhile, which is newer.
export function useLoaded(key, load, delay) {
  const [, draw] = useState(0);
  const [error, fail] = useState(null);
  const there = useRef(true);
  useEffect(() => {
    const watcher = (changed) => {
      if (changed !== key) return;
      fail(null);
      draw((count) => count + 1);
    };
    watchers.add(watcher);
    return () => {
      watchers.delete(watcher);
      there.current = false;
    };
  }, []);
  const reload = async () => {
    const question = asked(key);
    try {
      const value = await load();
      if (there.current && question.isNews()) remember(key, value);
    } catch (problem) {
      if (there.current) fail(problem);
      return problem;
    }
    return null;
  };
  useRepeated(key, reload, () => delay(remembered(key)));
  return { loaded: remembered(key), error, reload };
}
