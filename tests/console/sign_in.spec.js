// Signing in and out, and how tokens are handled.

import { expect, passIssuer, signIn, test } from './fixtures.js';
import { CONSOLE_URL, toTheApi } from './stack.js';

const toIssuer = (path) => (url) => url.pathname.endsWith(path);
const isRenewal = (request) => request.postData()?.includes('grant_type=refresh_token');

// Changes the stored session.
const tamper = (page, fields) =>
  page.evaluate((fields) => {
    const session = JSON.parse(sessionStorage.getItem('console.session'));
    sessionStorage.setItem('console.session', JSON.stringify({ ...session, ...fields }));
    return session;
  }, fields);

// An answer of the token endpoint, changed by `change`; unsigned, since the page does not verify it.
async function withClaims(page, change) {
  await page.route(toIssuer('/oauth2/token'), async (route) => {
    const response = await route.fetch();
    const tokens = await response.json();
    const [head, payload, signature] = tokens.id_token.split('.');
    const claims = { ...JSON.parse(Buffer.from(payload, 'base64url')), ...change };
    tokens.id_token = [head, Buffer.from(JSON.stringify(claims)).toString('base64url'), signature].join('.');
    await route.fulfill({ response, json: tokens });
  });
}

test('signs in, stays signed in over a reload, and signs out', async ({ page, user }) => {
  await page.goto(CONSOLE_URL);
  await signIn(page, user);
  await expect(page.getByText(user.email)).toBeVisible();
  await page.reload();
  await expect(page.getByText(user.email)).toBeVisible();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await expect(page.getByRole('button', { name: 'Sign in' })).toBeVisible();
  expect(await page.evaluate(() => Object.keys(sessionStorage).length)).toBe(0);
});

test('comes back to the view that was asked for', async ({ page, user }) => {
  await page.goto(`${CONSOLE_URL}#/add`);
  await passIssuer(page, user);
  await expect(page.getByRole('heading', { name: 'Add a custom webhook' })).toBeVisible();
});

test('nothing of what was shown can be gone back to after signing out', async ({ integration, page, user }) => {
  expect(integration).toMatch(/^int_/);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await expect(page.getByRole('button', { name: 'Sign in' })).toBeVisible();
  for (let steps = 0; steps < 3; steps += 1) {
    await page.goBack();
    await expect(page.locator('body')).not.toContainText(user.email);
    await expect(page.locator('body')).not.toContainText('Operations');
  }
});

test('what was shown is gone before the page is left', async ({ integration, page, user }) => {
  expect(integration).toMatch(/^int_/);
  // An issuer that does not answer.
  await page.route(toIssuer('/.well-known/openid-configuration'), async (route) => {
    const response = await route.fetch();
    const issuer = await response.json();
    await route.fulfill({ response, json: { ...issuer, revocation_endpoint: `${issuer.token_endpoint}/revoke` } });
  });
  await page.route(toIssuer('/revoke'), () => new Promise(() => {}));
  await page.reload();
  await expect(page.getByRole('heading', { level: 1, name: 'Operations' })).toBeVisible();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await expect(page.getByRole('heading', { name: 'Signing you out…' })).toBeVisible();
  await expect(page.locator('body')).not.toContainText(user.email);
  await expect(page.locator('body')).not.toContainText('Operations');
  expect(await page.evaluate(() => sessionStorage.length)).toBe(0);
});

test('a page that the browser brings back is loaded anew', async ({ page }) => {
  await page.goto(CONSOLE_URL);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page.locator('input[name="username"]')).toBeVisible();
  await page.goBack();
  // Whether or not this browser keeps the page in memory, the button works.
  await expect(page.getByRole('button', { name: 'Sign in' })).toBeEnabled();
  await expect(page.getByRole('button', { name: 'Sign in' })).not.toHaveAttribute('aria-disabled');
  const loaded = page.waitForEvent('load');
  await page.evaluate(() => window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true })));
  await loaded;
});

