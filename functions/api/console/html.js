// The one place that knows the libraries. Templates tagged with `html` become DOM through Preact, which writes values
// as text and attributes, never as markup; the rest of the page imports from here.

import htm from './vendor/htm.js';
import { h, render } from './vendor/preact.js';

export const html = htm.bind(h);
export { useEffect, useErrorBoundary, useId, useLayoutEffect, useMemo, useRef, useState } from './vendor/hooks.js';
export { render };
