// Signing in and out, and what becomes of tokens.

import { expect, signIn, test } from './scene.js';
import { CONSOLE_URL, PASSWORD } from './stack.js';

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
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.locator('input[name="username"]').fill(user.email);
  await page.locator('input[name="password"]').fill(PASSWORD);
  await page.locator('button[type="submit"]').click();
  await expect(page.getByRole('heading', { name: 'Add a custom webhook' })).toBeVisible();
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
  await expect(page.getByRole('alert')).toContainText('was not begun in this tab');
  expect(new URL(page.url()).search).toBe('');
  expect(asked).toBe(false);
});

test('tells what the issuer refuses, as text', async ({ page }) => {
  await page.goto(`${CONSOLE_URL}?error=access_denied&error_description=${encodeURIComponent('<b>No</b>')}&state=x`);
  await expect(page.getByRole('alert')).toHaveText('<b>No</b>');
});

test('takes no token that answers another question', async ({ page, user }) => {
  await page.route('**/oauth2/token', async (route) => {
    const response = await route.fetch();
    const tokens = await response.json();
    const [head, payload, signature] = tokens.id_token.split('.');
    const claims = { ...JSON.parse(Buffer.from(payload, 'base64url')), nonce: 'another' };
    tokens.id_token = [head, Buffer.from(JSON.stringify(claims)).toString('base64url'), signature].join('.');
    await route.fulfill({ response, json: tokens });
  });
  await page.goto(CONSOLE_URL);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.locator('input[name="username"]').fill(user.email);
  await page.locator('input[name="password"]').fill(PASSWORD);
  await page.locator('button[type="submit"]').click();
  await expect(page.getByRole('alert')).toContainText('not the one that was asked for');
  expect(await page.evaluate(() => sessionStorage.getItem('console.session'))).toBe(null);
});

test('renews a token before it ends, once for all requests', async ({ signedIn: page }) => {
  let renewed = 0;
  page.on('request', (request) => (renewed += request.postData()?.includes('grant_type=refresh_token') ? 1 : 0));
  const before = await page.evaluate(() => {
    const session = JSON.parse(sessionStorage.getItem('console.session'));
    sessionStorage.setItem('console.session', JSON.stringify({ ...session, ends: Date.now() + 30_000 }));
    return session.ends;
  });
  await page.reload();
  await expect(page.getByRole('link', { name: 'Add', exact: true })).toBeVisible();
  await expect
    .poll(() => page.evaluate(() => JSON.parse(sessionStorage.getItem('console.session')).ends))
    .toBeGreaterThan(before - 60_000);
  await expect.poll(() => renewed).toBe(1);
});

test('says when the session has ended, and loses nothing of the place', async ({ signedIn: page }) => {
  await page.getByRole('link', { name: 'Add', exact: true }).click();
  await page.evaluate(() => {
    const session = JSON.parse(sessionStorage.getItem('console.session'));
    sessionStorage.setItem('console.session', JSON.stringify({ ...session, ends: 0, refresh: 'worthless' }));
  });
  await page.getByRole('link', { name: 'Integrations' }).click();
  await expect(page.getByRole('alert')).toContainText('Your session has ended');
  await expect(page.getByRole('button', { name: 'Sign in' })).toBeVisible();
});
