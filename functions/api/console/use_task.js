// A hook for work that a user starts and that takes a while.

import { useEffect, useRef, useState } from './html.js';

// `run` executes `work`, never twice concurrently; `busy` and `error` are its state. `isMounted` returns whether the view
// still exists: work continues after the user has left the view, but must not navigate then.
export function useTask(work) {
  const [{ busy, error }, setState] = useState({ busy: false, error: null });
  const running = useRef(false);
  const mounted = useRef(true);
  useEffect(
    () => () => {
      mounted.current = false;
    },
    [],
  );
  const run = async (...args) => {
    if (running.current) return;
    running.current = true;
    setState({ busy: true, error: null });
    let failure = null;
    try {
      await work(...args);
    } catch (problem) {
      failure = problem;
    }
    running.current = false;
    setState({ busy: false, error: failure });
  };
  return { busy, error, run, isMounted: () => mounted.current };
}
