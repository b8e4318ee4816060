// Saves the form's content when the session ends, so that it survives signing in again: in this tab, for the same user,
// once. Secrets and header values are not saved and have to be entered again.

import * as signIn from './sign_in.js';

const KEY = 'console.draft';

// `user` is the user of the session that has ended.
export function saveDraft(user, form, start, draft) {
  const withoutSecrets = {
    ...draft,
    ownSecret: '',
    headers: draft.headers.map((header) => ({ ...header, value: '' })),
  };
  const lost = Boolean(draft.ownSecret || draft.headers.some(({ value }) => value));
  sessionStorage.setItem(KEY, JSON.stringify({ user, form, start, draft: withoutSecrets, lost }));
}

// Removes the saved draft. Returns it if it belongs to that form and to the current user, else null.
export function takeSavedDraft(form) {
  const saved = JSON.parse(sessionStorage.getItem(KEY));
  sessionStorage.removeItem(KEY);
  return saved?.user === signIn.session()?.sub && saved?.form === form ? saved : null;
}
