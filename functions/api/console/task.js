// Something that is done on demand and takes a while.

import { useEffect, useRef, useState } from './html.js';

// `run` carries `work` out, once at a time; `busy` and `error` say how it stands. `isThere` says whether the view still
// is: what was asked for is done all the same, but must not move whoever has left.
export function useTask(work) {
  const [{ busy, error }, put] = useState({ busy: false, error: null });
  const running = useRef(false);
  const there = useRef(true);
  useEffect(
    () => () => {
      there.current = false;
    },
    [],
  );
  const run = async (...given) => {
    if (running.current) return;
    running.current = true;
    put({ busy: true, error: null });
    let failed = null;
    try {
      await work(...given);
    } catch (problem) {
      failed = problem;
    }
    running.current = false;
    put({ busy: false, error: failed });
  };
  return { busy, error, run, isThere: () => there.current };
}
