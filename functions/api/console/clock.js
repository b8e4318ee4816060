// The time by the API's clock, as far as it is known: countdowns must not depend on this computer's.

let skew = 0;

export const now = () => Date.now() + skew;

// Takes an answer's `Date`. The header counts whole seconds: less than that is no difference.
export function setClock(date) {
  const difference = Date.parse(date) - Date.now();
  if (Number.isFinite(difference)) skew = Math.abs(difference) > 3000 ? difference : 0;
}
