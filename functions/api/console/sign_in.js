// Signing in with OpenID Connect: the authorization code flow with PKCE, as a public client.
//
// Tokens live in sessionStorage: it is of this tab and this origin alone, survives a reload, and ends with the tab.
// Memory alone would send every reload through the sign-in page, and would hide nothing more from a foreign script: one
// that runs here could use the session either way. What keeps such scripts out is the Content-Security-Policy.

const SESSION = 'console.session';
const PENDING = 'console.pending.';

// A token is renewed this long before it ends, so that none ends on its way.
const RENEW_BEFORE_MS = 60_000;

// What the issuer has not answered by then is given up.
const TIMEOUT_MS = 15_000;

const setting = (name) => document.querySelector(`meta[name="${name}"]`).content;
const discoveryUrl = setting('sign-in-discovery');
const clientId = setting('sign-in-client');
const here = () => new URL('.', document.baseURI).href;

// The issuer says no: another try of the same would fail again.
export class SignInFailed extends Error {}

// The issuer says nothing, or that it cannot at present.
export class Unavailable extends Error {
  constructor(sentence, retryAfter) {
    super(sentence);
    this.retryAfter = retryAfter;
  }
}

let changed = () => {};
let ended = false;
let renewal = null;
let discovered = null;

// Calls `listener` when nobody is signed in any more: `ended` when that was not asked for, `leaving` while the issuer is
// told, or `left`.
export function onChange(listener) {
  changed = listener;
}

// Who is signed in; null when nobody is.
export function session() {
  return JSON.parse(sessionStorage.getItem(SESSION));
}

// Whether the last session ended without being asked to.
export const hasEnded = () => ended;

// Leaves for the sign-in page of the issuer, to come back to what is shown now.
export async function begin() {
  const issuer = await discovery();
  const state = random();
  const verifier = random();
  const nonce = random();
  sessionStorage.setItem(PENDING + state, JSON.stringify({ verifier, nonce, returnTo: location.hash }));
  const offline = issuer.scopes_supported?.includes('offline_access') ? ' offline_access' : '';
  location.assign(
    withQuery(issuer.authorization_endpoint, {
      response_type: 'code',
      client_id: clientId,
      redirect_uri: here(),
      // Nothing but `openid`: a user pool then puts all that the client may read into the token, the organization too.
      scope: `openid${offline}`,
      state,
      nonce,
      code_challenge: await challenge(verifier),
      code_challenge_method: 'S256',
    }),
  );
}

// Ends what `begin` began, when this page was opened by the issuer's answer: a promise then, else null.
export function finish() {
  const answer = new URLSearchParams(location.search);
  if (!answer.has('code') && !answer.has('error')) return null;
  const pending = JSON.parse(sessionStorage.getItem(PENDING + answer.get('state')));
  forgetPending();
  // Before anything else can read the code: it leaves the address, and with it the history.
  history.replaceState(null, '', here() + (pending?.returnTo ?? ''));
  return redeem(answer, pending);
}

async function redeem(answer, pending) {
  // Anybody can make up an address: nothing that it says is shown unless it answers a question of ours.
  if (!pending) throw new SignInFailed('The sign-in was not begun in this tab, or was already used.');
  if (answer.has('error')) throw new SignInFailed(answer.get('error_description') ?? answer.get('error'));
  const tokens = await token({
    grant_type: 'authorization_code',
    code: answer.get('code') ?? '',
    redirect_uri: here(),
    code_verifier: pending.verifier,
  });
  if (!tokens.id_token) throw new SignInFailed('The sign-in service gave no token.');
  const claims = claimsOf(tokens.id_token);
  if (claims.nonce !== pending.nonce || !(await isOurs(claims))) throw new SignInFailed(ANOTHER);
  keep(tokens.id_token, claims, tokens.refresh_token ?? null);
}

const ANOTHER = 'The token that came back is not the one that was asked for.';

// Whether a token is this issuer's, for this client, about somebody, and ends after it was made.
async function isOurs({ iss, aud, azp, sub, iat, exp }) {
  const { issuer } = await discovery();
  const audiences = [aud].flat();
  const party = azp === undefined ? audiences.length === 1 : azp === clientId;
  return iss === issuer && audiences.includes(clientId) && party && typeof sub === 'string' && sub && exp > iat;
}

// A token that is good for at least a minute, if one can be had; null when the session is over.
export async function bearer() {
  const current = session();
  if (!current) return null;
  const left = current.ends - Date.now();
  if (left > RENEW_BEFORE_MS) return current.token;
  if (!current.refresh) return left > 0 ? current.token : end();
  try {
    return await renewed();
  } catch (error) {
    if (left > 0) return current.token;
    throw error;
  }
}

