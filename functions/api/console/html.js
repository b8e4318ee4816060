// The only file that imports the libraries. Preact renders templates tagged with `html`; it inserts values as text and
// attributes, never as markup.

import htm from './vendor/htm.js';
import { h, render } from './vendor/preact.js';

export const html = htm.bind(h);
export { useEffect, useErrorBoundary, useId, useLayoutEffect, useMemo, useRef, useState } from './vendor/hooks.js';
export { render };
