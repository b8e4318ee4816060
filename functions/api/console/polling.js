// Keeps what is shown up to date: loads it immediately and then at intervals while the page is visible, and remembers the
// last response, so that a view that is opened again starts with it.

import { useEffect, useRef, useState } from './html.js';

// The longest pause after errors.
const MAX_PAUSE_MS = 60_000;

const memory = new Map();

// One for each view that shows something remembered.
const watchers = new Set();

// Counts every change of the memory: a response to an earlier request is out of date.
let changes = 0;

export const remembered = (key) => memory.get(key)?.value ?? null;

export function remember(key, value) {
  changes += 1;
  memory.set(key, { value, at: changes });
  for (const watcher of watchers) watcher(key);
}

export const forget = (key) => remember(key, null);

export function forgetAll() {
  for (const key of memory.keys()) forget(key);
}

// Changes the value remembered under that key, if there is one.
export function update(key, change) {
  const value = remembered(key);
  if (value !== null) remember(key, change(value));
}

// Call when a request begins. Its response counts only if nothing newer has been remembered meanwhile.
function startRequest(key) {
  const before = memory.get(key)?.at;
  return { isCurrent: () => memory.get(key)?.at === before };
}

// The pause in milliseconds: doubled with each error in a row, and no shorter than the response's Retry-After.
export function backoff(delay, failures, error) {
  const doubled = Math.min(delay * 2 ** failures, Math.max(delay, MAX_PAUSE_MS));
  return Math.max(doubled, (error?.retryAfter ?? 0) * 1000);
}

// Calls `work` immediately, and again `delay()` ms after it has ended, as long as the page is visible and the view exists.
// `work` returns the error, if there was one.
export function usePolling(key, work, delay) {
  const latest = useRef();
  latest.current = { work, delay };
  useEffect(() => {
    let timer = null;
    let mounted = true;
    let running = false;
    let failures = 0;
    let notBefore = 0;
    const poll = async () => {
      clearTimeout(timer);
      if (running) return;
      running = true;
      const error = await latest.current.work();
      running = false;
      failures = error ? failures + 1 : 0;
      const wait = backoff(latest.current.delay(), failures, error);
      notBefore = Date.now() + (error ? wait : 0);
      if (mounted && !document.hidden) timer = setTimeout(poll, wait);
    };
    // When the page becomes visible again it is updated immediately, unless it is backing off after an error.
    const onVisibility = () => {
      clearTimeout(timer);
      if (!document.hidden) timer = setTimeout(poll, Math.max(0, notBefore - Date.now()));
    };
    document.addEventListener('visibilitychange', onVisibility);
    poll();
    return () => {
      mounted = false;
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', onVisibility);
    };
  }, [key]);
}

// The result of `load`, kept up to date; or what has been remembered under that key since, which is newer.
export function usePolled(key, load, delay) {
  const [, draw] = useState(0);
  const [error, setError] = useState(null);
  const mounted = useRef(true);
  useEffect(() => {
    const watcher = (changed) => {
      if (changed !== key) return;
      setError(null);
      draw((count) => count + 1);
    };
    watchers.add(watcher);
    return () => {
      watchers.delete(watcher);
      mounted.current = false;
    };
  }, []);
  const reload = async () => {
    const request = startRequest(key);
    try {
      const value = await load();
      if (mounted.current && request.isCurrent()) remember(key, value);
    } catch (problem) {
      if (mounted.current) setError(problem);
      return problem;
    }
    return null;
  };
  usePolling(key, reload, () => delay(remembered(key)));
  return { loaded: remembered(key), error, reload };
}
