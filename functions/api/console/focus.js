// Keeps the position of keyboard and screen reader users. When the focused control is removed, the browser would start
// again at the top of the page; here the heading of the section that contained it gets the focus instead.

// Gives views time to move the focus themselves.
const AFTER_VIEWS_MS = 100;

export function keepFocus() {
  // The focused element and its ancestors; for a dialog, followed by those of the control that opened it.
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
