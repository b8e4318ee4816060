// Keeps what is shown up to date: loads at once, again at intervals while the page is looked at, and remembers the last
// answer, so that a view that was left opens as it was.

import { useEffect, useRef, useState } from './html.js';

const memory = new Map();

export const remember = (key, value) => memory.set(key, value);
export const remembered = (key) => memory.get(key) ?? null;
export const forget = () => memory.clear();

// Calls `work` at once, and `delay()` ms after it has ended, for as long as the page is visible and the view is there.
export function useRepeated(key, work, delay) {
  const latest = useRef();
  latest.current = { work, delay };
  useEffect(() => {
    let timer = null;
    let alive = true;
    let running = false;
    const turn = async () => {
      clearTimeout(timer);
      if (running) return;
      running = true;
      await latest.current.work(() => alive);
      running = false;
      if (alive && !document.hidden) timer = setTimeout(turn, latest.current.delay());
    };
    const looked = () => document.hidden || turn();
    document.addEventListener('visibilitychange', looked);
    turn();
    return () => {
      alive = false;
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', looked);
    };
  }, [key]);
}

// What `load` answers, kept up to date. `set` replaces it by a newer answer that came from elsewhere.
export function useLoaded(key, load, delay) {
  const [, draw] = useState(0);
  const [error, fail] = useState(null);
  const redraw = () => draw((count) => count + 1);
  // An answer that was on its way when a newer one was set must not undo it.
  const version = useRef(0);
  const set = (value) => {
    version.current += 1;
    remember(key, value);
    fail(null);
    redraw();
  };
  const reload = async (alive = () => true) => {
    const asked = version.current;
    try {
      const value = await load();
      if (alive() && asked === version.current) set(value);
    } catch (problem) {
      if (alive()) fail(problem);
    }
  };
  const loaded = remembered(key);
  useRepeated(key, reload, () => delay(remembered(key)));
  return { loaded, error, set, reload };
}
