// Signing in with OpenID Connect: the authorization code flow with PKCE, as a public client.
//
// Tokens live in sessionStorage: it is of this tab and this origin alone, survives a reload, and ends with the tab.
// Memory alone would send every reload through the sign-in page, and would hide nothing more from a foreign script: one
// that runs here could use the session either way. What keeps such scripts out is the Content-Security-Policy.

const SESSION = 'console.session';
const PENDING = 'console.pending.';

// A token is renewed this long before it ends, so that none ends on its way.
const RENEW_BEFORE_MS = 60_000;

const setting = (name) => document.querySelector(`meta[name="${name}"]`).content;
const discoveryUrl = setting('sign-in-discovery');
const clientId = setting('sign-in-client');
const here = () => new URL('.', document.baseURI).href;

export class SignInFailed extends Error {}

let changed = () => {};
let renewal = null;
let discovered = null;

// Calls `listener` when the session is over, with `ended` when that was not asked for, or `left`.
export function onChange(listener) {
  changed = listener;
}

// Who is signed in; null when nobody is.
export function session() {
  return JSON.parse(sessionStorage.getItem(SESSION));
}

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

// Ends what `begin` began, when this page was opened by the issuer's answer. Does nothing otherwise.
export async function finish() {
  const answer = new URLSearchParams(location.search);
  if (!answer.has('code') && !answer.has('error')) return;
  const key = PENDING + answer.get('state');
  const pending = JSON.parse(sessionStorage.getItem(key));
  forgetPending();
  // Before anything else can read the code: it leaves the address, and with it the history.
  history.replaceState(null, '', here() + (pending?.returnTo ?? ''));
  if (answer.has('error')) {
    throw new SignInFailed(answer.get('error_description') ?? answer.get('error'));
  }
  if (!pending) {
    throw new SignInFailed('The sign-in was not begun in this tab, or was already used.');
  }
  const tokens = await token({
    grant_type: 'authorization_code',
    code: answer.get('code') ?? '',
    redirect_uri: here(),
    code_verifier: pending.verifier,
  });
  const issuer = await discovery();
  const claims = claimsOf(tokens.id_token);
  if (claims.nonce !== pending.nonce || claims.iss !== issuer.issuer || ![claims.aud].flat().includes(clientId)) {
    throw new SignInFailed('The token that came back is not the one that was asked for.');
  }
  keep(tokens, null);
}

// A token that is good for at least a minute; null when the session is over.
export async function bearer() {
  const current = session();
  if (!current) return null;
  if (Date.now() < current.ends - RENEW_BEFORE_MS) return current.token;
  if (!current.refresh) {
    if (Date.now() < current.ends) return current.token;
    end();
    return null;
  }
  renewal ??= renew(current).finally(() => (renewal = null));
  return renewal;
}

// Forgets the session here; the issuer is not told.
export function end() {
  if (!sessionStorage.getItem(SESSION)) return;
  sessionStorage.removeItem(SESSION);
  changed('ended');
}

// Ends the session here and at the issuer.
export async function signOut() {
  const current = session();
  sessionStorage.removeItem(SESSION);
  const issuer = await discovery().catch(() => ({}));
  if (issuer.revocation_endpoint && current?.refresh) {
    await form(issuer.revocation_endpoint, { client_id: clientId, token: current.refresh }).catch(() => {});
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

async function renew({ refresh, token: old }) {
  try {
    const tokens = await token({ grant_type: 'refresh_token', refresh_token: refresh });
    // The session that asked may have been ended meanwhile.
    if (session()?.token !== old) return session()?.token ?? null;
    return keep(tokens, refresh);
  } catch (error) {
    if (!(error instanceof SignInFailed)) throw error;
    end();
    return null;
  }
}

function keep(tokens, refresh) {
  const { exp, iat, email, sub } = claimsOf(tokens.id_token);
  const kept = {
    token: tokens.id_token,
    refresh: tokens.refresh_token ?? refresh,
    // By the token's own length, since this computer's clock may be wrong.
    ends: Date.now() + (exp - iat) * 1000,
    name: email ?? sub,
  };
  sessionStorage.setItem(SESSION, JSON.stringify(kept));
  return kept.token;
}

async function token(fields) {
  const issuer = await discovery();
  const response = await form(issuer.token_endpoint, { client_id: clientId, ...fields });
  const answer = await response.json().catch(() => ({}));
  if (response.status >= 500) throw new Error('The sign-in service failed.');
  if (!response.ok || !answer.id_token) {
    throw new SignInFailed(answer.error_description ?? answer.error ?? 'The sign-in service gave no token.');
  }
  return answer;
}

function form(url, fields) {
  return fetch(url, { method: 'POST', body: new URLSearchParams(fields), credentials: 'omit', cache: 'no-store' });
}

function discovery() {
  discovered ??= fetch(discoveryUrl, { credentials: 'omit' })
    .then((response) => (response.ok ? response.json() : Promise.reject(new Error('The sign-in service failed.'))))
    .catch((error) => {
      discovered = null;
      throw error;
    });
  return discovered;
}

// What a token says. Its signature is not looked at: it came from the issuer over TLS, and the API checks it on each
// call.
function claimsOf(jwt) {
  const [, payload] = jwt.split('.');
  const bytes = Uint8Array.from(atob(payload.replaceAll('-', '+').replaceAll('_', '/')), (char) => char.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(bytes));
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
