// What every test has: a user of an organization of its own, an endpoint, the page, and an eye on what must never
// happen.

import { test as base, expect } from '@playwright/test';

import { serveFromDisk } from './from_disk.js';
import { startReceiver } from './receiver.js';
import { CONSOLE_URL, newUser, PASSWORD, reachable } from './stack.js';

export { expect };

export const test = base.extend({
  user: async ({}, use) => use(await newUser()),

  context: async ({ context }, use) => {
    if (process.env.FROM_DISK) await serveFromDisk(context);
    await use(context);
  },

  receiver: async ({}, use) => {
    const receiver = await startReceiver();
    await use(receiver);
    await receiver.stop();
  },

  // A page on which no script fails, nothing breaks the Content-Security-Policy, no dialog opens, and only the page's
  // origin and the issuer's are talked to.
  page: async ({ page }, use) => {
    const wrong = [];
    page.on('pageerror', (error) => wrong.push(`script: ${error.message}`));
    page.on('console', (message) => {
      const refused = message.text().startsWith('Failed to load resource');
      if (['error', 'warning'].includes(message.type()) && !refused) wrong.push(`console: ${message.text()}`);
    });
    page.on('dialog', (dialog) => {
      wrong.push(`dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    const allowed = [CONSOLE_URL, process.env.AWS_ENDPOINT_URL].map((url) => new URL(url).port);
    page.on('request', (request) => {
      if (!allowed.includes(new URL(request.url()).port)) wrong.push(`request: ${request.url()}`);
    });
    await use(page);
    // What the page still asks for when a test is over is nobody's failure.
    if (!page.isClosed()) await page.unrouteAll({ behavior: 'ignoreErrors' });
    expect(wrong).toEqual([]);
  },

  // The page of somebody who has signed in.
  signedIn: async ({ page, user }, use) => {
    await page.goto(CONSOLE_URL);
    await signIn(page, user);
    await use(page);
  },

  // The API as somebody else of the organization calls it.
  callApi: async ({ page, context }, use) =>
    use(async (method, path, data) => {
      const token = await page.evaluate(() => JSON.parse(sessionStorage.getItem('console.session')).token);
      const url = reachable(new URL(path, CONSOLE_URL).href);
      const answer = await context.request.fetch(url, { method, data, headers: { authorization: `Bearer ${token}` } });
      expect(answer.ok()).toBe(true);
    }),

  // An integration with the endpoint of this test, open.
  integration: async ({ signedIn: page, receiver }, use) => {
    await add(page, { name: 'Operations', url: receiver.url });
    await page.getByRole('button', { name: 'I have copied it' }).click();
    await use(page.url().split('/').at(-1));
  },
});

export async function signIn(page, user) {
  await passIssuer(page, user);
  await expect(page.getByRole('heading', { level: 1, name: 'Integrations' })).toBeVisible();
}

// Through the sign-in page of the issuer, and back.
export async function passIssuer(page, user) {
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.locator('input[name="username"]').fill(user.email);
  await page.locator('input[name="password"]').fill(PASSWORD);
  await page.locator('button[type="submit"], input[type="submit"]').first().click();
}

// Fills in the form for a new integration, and creates it.
export async function add(page, { name, url, ...more }) {
  await page.getByRole('link', { name: 'Add', exact: true }).click();
  await page.getByLabel('Name', { exact: true }).fill(name);
  await page.getByLabel('Webhook URL').fill(url);
  if (more.method) await page.getByLabel('HTTP Method').selectOption(more.method);
  if (more.secret) await page.getByRole('radio', { name: more.secret }).check();
  await page.getByRole('button', { name: 'Create' }).click();
  await expect(page.getByRole('heading', { name: 'Configuration' })).toBeVisible();
}

export const log = (page) => page.getByRole('region', { name: 'Log' });
export const rows = (page) =>
  log(page)
    .getByRole('row')
    .filter({ has: page.getByRole('link') });