test('leaves neither code nor token in any address, and asks with PKCE', async ({ page, user }) => {
  const addresses = [];
  page.on('request', (request) => addresses.push(request.url()));
  await page.goto(CONSOLE_URL);
  await signIn(page, user);
  const session = await page.evaluate(() => JSON.parse(sessionStorage.getItem('console.session')));
  expect(new URL(page.url()).search).toBe('');
  for (const address of addresses) {
    expect(address).not.toContain(session.token);
    expect(address).not.toContain(session.refresh);
  }
  const asked = new URL(addresses.find((address) => address.includes('code_challenge='))).searchParams;
  expect(asked.get('code_challenge_method')).toBe('S256');
  expect(asked.get('state').length).toBeGreaterThan(40);
  expect(asked.get('nonce').length).toBeGreaterThan(40);
  const stored = await page.evaluate(() => [JSON.stringify(localStorage), document.cookie, location.href].join());
  expect(stored).not.toContain(session.token.split('.')[1]);
  // Going back must not bring the code back.
  await page.goBack();
  expect(page.url()).not.toContain('code=');
});

test('takes no code that this tab did not ask for', async ({ page }) => {
  let asked = false;
  page.on('request', (request) => (asked ||= request.url().includes('/oauth2/token')));
  await page.goto(`${CONSOLE_URL}?code=stolen&state=made-up`);
  await expect(page.getByRole('alert')).toContainText('was not started in this tab');
  expect(new URL(page.url()).search).toBe('');
  expect(asked).toBe(false);
});

test('tells what the issuer refuses, as text, when it was asked', async ({ page }) => {
  await page.goto(CONSOLE_URL);
  await page.evaluate(() => sessionStorage.setItem('console.pending.x', JSON.stringify({ returnTo: '' })));
  await page.goto(`${CONSOLE_URL}?error=access_denied&error_description=${encodeURIComponent('<b>No</b>')}&state=x`);
  await expect(page.getByRole('alert')).toHaveText('<b>No</b>');
});

test('shows no sentence that an address has made up', async ({ page }) => {
  await page.goto(`${CONSOLE_URL}?error=x&error_description=${encodeURIComponent('Call 0900 now')}&state=x`);
  await expect(page.getByRole('alert')).toContainText('was not started in this tab');
  await expect(page.locator('body')).not.toContainText('0900');
});

for (const [what, change] of [
  ['another question', { nonce: 'another' }],
  ['another client', { aud: 'another' }],
  ['another party', { azp: 'another' }],
  ['another issuer', { iss: 'https://another.example' }],
  ['nobody', { sub: '' }],
  ['no time', { exp: 0 }],
]) {
  test(`takes no token for ${what}`, async ({ page, user }) => {
    await withClaims(page, change);
    await page.goto(CONSOLE_URL);
    await passIssuer(page, user);
    await expect(page.getByRole('alert')).toContainText('not the one that was requested');
    expect(await page.evaluate(() => sessionStorage.getItem('console.session'))).toBe(null);
  });
}

test('says that it is signing in until it has', async ({ page, user }) => {
  let go;
  const held = new Promise((resolve) => {
    go = resolve;
  });
  await page.route(toIssuer('/oauth2/token'), async (route) => {
    await held;
    await route.continue();
  });
  await page.goto(CONSOLE_URL);
  await passIssuer(page, user);
  await expect(page.getByRole('heading', { name: 'Signing you in…' })).toBeVisible();
  expect(new URL(page.url()).search).toBe('');
  go();
  await expect(page.getByRole('heading', { level: 1, name: 'Integrations' })).toBeVisible();
});

test('says what is wrong with the sign-in service, and can be tried again', async ({ page, user }) => {
  await page.route(toIssuer('/.well-known/openid-configuration'), (route) => route.abort());
  await page.goto(CONSOLE_URL);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByRole('alert')).toContainText('The sign-in service cannot be reached.');
  await page.unrouteAll();
  await page.route(toIssuer('/.well-known/openid-configuration'), (route) => route.fulfill({ status: 503 }), {
    times: 1,
  });
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByRole('alert')).toContainText('is unavailable at the moment (503)');
  await signIn(page, user);
});

test('renews a token before it ends, once for all requests', async ({ signedIn: page }) => {
  let renewed = 0;
  page.on('request', (request) => {
    if (isRenewal(request)) renewed += 1;
  });
  const { ends: before } = await tamper(page, { ends: Date.now() + 30_000 });
  await page.reload();
  await expect(page.getByRole('link', { name: 'Add', exact: true })).toBeVisible();
  await expect
    .poll(() => page.evaluate(() => JSON.parse(sessionStorage.getItem('console.session')).ends))
    .toBeGreaterThan(before - 60_000);
  await expect.poll(() => renewed).toBe(1);
});

