// Keeps the keyboard's and the screen reader's place. A control that goes away when it was pressed takes the focus with
// it, and the browser would start from the top of the page: the heading of the part that it stood in gets it instead.

// Later than a view that has a better place for it.
const AFTER_VIEWS_MS = 100;

export function keepFocus() {
  // What has the focus, and all that it stands in; behind a dialog, what it was opened from.
  let parts = [];
  let behind = [];
  document.addEventListener('focusin', ({ target }) => {
    const dialog = target.closest('dialog');
    if (!dialog) behind = [];
    else if (!parts.includes(dialog)) behind = parts;
    parts = [...partsOf(target, dialog), ...behind];
  });
  let timer = null;
  new MutationObserver(() => {
    if (parts.length === 0 || parts[0].isConnected || timer) return;
    timer = setTimeout(() => {
      timer = null;
      if (isLost()) focusHeading(parts);
    }, AFTER_VIEWS_MS);
  }).observe(document.body, { childList: true, subtree: true });
}

function partsOf(element, outermost) {
  const parts = [];
  for (let part = element; part && part !== outermost; part = part.parentElement) parts.push(part);
  return outermost ? [...parts, outermost] : parts;
}

const isLost = () => document.activeElement === document.body || document.activeElement?.matches('dialog');

function focusHeading(parts) {
  const part = parts.find((candidate) => candidate.isConnected && candidate.matches('section, dialog, main'));
  const heading = part?.querySelector('h1, h2');
  if (!heading) return;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}
