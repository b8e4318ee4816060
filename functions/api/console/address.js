// The URL's fragment (the part after `#`), which names the current view.

let notify = () => {};

export const current = () => location.hash;

// Calls `listener` whenever the fragment changes. Returns a function that stops that.
export function onChange(listener) {
  notify = listener;
  window.addEventListener('hashchange', listener);
  return () => window.removeEventListener('hashchange', listener);
}

export function go(hash) {
  location.hash = hash;
}

// Changes the fragment without adding a history entry.
export function replace(hash) {
  history.replaceState(null, '', hash);
  notify();
}
