// What every test has: a user of an organization of its own, an endpoint, the page, and an eye on what must never
// happen.

import { test as base, expect } from '@playwright/test';

import { startReceiver } from './receiver.js';
import { CONSOLE_URL, newUser, PASSWORD } from './stack.js';

export { expect };

export const test = base.extend({
  user: async ({}, use) => use(await newUser()),

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
    expect(wrong).toEqual([]);
  },

  // The page of somebody who has signed in.
  signedIn: async ({ page, user }, use) => {
    await page.goto(CONSOLE_URL);
    await signIn(page, user);
    await use(page);
  },

  // An integration with the endpoint of this test, open.
  integration: async ({ signedIn: page, receiver }, use) => {
    await add(page, { name: 'Operations', url: receiver.url });
    await page.getByRole('button', { name: 'I have copied it' }).click();
    await use(page.url().split('/').at(-1));
  },
});

export async function signIn(page, user) {
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.locator('input[name="username"]').fill(user.email);
  await page.locator('input[name="password"]').fill(PASSWORD);
  await page.locator('button[type="submit"], input[type="submit"]').first().click();
  await expect(page.getByRole('heading', { level: 1, name: 'Integrations' })).toBeVisible();
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
