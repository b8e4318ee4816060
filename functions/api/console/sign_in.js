// Signs in with OpenID Connect: the authorization code flow with PKCE, as a public client.
//
// Tokens are stored in sessionStorage, which belongs to this tab and this origin alone, survives a reload, and ends with
// the tab. In memory alone, every reload would lead through the sign-in page, and an injected script would be no further
// from them: it could use the session either way. The Content-Security-Policy keeps such scripts out.

const SESSION = 'console.session';
const PENDING = 'console.pending.';

// A token is renewed this long before it expires, so that none expires during a request.
const RENEW_BEFORE_MS = 60_000;

// The timeout of a request to the issuer.
const TIMEOUT_MS = 15_000;

const setting = (name) => document.querySelector(`meta[name="${name}"]`).content;
const discoveryUrl = setting('sign-in-discovery');
const clientId = setting('sign-in-client');
const here = () => new URL('.', document.baseURI).href;

// The issuer refused: the same request would fail again.
export class SignInFailed extends Error {}

// The issuer did not respond, or is unavailable at the moment.
export class Unavailable extends Error {
  constructor(message, retryAfter) {
    super(message);
    this.retryAfter = retryAfter;
  }
}

let notify = () => {};
let ended = false;
let renewal = null;
let discovered = null;

// Calls `listener` when the user is no longer signed in: with `ended` when the session has ended by itself, with `leaving`
// and then `left` when the user signs out.
export function onSignedOut(listener) {
  notify = listener;
}

// The current session; null when nobody is signed in.
export function session() {
  return JSON.parse(sessionStorage.getItem(SESSION));
}

// Whether the last session has ended by itself.
export const hasEnded = () => ended;

// Goes to the issuer's sign-in page, which comes back to the current view.
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
      // With `openid` alone, a user pool puts all attributes that the client may read into the token, among them the
      // organization.
      scope: `openid${offline}`,
      state,
      nonce,
      code_challenge: await challenge(verifier),
      code_challenge_method: 'S256',
    }),
  );
}

// Completes what `begin` started, if the issuer has just redirected to this page: returns a promise then, else null.
export function finish() {
  const answer = new URLSearchParams(location.search);
  if (!answer.has('code') && !answer.has('error')) return null;
  const pending = JSON.parse(sessionStorage.getItem(PENDING + answer.get('state')));
  forgetPending();
  // Removes the code from the URL, and so from the history, before anything else can read it.
  history.replaceState(null, '', here() + (pending?.returnTo ?? ''));
  return redeem(answer, pending);
}

async function redeem(answer, pending) {
  // Anybody can make up such a URL: its error message is shown only if this tab has started that sign-in.
  if (!pending) throw new SignInFailed('This sign-in was not started in this tab, or was already completed.');
  if (answer.has('error')) throw new SignInFailed(answer.get('error_description') ?? answer.get('error'));
  const tokens = await requestTokens({
    grant_type: 'authorization_code',
    code: answer.get('code') ?? '',
    redirect_uri: here(),
    code_verifier: pending.verifier,
  });
  if (!tokens.id_token) throw new SignInFailed('The sign-in service returned no token.');
  const claims = claimsOf(tokens.id_token);
  if (claims.nonce !== pending.nonce || !(await isOurs(claims))) throw new SignInFailed(WRONG_TOKEN);
  store(tokens.id_token, claims, tokens.refresh_token ?? null);
}

const WRONG_TOKEN = 'The token that was returned is not the one that was requested.';

// Whether a token is from this issuer, for this client, names a user, and expires after it was issued.
async function isOurs({ iss, aud, azp, sub, iat, exp }) {
  const { issuer } = await discovery();
  const audiences = [aud].flat();
  const party = azp === undefined ? audiences.length === 1 : azp === clientId;
  return iss === issuer && audiences.includes(clientId) && party && typeof sub === 'string' && sub && exp > iat;
}

// A token that is valid for at least a minute, if possible; null when the session has ended.
export async function bearer() {
  const current = session();
  if (!current) return null;
  const left = current.ends - Date.now();
  if (left > RENEW_BEFORE_MS) return current.token;
  if (!current.refresh) return left > 0 ? current.token : end();
  try {
    return await renew();
  } catch (error) {
    if (left > 0) return current.token;
    throw error;
  }
}