for (const status of [429, 500]) {
  test(`a renewal that is answered by ${status} ends nothing`, async ({ signedIn: page }) => {
    await page.route(toIssuer('/oauth2/token'), (route) => route.fulfill({ status, json: { error: 'later' } }));
    await tamper(page, { ends: Date.now() - 1000 });
    await page.reload();
    await expect(page.getByRole('alert')).toContainText(
      `The sign-in service is unavailable at the moment (${status}).`,
    );
    await page.unrouteAll();
    await page.getByRole('button', { name: 'Try again' }).click();
    await expect(page.getByRole('link', { name: 'Add', exact: true })).toBeVisible();
    await expect(page.getByRole('alert')).toHaveCount(0);
  });
}

test('a renewal without a new token keeps the old one as long as it lasts', async ({ signedIn: page }) => {
  let asked = 0;
  await page.route(toIssuer('/oauth2/token'), (route) => {
    asked += 1;
    return route.fulfill({ json: { access_token: 'x', token_type: 'Bearer' } });
  });
  await tamper(page, { ends: Date.now() + 30_000 });
  await page.reload();
  await expect(page.getByText('No webhook yet')).toBeVisible();
  await tamper(page, { ends: Date.now() - 1000 });
  await page.reload();
  await expect(page.getByRole('alert')).toContainText('Your session has ended');
  expect(asked).toBe(1);
});

test('a token that the API refuses before its time is renewed once', async ({ signedIn: page }) => {
  let renewed = 0;
  page.on('request', (request) => {
    if (isRenewal(request)) renewed += 1;
  });
  await page.route(toTheApi, (route) => route.fulfill({ status: 401, json: { message: 'Unauthorized' } }), {
    times: 1,
  });
  await page.reload();
  await expect(page.getByText('No webhook yet')).toBeVisible();
  expect(renewed).toBe(1);

  await page.route(toTheApi, (route) => route.fulfill({ status: 401, json: { message: 'Unauthorized' } }));
  await page.reload();
  await expect(page.getByRole('alert')).toContainText('Your session has ended');
  expect(renewed).toBe(2);
  expect(await page.evaluate(() => sessionStorage.getItem('console.session'))).toBe(null);
});

test('says when the session has ended, and loses nothing of what was written', async ({ signedIn: page, user }) => {
  await page.getByRole('link', { name: 'Add', exact: true }).click();
  await page.getByLabel('Name', { exact: true }).fill('Half written');
  await page.getByLabel('Webhook URL').fill('https://example.com/hook');
  await page.getByRole('radio', { name: 'Use my own' }).check();
  await page.getByLabel('Your signing secret').fill('a secret of mine');
  await page.getByRole('button', { name: 'Add header' }).click();
  await page.getByLabel('Name of header 1').fill('X-Key');
  await page.getByLabel('Value of header 1').fill('a value of mine');
  await tamper(page, { ends: 0, refresh: 'worthless' });
  await page.getByRole('button', { name: 'Create' }).click();
  await expect(page.getByRole('alert')).toContainText('Your session has ended');
  // Neither the secret nor the value is stored anywhere.
  expect(await page.evaluate(() => JSON.stringify(sessionStorage))).not.toContain('of mine');
  await passIssuer(page, user);
  await expect(page.getByLabel('Name', { exact: true })).toHaveValue('Half written');
  await expect(page.getByLabel('Webhook URL')).toHaveValue('https://example.com/hook');
  await expect(page.getByRole('radio', { name: 'Use my own' })).toBeChecked();
  await expect(page.getByLabel('Name of header 1')).toHaveValue('X-Key');
  await expect(page.getByLabel('Value of header 1')).toHaveValue('');
  await expect(page.getByText('Secrets and header values are not kept')).toBeVisible();
  // Once: the next form is empty.
  await page.getByRole('link', { name: 'Cancel' }).click();
  await page.getByRole('link', { name: 'Add', exact: true }).click();
  await expect(page.getByLabel('Name', { exact: true })).toHaveValue('');
});

test('what somebody else had written is not shown', async ({ signedIn: page }) => {
  await page.evaluate(() =>
    sessionStorage.setItem('console.draft', JSON.stringify({ user: 'another', form: 'add', start: {}, draft: {} })),
  );
  await page.getByRole('link', { name: 'Add', exact: true }).click();
  await expect(page.getByLabel('Name', { exact: true })).toHaveValue('');
  expect(await page.evaluate(() => sessionStorage.getItem('console.draft'))).toBe(null);
});
