// Something that is done on demand and takes a while.

import { useState } from './html.js';

// `run` carries `work` out, once at a time; `busy` and `error` say how it stands.
export function useTask(work) {
  const [{ busy, error }, put] = useState({ busy: false, error: null });
  const run = async (...given) => {
    if (busy) return;
    put({ busy: true, error: null });
    try {
      await work(...given);
      put({ busy: false, error: null });
    } catch (problem) {
      put({ busy: false, error: problem });
    }
  };
  return { busy, error, run };
}