// A newer token than `refused`, which the API did not take; null when there is none.
export async function instead(refused) {
  const current = session();
  if (current && current.token !== refused) return current.token;
  const token = current?.refresh ? await renewed() : null;
  return token && token !== refused ? token : end();
}

// Forgets the session here; the issuer is not told.
export function end() {
  if (sessionStorage.getItem(SESSION)) {
    sessionStorage.removeItem(SESSION);
    ended = true;
    changed('ended');
  }
  return null;
}

// Ends the session here and at the issuer.
export async function signOut() {
  const current = session();
  sessionStorage.clear();
  // What was shown goes before the page is left: the browser may keep it to go back to.
  changed('leaving');
  const issuer = await discovery().catch(() => ({}));
  if (issuer.revocation_endpoint && current?.refresh) {
    await post(issuer.revocation_endpoint, { client_id: clientId, token: current.refresh }).catch(() => {});
  }
  if (!issuer.end_session_endpoint) return changed('left');
  // The standard's name for the way back, and Cognito's. No token as a hint: addresses end up in logs.
  location.assign(
    withQuery(issuer.end_session_endpoint, {
      client_id: clientId,
      post_logout_redirect_uri: here(),
      logout_uri: here(),
    }),
  );
}

// One renewal for all who ask meanwhile.
function renewed() {
  renewal ??= renew(session()).finally(() => {
    renewal = null;
  });
  return renewal;
}

async function renew({ refresh, token: old, sub, ends }) {
  try {
    const tokens = await token({ grant_type: 'refresh_token', refresh_token: refresh });
    // The session that asked may have been ended meanwhile.
    if (session()?.token !== old) return session()?.token ?? null;
    if (!tokens.id_token) {
      // Allowed by the standard, and of no use here: the session lasts as long as the token that there is.
      sessionStorage.setItem(SESSION, JSON.stringify({ ...session(), refresh: null }));
      return Date.now() < ends ? old : end();
    }
    const claims = claimsOf(tokens.id_token);
    if (claims.sub !== sub || !(await isOurs(claims))) throw new SignInFailed(ANOTHER);
    return keep(tokens.id_token, claims, tokens.refresh_token ?? refresh);
  } catch (error) {
    if (error instanceof SignInFailed) return end();
    throw error;
  }
}

function keep(token, { exp, iat, email, sub }, refresh) {
  // By the token's own length, since this computer's clock may be wrong.
  const ends = Date.now() + (exp - iat) * 1000;
  sessionStorage.setItem(SESSION, JSON.stringify({ token, refresh, ends, sub, name: email ?? sub }));
  return token;
}

async function token(fields) {
  const issuer = await discovery();
  const response = await post(issuer.token_endpoint, { client_id: clientId, ...fields });
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  if (response.ok || response.status === 429 || response.status >= 500) throw unavailable(response);
  throw new SignInFailed(answer?.error_description ?? answer?.error ?? 'The sign-in service refused.');
}

function discovery() {
  discovered ??= ask(discoveryUrl)
    .then(async (response) => {
      const issuer = response.ok ? await response.json().catch(() => null) : null;
      return issuer ?? Promise.reject(unavailable(response));
    })
    .catch((error) => {
      discovered = null;
      throw error;
    });
  return discovered;
}

const post = (url, fields) => ask(url, { method: 'POST', body: new URLSearchParams(fields), cache: 'no-store' });

async function ask(url, options) {
  try {
    return await fetch(url, { ...options, credentials: 'omit', signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch (error) {
    throw new Unavailable(
      error.name === 'TimeoutError'
        ? 'The sign-in service has not answered in time. Try again in a moment.'
        : 'The sign-in service cannot be reached. Check your connection.',
    );
  }
}

function unavailable(response) {
  const sentence = `The sign-in service cannot answer at present (${response.status}).`;
  return new Unavailable(sentence, Number(response.headers.get('retry-after')) || null);
}

// What a token says. Its signature is not looked at: it came from the issuer over TLS, and the API checks it on each
// call.
function claimsOf(jwt) {
  try {
    const [, payload] = jwt.split('.');
    const text = atob(payload.replaceAll('-', '+').replaceAll('_', '/'));
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(text, (char) => char.charCodeAt(0))));
  } catch {
    throw new SignInFailed('The sign-in service gave a token that cannot be read.');
  }
}

function forgetPending() {
  for (const key of Object.keys(sessionStorage)) {
    if (key.startsWith(PENDING)) sessionStorage.removeItem(key);
  }
}

function random() {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

async function challenge(verifier) {
  return base64url(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier))));
}

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replace(/=+$/, '');
}

function withQuery(url, fields) {
  const result = new URL(url);
  for (const [name, value] of Object.entries(fields)) result.searchParams.set(name, value);
  return result.href;
}
