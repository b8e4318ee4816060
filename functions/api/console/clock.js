// The current time by the API's clock, as far as it is known: countdowns must not depend on this computer's clock.

let skew = 0;

export const now = () => Date.now() + skew;

// Takes a response's `Date` header. It has whole seconds only, so small differences are ignored.
export function setClock(date) {
  const difference = Date.parse(date) - Date.now();
  if (Number.isFinite(difference)) skew = Math.abs(difference) > 3000 ? difference : 0;
}