// A newer token than `refused`, which the API did not accept; null when there is none.
export async function replaceToken(refused) {
  const current = session();
  if (current && current.token !== refused) return current.token;
  const token = current?.refresh ? await renew() : null;
  return token && token !== refused ? token : end();
}

// Ends the session here, but not at the issuer.
export function end() {
  if (sessionStorage.getItem(SESSION)) {
    sessionStorage.removeItem(SESSION);
    ended = true;
    notify('ended');
  }
  return null;
}

// Ends the session here and at the issuer.
export async function signOut() {
  const current = session();
  sessionStorage.clear();
  // Clears the view before leaving the page: the browser may keep the page for going back to.
  notify('leaving');
  const issuer = await discovery().catch(() => ({}));
  if (issuer.revocation_endpoint && current?.refresh) {
    await post(issuer.revocation_endpoint, { client_id: clientId, token: current.refresh }).catch(() => {});
  }
  if (!issuer.end_session_endpoint) return notify('left');
  // The standard's parameter for the return URL, and Cognito's. There is no token as a hint, since URLs end up in logs.
  location.assign(
    withQuery(issuer.end_session_endpoint, {
      client_id: clientId,
      post_logout_redirect_uri: here(),
      logout_uri: here(),
    }),
  );
}

// All callers share one renewal.
function renew() {
  renewal ??= renewSession(session()).finally(() => {
    renewal = null;
  });
  return renewal;
}

async function renewSession({ refresh, token: old, sub, ends }) {
  try {
    const tokens = await requestTokens({ grant_type: 'refresh_token', refresh_token: refresh });
    // The session may have ended meanwhile.
    if (session()?.token !== old) return session()?.token ?? null;
    if (!tokens.id_token) {
      // The standard allows this. The session then lasts as long as the current token.
      sessionStorage.setItem(SESSION, JSON.stringify({ ...session(), refresh: null }));
      return Date.now() < ends ? old : end();
    }
    const claims = claimsOf(tokens.id_token);
    if (claims.sub !== sub || !(await isOurs(claims))) throw new SignInFailed(WRONG_TOKEN);
    return store(tokens.id_token, claims, tokens.refresh_token ?? refresh);
  } catch (error) {
    if (error instanceof SignInFailed) return end();
    throw error;
  }
}

function store(token, { exp, iat, email, sub }, refresh) {
  // Uses the token's lifetime rather than its expiry time, since this computer's clock may be wrong.
  const ends = Date.now() + (exp - iat) * 1000;
  sessionStorage.setItem(SESSION, JSON.stringify({ token, refresh, ends, sub, name: email ?? sub }));
  return token;
}

async function requestTokens(fields) {
  const issuer = await discovery();
  const response = await post(issuer.token_endpoint, { client_id: clientId, ...fields });
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  if (response.ok || response.status === 429 || response.status >= 500) throw unavailable(response);
  throw new SignInFailed(answer?.error_description ?? answer?.error ?? 'The sign-in service refused the request.');
}

function discovery() {
  discovered ??= request(discoveryUrl)
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

const post = (url, fields) => request(url, { method: 'POST', body: new URLSearchParams(fields), cache: 'no-store' });

async function request(url, options) {
  try {
    return await fetch(url, { ...options, credentials: 'omit', signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch (error) {
    throw new Unavailable(
      error.name === 'TimeoutError'
        ? 'The sign-in service did not respond in time. Try again in a moment.'
        : 'The sign-in service cannot be reached. Check your connection.',
    );
  }
}

function unavailable(response) {
  const message = `The sign-in service is unavailable at the moment (${response.status}).`;
  return new Unavailable(message, Number(response.headers.get('retry-after')) || null);
}

// A token's claims. The signature is not verified: the token came from the issuer over TLS, and the API verifies it on
// each call.
function claimsOf(jwt) {
  try {
    const [, payload] = jwt.split('.');
    const text = atob(payload.replaceAll('-', '+').replaceAll('_', '/'));
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(text, (char) => char.charCodeAt(0))));
  } catch {
    throw new SignInFailed('The sign-in service returned a token that cannot be read.');
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
