// What was being written when the session ended, kept over the way to the sign-in page and back: for this tab, for the
// same user, once. Secrets and header values are not written down, and have to be typed again.

import * as signIn from './sign_in.js';

const KEPT = 'console.draft';

// Call with the user of the session that is over.
export function keepDraft(user, form, start, draft) {
  const withoutSecrets = {
    ...draft,
    ownSecret: '',
    headers: draft.headers.map((header) => ({ ...header, value: '' })),
  };
  const lost = Boolean(draft.ownSecret || draft.headers.some(({ value }) => value));
  sessionStorage.setItem(KEPT, JSON.stringify({ user, form, start, draft: withoutSecrets, lost }));
}

// The draft of that form; null when there is none.
export function takeDraft(form) {
  const kept = JSON.parse(sessionStorage.getItem(KEPT));
  sessionStorage.removeItem(KEPT);
  return kept?.user === signIn.session()?.sub && kept?.form === form ? kept : null;
}
