// The address after `#`, which names the view that is shown.

let turned = () => {};

export const current = () => location.hash;

// Calls `listener` whenever it names something else.
export function onTurn(listener) {
  turned = listener;
  window.addEventListener('hashchange', listener);
  return () => window.removeEventListener('hashchange', listener);
}

export function go(hash) {
  location.hash = hash;
}

// Goes there without a step to go back to.
export function replace(hash) {
  history.replaceState(null, '', hash);
  turned();
}
